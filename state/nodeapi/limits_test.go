package nodeapi_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/state/nodeapi"
	"slipway.dev/slipway/state/nodecert"
	"slipway.dev/slipway/state/remote"
)

func eventually(t *testing.T, what string, ok func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if err = ok(); err == nil {
			return
		}
	}
	t.Fatalf("not within a minute: %s: %v", what, err)
}

// raw is a connection with a certificate that an authority signs for a node's key, on which requests are written as
// they are.
func (s *served) raw(pair *tls.Certificate) *tls.Conn {
	s.t.Helper()
	config := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}}
	if pair != nil {
		config.Certificates = []tls.Certificate{*pair}
	}
	c, err := tls.Dial("tcp", strings.TrimPrefix(s.url, "https://"), config)
	s.must(err)
	s.t.Cleanup(func() { c.Close() })
	s.must(c.SetDeadline(time.Now().Add(time.Minute)))
	return c
}

// joined is a node that is known by its pair alone.
func (s *served) joined(name string) *tls.Certificate {
	s.t.Helper()
	dir := s.t.TempDir()
	i, err := s.join(dir, name, s.token())
	s.must(err)
	s.of(i, "10.128.6.0/23")
	pair, err := tls.LoadX509KeyPair(dir+"/node.pem", dir+"/node.pem")
	s.must(err)
	return &pair
}

func answerOf(c *tls.Conn) (int, string, error) {
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(data), err
}

// A node that asks without end is put off, its neighbours are not, and later it is answered again.
func TestANodeCannotAskWithoutEnd(t *testing.T) {
	t.Parallel()
	s, _, conn := world(t)
	_, other := s.node("neighbour", "10.128.8.0/23")
	s.api.Pace = 5
	put := 0
	for range 200 {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://server/api/v1/nodes/mine", nil)
		must(t, err)
		resp, err := conn.RoundTrip(r)
		must(t, err)
		resp.Body.Close()
		if resp.StatusCode == http.StatusTooManyRequests {
			put++
			if resp.Header.Get("Retry-After") == "" {
				t.Fatal("it is not told when to ask again")
			}
		}
	}
	if put == 0 || put > 110 {
		t.Errorf("%d of 200 requests are put off", put)
	}
	if code, body := send(t, other, "GET", "/api/v1/nodes/mine", "", ""); code != http.StatusOK {
		t.Errorf("its neighbour: %d %s", code, body)
	}
	s.clock.set(time.Minute)
	if code, body := send(t, conn, "GET", "/api/v1/nodes/mine", "", ""); code != http.StatusOK {
		t.Errorf("a minute later: %d %s", code, body)
	}
	// What it sends counts by its size.
	for range 3 {
		send(t, conn, "PUT", "/api/v1/nodes/mine/status", "application/json", `{"status":{"nodeInfo":{"kernelVersion":"`+strings.Repeat("x", 200<<10)+`"}}}`)
	}
	if code, _ := send(t, conn, "PUT", "/api/v1/nodes/mine/status", "application/json", `{"status":{"nodeInfo":{"kernelVersion":"`+strings.Repeat("x", 200<<10)+`"}}}`); code != http.StatusTooManyRequests {
		t.Errorf("it sends 800 KB: %d", code)
	}
}

func TestANodeCannotTellWithoutEnd(t *testing.T) {
	t.Parallel()
	s, _, conn := world(t)
	told, put := 0, 0
	for n := range 700 {
		code, body := send(t, conn, "POST", "/api/v1/namespaces/shop/events", "application/json", fmt.Sprintf(
			`{"metadata":{"name":"e%d"},"type":"Normal","reason":"R","message":"m","involvedObject":{"kind":"Pod","namespace":"shop","name":"mine"}}`, n))
		switch code {
		case http.StatusCreated:
			told++
		case http.StatusTooManyRequests:
			put++
		default:
			t.Fatalf("event %d: %d %s", n, code, body)
		}
	}
	if told < 400 || put == 0 {
		t.Errorf("of 700 events at once %d are told, %d put off", told, put)
	}
	var all corev1.EventList
	s.must(s.state.List(t.Context(), &all))
	if len(all.Items) != told {
		t.Errorf("%d events are there, of %d", len(all.Items), told)
	}
}

