package router

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestRollingDeployment changes every endpoint several times under load, in the order
// in which a deployment does: add, wait for the table, remove, stop. No request fails.
func TestRollingDeployment(t *testing.T) {
	t.Parallel()
	e := startEdge(t)
	slow := func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		time.Sleep(5 * time.Millisecond)
		w.Write(body)
	}
	a, b := startPod(t, "a", "127.0.0.2", slow, nil), startPod(t, "b", "127.0.0.3", slow, nil)
	e.backends("shop/web", a, b)
	e.route("shop/web", "")
	e.apply()
	var sent, failed atomic.Int64
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for worker := range 8 {
		c := e.client(nil)
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				method, body := "GET", io.Reader(nil)
				if (worker+i)%2 == 0 {
					method, body = "POST", strings.NewReader("hello")
				}
				sent.Add(1)
				if r, err := e.try(c, method, "http://web-shop.apps.example.com/", body); err != nil || r.status != 200 {
					failed.Add(1)
					t.Errorf("%s: %v %+v", method, err, r)
				}
			}
		})
	}
	for round := range 8 {
		old := []*pod{a, b}[round%2]
		young := startPod(t, "new", fmt.Sprintf("127.0.0.%d", 4+round), slow, nil)
		if round%2 == 0 {
			a = young
		} else {
			b = young
		}
		before := sent.Load()
		eventually(t, "every worker asks", func() bool { return sent.Load() >= before+16 })
		leaving := e.backend(old)
		e.backends("shop/web", a, b)
		e.apply()
		eventually(t, "what is in flight ends", func() bool { return leaving == nil || leaving.inflight.Load() == 0 })
		old.stop(t) // as after the drain before SIGTERM
	}
	cancel()
	wg.Wait()
	if failed.Load() > 0 || sent.Load() < 100 {
		t.Errorf("%d of %d requests failed", failed.Load(), sent.Load())
	}
	if s := e.Stats(); len(s) != 1 || s[0].Requests != uint64(sent.Load()) || s[0].Status[2] != s[0].Requests {
		t.Errorf("stats: %+v, sent %d", s, sent.Load())
	}
	e.scheduler.pools.mu.Lock()
	defer e.scheduler.pools.mu.Unlock()
	if n := len(e.scheduler.pools.backends); n != 2 {
		t.Errorf("%d pools are kept for 2 endpoints", n)
	}
}

