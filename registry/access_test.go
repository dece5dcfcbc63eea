package registry

import (
	"context"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var errClosed = os.ErrClosed

type allow func(Access) bool

func (f allow) Allow(_ context.Context, a Access) bool { return f(a) }

func TestLocalPolicy(t *testing.T) {
	t.Parallel()
	here, there := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("10.128.0.7")
	for _, k := range []struct {
		a    Access
		want bool
	}{
		{Access{"", here, "p/s", VerbPull}, true},
		{Access{"", netip.MustParseAddr("::1"), "p/s", VerbPull}, true},
		{Access{"", there, "p/s", VerbPull}, false},
		{Access{"", netip.Addr{}, "p/s", VerbPull}, false},
		{Access{"", here, "p/s", VerbPush}, false},
		{Access{"", here, "p/s", VerbDelete}, false},
		{Access{"someone", here, "p/s", VerbPull}, false},
		{Access{Builder, there, "p/s", VerbPull}, true},
		{Access{Builder, there, "p/s", VerbPush}, true},
		{Access{Builder, here, "p/s", VerbDelete}, true},
	} {
		if got := (LocalPolicy{}).Allow(context.Background(), k.a); got != k.want {
			t.Errorf("%+v: %v", k.a, got)
		}
	}
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	now := time.Now()
	c := start(t, Options{Now: func() time.Time { return now }})
	m := c.image("p/s", "x")
	c.push("p/s", "latest", m)
	builder, password := c.user, c.pass
	token := func() string {
		var body struct{ Token string }
		if err := json.Unmarshal(c.want(200, "GET", "/v2/_token?service=slipway", nil).body, &body); err != nil {
			t.Fatal(err)
		}
		return body.Token
	}
	pushed := "Bearer " + token()
	c.user = ""
	anonymous := "Bearer " + token()
	cases := []struct {
		name, method, path, auth string
		status                   int
	}{
		{"base asks for credentials", "GET", "/v2/", "", 401},
		{"base, anonymous token", "GET", "/v2/", anonymous, 200},
		{"base, builder token", "GET", "/v2/", pushed, 200},
		{"pull", "GET", "/v2/p/s/manifests/latest", "", 200},
		{"pull, anonymous token", "GET", "/v2/p/s/manifests/latest", anonymous, 200},
		{"pull, wrong token", "GET", "/v2/p/s/manifests/latest", anonymous + "x", 401},
		{"pull, unknown scheme", "GET", "/v2/p/s/manifests/latest", "Digest x", 401},
		{"push", "POST", "/v2/p/s/blobs/uploads/", "", 401},
		{"push, anonymous token", "POST", "/v2/p/s/blobs/uploads/", anonymous, 401},
		{"push, builder token", "POST", "/v2/p/s/blobs/uploads/", pushed, 202},
		{"delete", "DELETE", "/v2/p/s/manifests/latest", "", 401},
		{"delete, anonymous token", "DELETE", "/v2/p/s/manifests/latest", anonymous, 401},
		{"upload status", "GET", "/v2/p/s/blobs/uploads/00000000000000000000000000000000", "", 401},
	}
	for _, k := range cases {
		var headers []string
		if k.auth != "" {
			headers = []string{"Authorization", k.auth}
		}
		a := c.do(k.method, k.path, nil, headers...)
		if a.status != k.status {
			t.Errorf("%s: got %d, want %d: %s", k.name, a.status, k.status, a.body)
		}
		if a.status == 401 && (!strings.HasPrefix(a.header.Get("WWW-Authenticate"), `Bearer realm="`+c.url+`/v2/_token"`) || a.code() != "UNAUTHORIZED") {
			t.Errorf("%s: %v %s", k.name, a.header, a.body)
		}
	}
	for _, wrong := range [][2]string{{builder, "nope"}, {builder, ""}, {"someone", password}, {"", password}} {
		req := httptest.NewRequest("GET", "/v2/_token", nil)
		req.SetBasicAuth(wrong[0], wrong[1])
		w := httptest.NewRecorder()
		c.reg.Handler().ServeHTTP(w, req)
		if w.Code != 401 {
			t.Errorf("%v: got %d", wrong, w.Code)
		}
	}
	now = now.Add(tokenLife)
	if a := c.do("POST", "/v2/p/s/blobs/uploads/", nil, "Authorization", pushed); a.status != 401 {
		t.Errorf("expired token: %d", a.status)
	}
}

func TestPasswordIsKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open := func() *Registry {
		r, err := New(Options{Dir: dir, Log: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	r := open()
	_, first := r.BuilderAuth()
	if _, err := New(Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second process opened the store: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r = open()
	defer r.Close()
	if _, again := r.BuilderAuth(); again != first || len(again) != 64 {
		t.Errorf("password changed from %q to %q", first, again)
	}
	info, err := os.Stat(filepath.Join(dir, "builder-token"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode: %v %v", info.Mode(), err)
	}
}

func TestChallengeKeepsItsQuotes(t *testing.T) {
	t.Parallel()
	req := httptest.NewRequest("GET", "/v2/", nil)
	req.Host = `evil",service="x`
	if got := challenge(req, "", VerbPull); strings.Count(got, `"`) != 4 {
		t.Error(got)
	}
}

func TestSinkFailureFailsThePush(t *testing.T) {
	t.Parallel()
	sink := &sinkRecorder{fail: errors.New("image stream is away")}
	c := start(t, Options{Sink: sink})
	m := c.image("p/s", "x")
	a := c.want(500, "PUT", "/v2/p/s/manifests/latest", m, "Content-Type", typeOCIManifest)
	if !strings.Contains(string(a.body), "image stream is away") {
		t.Errorf("message: %s", a.body)
	}
	sink.fail = nil
	c.push("p/s", "latest", m)
	c.push("p/s", "older", c.image("p/s", "y"))
	if len(sink.pushes) != 2 {
		t.Fatalf("pushes: %v", sink.pushes)
	}
	var walked []Push
	if err := c.reg.Walk(context.Background(), func(p Push) error { walked = append(walked, p); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(walked) != 2 || walked[0].Tag != "latest" || string(walked[0].Config) != string(sink.pushes[0].Config) || walked[0].Size != sink.pushes[0].Size {
		t.Errorf("walked: %+v", walked)
	}
}
