package router

import (
	"bytes"
	"crypto/tls"
	"net"
	"strings"
	"testing"
)

func FuzzHostAndPath(f *testing.F) {
	f.Add("h.example.com:80", "/a/../b")
	f.Add("[::1]:80", "//")
	f.Add("H.EXAMPLE.COM.", "/a/b/..")
	f.Add("", "*")
	w := newTestWorld()
	w.route("s/admin", "h.example.com", atPath("/admin"))
	w.route("s/root", "h.example.com")
	table, _ := Compile(w.World)
	f.Fuzz(func(t *testing.T, host, p string) {
		h, clean := normalHost(host), normalPath(p)
		if !strings.HasPrefix(clean, "/") || normalPath(clean) != clean || strings.Contains(clean, "/../") {
			t.Errorf("%q → %q", p, clean)
		}
		r := table.Match(h, clean)
		if r == nil != (h != "h.example.com") {
			t.Errorf("%q → %q: %v", host, h, r)
		}
		admin := clean == "/admin" || strings.HasPrefix(clean, "/admin/")
		if r != nil && admin != (r.Route.Name == "admin") {
			t.Errorf("%q → %s", clean, r)
		}
	})
}

func FuzzTimeout(f *testing.F) {
	for _, s := range []string{"1", "10s", "999999999d", "0s", "-1s", "1s ", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if d, err := parseTimeout(s); err == nil && d <= 0 {
			t.Errorf("%q → %v", s, d)
		}
	})
}

// hello is a real ClientHello.
func hello(t testing.TB, name string) []byte {
	client, server := net.Pipe()
	defer server.Close()
	go tls.Client(client, &tls.Config{ServerName: name, InsecureSkipVerify: true}).Handshake()
	b := make([]byte, 16<<10)
	n, err := server.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return b[:n]
}

func TestPeekHello(t *testing.T) {
	t.Parallel()
	b := hello(t, "a.example.com")
	// The same message in two records, as some clients send it.
	body := b[5:]
	record := func(part []byte) []byte {
		return append([]byte{b[0], b[1], b[2], byte(len(part) >> 8), byte(len(part))}, part...)
	}
	split := append(record(body[:10]), record(body[10:])...)
	for name, in := range map[string][]byte{"whole": b, "two records": split, "more behind it": append(bytes.Clone(b), "rest"...)} {
		got, read, err := peekHello(bytes.NewReader(in))
		if err != nil || got != "a.example.com" || !bytes.Equal(read, in[:len(read)]) || len(read) < len(b) {
			t.Errorf("%s: %q, %d of %d bytes, %v", name, got, len(read), len(in), err)
		}
	}
	for name, in := range map[string][]byte{"cut": b[:50], "HTTP": []byte("GET / HTTP/1.1\r\n\r\n"), "nothing": nil} {
		if got, _, err := peekHello(bytes.NewReader(in)); err == nil || got != "" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func FuzzPeekHello(f *testing.F) {
	f.Add(hello(f, "a.example.com"))
	f.Add([]byte{22, 3, 1, 0, 1, 1})
	f.Fuzz(func(t *testing.T, in []byte) {
		name, read, err := peekHello(bytes.NewReader(in))
		if err != nil {
			return
		}
		if !bytes.HasPrefix(in, read) {
			t.Error("what was read is not what was sent")
		}
		if normalHost(name) != strings.ToLower(normalHost(name)) {
			t.Errorf("%q", name)
		}
	})
}