// TestDeadEndpoints: endpoints that are listed but do not answer cost no request.
func TestDeadEndpoints(t *testing.T) {
	t.Parallel()
	e := startEdge(t)
	good := startPod(t, "good", "127.0.0.2", nil, nil)
	refusing := startPod(t, "refusing", "127.0.0.3", nil, nil)
	refusing.server.Close()
	// closing accepts, and closes at once: nothing is ever answered.
	l, err := net.Listen("tcp", "127.0.0.4:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	closing := &pod{addr: l.Addr().(*net.TCPAddr)}
	e.backends("shop/web", refusing, good, closing)
	e.route("shop/web", "", note(annotationBalance, "roundrobin"))
	e.apply()
	for range 20 {
		if r := e.get("http://web-shop.apps.example.com/"); r.body != "good" {
			t.Fatalf("%+v", r)
		}
	}
	if s := e.Stats()[0]; s.Retries == 0 || s.Failures != 0 {
		t.Errorf("stats: %+v", s)
	}
	// What refuses is asked by POST requests too, and what was not read goes elsewhere.
	e.backends("shop/web", refusing, good)
	e.apply()
	for range 10 {
		r, err := e.try(e.client(nil), "POST", "http://web-shop.apps.example.com/", strings.NewReader("body"))
		if err != nil || r.body != "good" {
			t.Fatalf("%v %+v", err, r)
		}
	}
	e.backends("shop/web", refusing)
	e.apply()
	if r := e.get("http://web-shop.apps.example.com/"); r.status != 503 || !strings.Contains(r.body, "Application is not available") {
		t.Errorf("all refuse: %+v", r)
	}
	e.backends("shop/web")
	e.apply()
	if r := e.get("http://web-shop.apps.example.com/"); r.status != 503 || !strings.Contains(r.body, "Application is not available") {
		t.Errorf("no endpoints: %+v", r)
	}
	if r := e.get("http://unknown.example.com/"); r.status != 503 || !strings.Contains(r.body, "Application is not available") {
		t.Errorf("unknown host: %+v", r)
	}
}

// TestPostIsNotRepeated: a request that a backend may have acted on is not given to
// another one.
func TestPostIsNotRepeated(t *testing.T) {
	t.Parallel()
	e := startEdge(t)
	var seen atomic.Int64
	dies := func(w http.ResponseWriter, r *http.Request) {
		seen.Add(1)
		panic(http.ErrAbortHandler)
	}
	e.backends("shop/web", startPod(t, "a", "127.0.0.2", dies, nil), startPod(t, "b", "127.0.0.3", dies, nil))
	e.route("shop/web", "")
	e.apply()
	for i, k := range []struct {
		body io.Reader
		want int64
	}{{strings.NewReader("x"), 1}, {nil, 1}} {
		seen.Store(0)
		r, err := e.try(e.client(nil), "POST", "http://web-shop.apps.example.com/", k.body)
		if err != nil || r.status != 502 || seen.Load() != k.want {
			t.Errorf("%d: %v %+v, seen %d times", i, err, r, seen.Load())
		}
	}
	seen.Store(0)
	if r := e.get("http://web-shop.apps.example.com/"); r.status != 502 || seen.Load() != 2 {
		t.Errorf("GET: %+v, seen %d times, want each backend once", r, seen.Load())
	}
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	e := startEdge(t)
	release := make(chan struct{})
	defer close(release)
	hangs := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/stream" {
			for range 5 {
				fmt.Fprint(w, "tick")
				w.(http.Flusher).Flush()
				time.Sleep(500 * time.Millisecond) // in all longer than the timeout
			}
			return
		}
		<-release
	}
	backend := startPod(t, "a", "127.0.0.2", hangs, nil)
	e.backends("shop/web", backend)
	e.backends("shop/live", backend)
	e.route("shop/web", "", note(annotationTimeout, "200ms"))
	e.route("shop/live", "", note(annotationTimeout, "2s"))
	e.apply()
	if r := e.get("http://web-shop.apps.example.com/"); r.status != 504 {
		t.Errorf("%+v", r)
	}
	if r := e.get("http://live-shop.apps.example.com/stream"); r.status != 200 || r.body != strings.Repeat("tick", 5) {
		t.Errorf("a response that makes progress was cut: %+v", r)
	}
}

func TestWeightsAndBalance(t *testing.T) {
	t.Parallel()
	e := startEdge(t)
	e.backends("shop/a", startPod(t, "a1", "127.0.0.2", nil, nil), startPod(t, "a2", "127.0.0.3", nil, nil))
	e.backends("shop/b", startPod(t, "b", "127.0.0.4", nil, nil))
	e.route("shop/canary", "", to("a"), weight(75), alternate("b", 25), note(annotationCookies, "true"))
	e.route("shop/source", "", to("a"), note(annotationBalance, "source"), note(annotationCookies, "true"))
	e.route("shop/off", "", to("a"), weight(0), alternate("b", 1))
	e.apply()
	count := map[string]int{}
	c := e.client(nil)
	for range 400 {
		r, err := e.try(c, "GET", "http://canary-shop.apps.example.com/", nil)
		if err != nil {
			t.Fatal(err)
		}
		count[r.body]++
		if r.header.Get("Set-Cookie") != "" {
			t.Fatalf("cookie though disabled: %v", r.header)
		}
	}
	if a := count["a1"] + count["a2"]; a < 290 || a > 310 || count["a1"] < 140 || count["a1"] > 160 {
		t.Errorf("75 to 25: %v", count)
	}
	first := e.get("http://source-shop.apps.example.com/").body
	for range 10 {
		if got := e.get("http://source-shop.apps.example.com/").body; got != first {
			t.Errorf("source: %s after %s", got, first)
		}
	}
	for range 5 {
		if got := e.get("http://off-shop.apps.example.com/").body; got != "b" {
			t.Errorf("weight 0 served a new client: %s", got)
		}
	}
}