func TestANodeHasSoManyStreams(t *testing.T) {
	t.Parallel()
	s, _, conn := world(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	watch := func() int {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://server/api/v1/services?watch=true", nil)
		must(t, err)
		resp, err := conn.RoundTrip(r)
		must(t, err)
		t.Cleanup(func() { resp.Body.Close() })
		return resp.StatusCode
	}
	for range nodeapi.AtOnce {
		if code := watch(); code != http.StatusOK {
			t.Fatalf("a watch: %d", code)
		}
	}
	if code := watch(); code != http.StatusTooManyRequests {
		t.Errorf("one more: %d", code)
	}
	_, other := s.node("neighbour", "10.128.8.0/23")
	if code, body := send(t, other, "GET", "/api/v1/nodes/mine", "", ""); code != http.StatusOK {
		t.Errorf("its neighbour: %d %s", code, body)
	}
	cancel()
	eventually(t, "it may ask again", func() error {
		if code, body := send(t, conn, "GET", "/api/v1/nodes/mine", "", ""); code != http.StatusOK {
			return fmt.Errorf("%d %s", code, body)
		}
		return nil
	})
}

// A node that opens a watch and reads nothing, or sends half a request, is not waited for.
func TestASlowNodeIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.api.Hurry(500*time.Millisecond, 500*time.Millisecond, 500*time.Millisecond)
	pair := s.joined("slow")
	c := s.raw(pair)
	_, err := io.WriteString(c, "PUT /api/v1/nodes/slow/status HTTP/1.1\r\nHost: s\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{")
	s.must(err)
	if code, body, err := answerOf(c); code != http.StatusBadRequest && code != http.StatusRequestTimeout {
		t.Errorf("half a request: %d %s %v", code, body, err)
	}
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "big", Annotations: map[string]string{"a": strings.Repeat("x", 200<<10)}}}
	service.Spec.Ports = []corev1.ServicePort{{Port: 80}}
	s.create(service)
	c = s.raw(pair)
	_, err = io.WriteString(c, "GET /api/v1/services?watch=true HTTP/1.1\r\nHost: s\r\n\r\n")
	s.must(err)
	eventually(t, "the watch is open", func() error {
		if n := s.api.UnderWay("slow"); n != 1 {
			return fmt.Errorf("%d are under way", n)
		}
		return nil
	})
	changes := 0
	eventually(t, "the watch that nobody reads is ended", func() error {
		changes++
		service.Annotations["n"] = fmt.Sprint(changes)
		s.must(s.state.Update(t.Context(), service))
		if n := s.api.UnderWay("slow"); n != 0 {
			return fmt.Errorf("%d are under way after %d changes", n, changes)
		}
		return nil
	})
}

// Strangers who ask for certificates, and send nothing, wait for each other and for nobody else.
func TestStrangersDoNotKeepNodesOut(t *testing.T) {
	t.Parallel()
	s, _, conn := world(t)
	s.api.Hurry(time.Minute, time.Minute, 3*time.Second)
	for range nodeapi.Strangers {
		_, err := io.WriteString(s.raw(nil), "POST /slipway/v1/nodes/x/certificate HTTP/1.1\r\nHost: s\r\nContent-Length: 1000\r\n\r\n{")
		s.must(err)
	}
	eventually(t, "the next stranger is sent away", func() error {
		c := s.raw(nil)
		_, err := io.WriteString(c, "POST /slipway/v1/nodes/x/certificate HTTP/1.1\r\nHost: s\r\nContent-Length: 2\r\n\r\n{}")
		s.must(err)
		if code, body, err := answerOf(c); code != http.StatusTooManyRequests {
			return fmt.Errorf("%d %s %w", code, body, err)
		}
		return nil
	})
	if code, body := send(t, conn, "GET", "/api/v1/nodes/mine", "", ""); code != http.StatusOK {
		t.Errorf("a node: %d %s", code, body)
	}
	token := s.token()
	eventually(t, "a host joins", func() error {
		_, err := s.join(t.TempDir(), "patient", token)
		return err
	})
}

// With its node its streams are shut out: what it watches, and layers that it pulls.
func TestStreamsEndWithTheirNode(t *testing.T) {
	t.Parallel()
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for data := make([]byte, 1024); ; time.Sleep(10 * time.Millisecond) {
			if _, err := w.Write(data); err != nil {
				return
			}
			if http.NewResponseController(w).Flush() != nil {
				return
			}
		}
	}))
	_, conn := s.node("mine", "10.128.2.0/23")
	s.create(pod("shop", "mine", "mine", "mine"))
	over := make(chan string, 3)
	for _, path := range []string{"/api/v1/pods?watch=true", "/api/v1/secrets?watch=true", "/v2/shop/mine/blobs/sha256:0"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://server"+path, nil)
		must(t, err)
		resp, err := conn.RoundTrip(r)
		must(t, err)
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("GET %s: %s", path, resp.Status)
		}
		go func() {
			defer resp.Body.Close()
			_, _ = io.Copy(io.Discard, resp.Body)
			over <- path
		}()
	}
	s.must(nodeapi.Remove(t.Context(), s.state, "mine"))
	for range 3 {
		select {
		case <-over:
		case <-time.After(time.Minute):
			t.Fatal("a stream goes on without its node")
		}
	}
}

// A certificate that ends takes its streams with it, and a mirror goes on with the next.
func TestAMirrorGoesOnWithTheNextCertificate(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	c, conn := s.node("mine", "10.128.2.0/23")
	m, err := remote.NewMirror(c, "", slog.New(slog.DiscardHandler))
	s.must(err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); m.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	sees := func(name string) {
		t.Helper()
		eventually(t, "the mirror sees "+name, func() error {
			return m.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: name}, &corev1.Pod{})
		})
	}
	s.create(pod("shop", "one", "mine", "mine"))
	sees("one")
	s.clock.set(nodecert.NodeLife + time.Hour)
	eventually(t, "the streams have ended", func() error {
		if n := s.api.UnderWay("mine"); n != 0 {
			return fmt.Errorf("%d are under way", n)
		}
		return nil
	})
	s.create(pod("shop", "two", "mine", "mine"))
	if err := m.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "two"}, &corev1.Pod{}); err == nil {
		t.Error("it sees more with a certificate that has ended")
	}
	// This machine's clock says that it has time; the server's no is what counts.
	keeping := make(chan struct{})
	go func() { defer close(keeping); conn.KeepCertificate(ctx) }()
	defer func() { cancel(); <-keeping }()
	sees("two")
}
