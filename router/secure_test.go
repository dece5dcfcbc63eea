package router

import (
	"crypto/tls"
	"fmt"
	"net"
	"testing"
	"time"

	routev1 "github.com/openshift/api/route/v1"
)

func TestTLS(t *testing.T) {
	t.Parallel()
	e := startEdge(t)
	cert, key := certificate(t, "own.example.com")
	e.backends("shop/web", startPod(t, "a", "127.0.0.2", nil, nil))
	e.route("shop/own", "own.example.com", to("web"), secure("edge", ""), tlsWith(func(c *routev1.TLSConfig) { c.Certificate, c.Key = cert, key }))
	e.route("shop/default", "", to("web"), secure("edge", "Redirect"))
	e.route("shop/plain", "", to("web"))
	e.apply()
	if r := e.get("https://own.example.com/"); r.body != "a" || r.peer.DNSNames[0] != "own.example.com" {
		t.Errorf("%+v", r)
	}
	if r := e.get("https://default-shop.apps.example.com/"); r.body != "a" || r.peer.VerifyHostname("default-shop.apps.example.com") != nil {
		t.Errorf("%+v", r)
	}
	if r := e.get("http://own.example.com/"); r.status != 503 {
		t.Errorf("insecure None: %+v", r)
	}
	want := fmt.Sprintf("https://default-shop.apps.example.com:%d/a?b=c", e.HTTPSAddr().Port())
	if r := e.get("http://default-shop.apps.example.com/a?b=c"); r.status != 302 || r.header.Get("Location") != want {
		t.Errorf("redirect: %+v", r)
	}
	if r := e.get("https://plain-shop.apps.example.com/"); r.status != 503 {
		t.Errorf("plain route over TLS: %+v", r)
	}
	if r := e.get("https://own.example.com/", "Host", "default-shop.apps.example.com"); r.status != 421 {
		t.Errorf("SNI and Host differ: %+v", r)
	}
}

func TestPassthrough(t *testing.T) {
	t.Parallel()
	e := startEdge(t)
	cert, key := certificate(t, "pod.example.com")
	pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	dead := startPod(t, "dead", "127.0.0.4", nil, nil)
	dead.server.Close()
	e.backends("shop/web", startPod(t, "a", "127.0.0.2", nil, &tls.Config{Certificates: []tls.Certificate{pair}}), dead)
	e.route("shop/web", "pass.example.com", secure("passthrough", "Redirect"))
	e.apply()
	for range 5 {
		if r := e.get("https://pass.example.com/"); r.body != "a" || r.peer.DNSNames[0] != "pod.example.com" {
			t.Errorf("%+v", r)
		}
	}
	if r := e.get("http://pass.example.com/"); r.status != 302 {
		t.Errorf("%+v", r)
	}
	// Without the name in the hello nothing of the route is served.
	c := e.client(&tls.Config{InsecureSkipVerify: true, ServerName: "127.0.0.1"})
	if r, err := e.try(c, "GET", "https://pass.example.com/", nil); err != nil || r.status != 503 {
		t.Errorf("no SNI: %v %+v", err, r)
	}
	// A hello in many pieces is understood.
	conn, err := net.Dial("tcp", e.HTTPSAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client := tls.Client(&fragmenting{Conn: conn}, &tls.Config{InsecureSkipVerify: true, ServerName: "pass.example.com"})
	if err := client.Handshake(); err != nil || client.ConnectionState().PeerCertificates[0].DNSNames[0] != "pod.example.com" {
		t.Errorf("fragmented hello: %v", err)
	}
}

// fragmenting writes a few bytes at a time.
type fragmenting struct{ net.Conn }

func (f *fragmenting) Write(b []byte) (int, error) {
	for i := 0; i < len(b); i += 100 {
		if n, err := f.Conn.Write(b[i:min(i+100, len(b))]); err != nil {
			return i + n, err
		}
		time.Sleep(time.Millisecond)
	}
	return len(b), nil
}

func TestReencrypt(t *testing.T) {
	t.Parallel()
	e := startEdge(t)
	cert, key := certificate(t, "anything")
	other, _ := certificate(t, "anything")
	pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	e.backends("shop/web", startPod(t, "a", "127.0.0.2", nil, &tls.Config{Certificates: []tls.Certificate{pair}}))
	ca := func(pem string) func(*routev1.Route) {
		return tlsWith(func(c *routev1.TLSConfig) { c.DestinationCACertificate = pem })
	}
	e.route("shop/right", "", to("web"), secure("reencrypt", ""), ca(cert))
	e.route("shop/wrong", "", to("web"), secure("reencrypt", ""), ca(other))
	e.route("shop/none", "", to("web"), secure("reencrypt", ""))
	e.route("shop/bad", "", to("web"), secure("reencrypt", ""), ca("not PEM"))
	verdicts := e.apply()
	if r := e.get("https://right-shop.apps.example.com/"); r.body != "a" {
		t.Errorf("right: %+v", r)
	}
	for _, closed := range []string{"wrong", "none", "bad"} {
		if r := e.get("https://" + closed + "-shop.apps.example.com/"); r.status < 500 || r.body == "a" {
			t.Errorf("%s: %+v", closed, r)
		}
	}
	if v := verdicts["shop/bad"]; v.Reason != ReasonInvalid {
		t.Errorf("verdict: %+v", v)
	}
}