func TestStickyCookie(t *testing.T) {
	t.Parallel()
	e := startEdge(t)
	a, b := startPod(t, "a", "127.0.0.2", nil, nil), startPod(t, "b", "127.0.0.3", nil, nil)
	e.backends("shop/web", a, b)
	e.backends("shop/old", startPod(t, "old", "127.0.0.4", nil, nil))
	e.route("shop/web", "", note(annotationCookie, "sid"), secure("edge", "Allow"))
	e.route("shop/strict", "", to("web"), secure("edge", "None"))
	e.apply()
	first := e.get("http://web-shop.apps.example.com/")
	cookie := first.header.Get("Set-Cookie")
	if !strings.HasPrefix(cookie, "sid=") || !strings.Contains(cookie, "HttpOnly") || strings.Contains(cookie, "Secure") {
		t.Fatalf("cookie: %q", cookie)
	}
	if c := e.get("https://strict-shop.apps.example.com/").header.Get("Set-Cookie"); !strings.Contains(c, "Secure") {
		t.Errorf("cookie of an edge route: %q", c)
	}
	pair, _, _ := strings.Cut(cookie, ";")
	for range 20 {
		r := e.get("http://web-shop.apps.example.com/", "Cookie", pair)
		if r.body != first.body || r.header.Get("Set-Cookie") != "" {
			t.Fatalf("did not stick: %+v", r)
		}
	}
	// Weight 0 keeps those who are bound.
	e.route("shop/web", "", weight(0), alternate("old", 1), note(annotationCookie, "sid"))
	e.apply()
	if r := e.get("http://web-shop.apps.example.com/", "Cookie", pair); r.body != first.body {
		t.Errorf("weight 0: %+v", r)
	}
	// Whoever is bound to an endpoint that left is bound anew.
	e.backends("shop/web")
	e.apply()
	if r := e.get("http://web-shop.apps.example.com/", "Cookie", pair); r.body != "old" || r.header.Get("Set-Cookie") == "" {
		t.Errorf("endpoint left: %+v", r)
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	e := startEdge(t)
	show := func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "Host: %s\nURI: %s\n", r.Host, r.RequestURI)
		_ = r.Header.Write(w)
		w.Header().Set("Connection", "X-Private")
		w.Header().Set("X-Private", "1")
	}
	e.backends("shop/web", startPod(t, "a", "127.0.0.2", show, nil))
	e.route("shop/web", "h.example.com", secure("edge", "Allow"), note(annotationHSTS, "max-age=60"))
	e.apply()
	r := e.get("http://h.example.com/a%2Fb/../c?x=1;y=%zz",
		"X-Forwarded-For", "6.6.6.6", "X-Forwarded-Proto", "https", "X-Forwarded-Host", "evil", "X-Forwarded-User", "root", "Forwarded", "for=6.6.6.6",
		"X_Forwarded_For", "6.6.6.6", "x-forwarded-for", "6.6.6.6", "X-SSL-Client-CN", "admin", "X-Ssl-Client-Verify", "0", "X-Real-IP", "6.6.6.6", "Proxy", "http://evil",
		"Connection", "close, X-Hop, Authorization, X-Forwarded-For, Cookie", "X-Hop", "1", "Keep-Alive", "1", "Authorization", "Bearer me", "Cookie", "a=b", "Te", "gzip")
	port := e.HTTPAddr().Port()
	for _, want := range []string{
		"Host: h.example.com\n", "URI: /a%2Fb/../c?x=1;y=%zz\n", "X-Forwarded-For: 127.0.0.1\r\n", "X-Forwarded-Proto: http\r\n", "X-Forwarded-Host: h.example.com\r\n",
		fmt.Sprintf("X-Forwarded-Port: %d\r\n", port), "Forwarded: for=127.0.0.1;host=h.example.com;proto=http\r\n", "Authorization: Bearer me\r\n", "Cookie: a=b\r\n",
	} {
		if !strings.Contains(r.body, want) {
			t.Errorf("missing %q in\n%s", want, r.body)
		}
	}
	for _, never := range []string{"6.6.6.6", "evil", "root", "X-Hop", "Keep-Alive", "Ssl-Client", "SSL-Client", "X_Forwarded", "Te:"} {
		if strings.Contains(r.body, never) {
			t.Errorf("%q came through:\n%s", never, r.body)
		}
	}
	if r.header.Get("Strict-Transport-Security") != "max-age=60" {
		t.Errorf("response headers: %v", r.header)
	}
	r = e.get("https://h.example.com/")
	if !strings.Contains(r.body, "X-Forwarded-Proto: https\r\n") || r.proto != "HTTP/2.0" {
		t.Errorf("TLS: %+v", r)
	}
}

func TestAllowList(t *testing.T) {
	t.Parallel()
	e := startEdge(t)
	e.backends("shop/web", startPod(t, "a", "127.0.0.2", nil, nil))
	e.route("shop/closed", "", to("web"), note(annotationAllow, "10.0.0.0/8"))
	e.route("shop/open", "", to("web"), note(annotationAllow, "10.0.0.0/8 127.0.0.1"))
	e.apply()
	if r := e.get("http://closed-shop.apps.example.com/", "X-Forwarded-For", "10.1.1.1"); r.status != 403 {
		t.Errorf("%+v", r)
	}
	if r := e.get("http://open-shop.apps.example.com/"); r.body != "a" {
		t.Errorf("%+v", r)
	}
}

func TestUpgrade(t *testing.T) {
	t.Parallel()
	e := startEdge(t)
	echo := func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "echo" {
			t.Errorf("upgrade header: %v", r.Header)
		}
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		_, _ = io.Copy(conn, rw) // ends when the client leaves
	}
	p := startPod(t, "a", "127.0.0.2", echo, nil)
	e.backends("shop/web", p)
	e.route("shop/web", "ws.example.com")
	e.apply()
	conn, err := net.Dial("tcp", e.HTTPAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: ws.example.com\r\nConnection: keep-alive, Upgrade\r\nUpgrade: echo\r\n\r\n")
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, nil)
	if err != nil || resp.StatusCode != 101 {
		t.Fatalf("%v %+v", err, resp)
	}
	// The endpoint leaves; what it carries goes on.
	e.backends("shop/web")
	e.apply()
	for i := range 3 {
		text := fmt.Sprintf("message %d\n", i)
		fmt.Fprint(conn, text)
		if got, err := in.ReadString('\n'); err != nil || got != text {
			t.Fatalf("%q, %v", got, err)
		}
	}
}

// TestSmuggling sends requests whose end two servers may see in different places: each
// is refused, or ends where net/http says, and the connection with it.
func TestSmuggling(t *testing.T) {
	t.Parallel()
	e := startEdge(t)
	var seen sync.Map
	note := func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err == nil {
			seen.Store(r.URL.Path, true)
		}
	}
	e.backends("shop/web", startPod(t, "a", "127.0.0.2", note, nil))
	e.route("shop/web", "h.example.com")
	e.apply()
	for name, raw := range map[string]string{
		"CL.TE":            "POST / HTTP/1.1\r\nHost: h.example.com\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /evil HTTP/1.1\r\nHost: h.example.com\r\n\r\n",
		"two lengths":      "POST / HTTP/1.1\r\nHost: h.example.com\r\nContent-Length: 0\r\nContent-Length: 44\r\n\r\nGET /evil HTTP/1.1\r\nHost: h.example.com\r\n\r\n",
		"odd TE":           "POST / HTTP/1.1\r\nHost: h.example.com\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\nGET /evil HTTP/1.1\r\nHost: h.example.com\r\n\r\n",
		"space in name":    "POST / HTTP/1.1\r\nHost: h.example.com\r\nContent-Length : 44\r\n\r\nGET /evil HTTP/1.1\r\nHost: h.example.com\r\n\r\n",
		"two hosts":        "GET /evil HTTP/1.1\r\nHost: h.example.com\r\nHost: other.example.com\r\n\r\n",
		"no host":          "GET /evil HTTP/1.1\r\n\r\n",
		"negative length":  "POST /evil HTTP/1.1\r\nHost: h.example.com\r\nContent-Length: -1\r\n\r\n",
		"signed length":    "POST /evil HTTP/1.1\r\nHost: h.example.com\r\nContent-Length: +1\r\n\r\nx",
		"bad chunk length": "POST /evil HTTP/1.1\r\nHost: h.example.com\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\nx\r\n0\r\n\r\n",
	} {
		conn, err := net.Dial("tcp", e.HTTPAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(conn, raw)
		_ = conn.(*net.TCPConn).CloseWrite()
		if _, err := io.ReadAll(conn); err != nil {
			t.Logf("%s: %v", name, err)
		}
		conn.Close()
		if _, ok := seen.LoadAndDelete("/evil"); ok {
			t.Errorf("%s: the hidden request reached the backend", name)
		}
	}
}
