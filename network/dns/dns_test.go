package dns

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

func known() *Records {
	r := NewRecords(netip.MustParsePrefix("10.128.0.0/14"), netip.MustParsePrefix("172.30.0.0/16"))
	put := func(ns, name string, s corev1.ServiceSpec, e ...corev1.EndpointSubset) {
		key := types.NamespacedName{Namespace: ns, Name: name}
		r.PutService(key, &corev1.Service{Spec: s})
		r.PutEndpoints(key, &corev1.Endpoints{Subsets: e})
	}
	pair := corev1.EndpointSubset{
		Addresses: []corev1.EndpointAddress{{IP: "10.128.0.2", Hostname: "db-0"}, {IP: "10.128.0.3"}},
		Ports:     []corev1.EndpointPort{{Name: "sql", Port: 5432}}}
	sql := []corev1.ServicePort{{Name: "sql", Port: 15432}}
	put("shop", "web", corev1.ServiceSpec{ClusterIP: "172.30.0.1", Ports: []corev1.ServicePort{{Name: "http", Port: 80}}},
		corev1.EndpointSubset{Addresses: []corev1.EndpointAddress{{IP: "10.128.0.4"}}, Ports: []corev1.EndpointPort{{Name: "http", Port: 8080}}})
	put("shop", "db", corev1.ServiceSpec{ClusterIP: "None", Ports: sql}, pair)
	put("shop", "idle", corev1.ServiceSpec{ClusterIP: "None", Ports: sql})
	put("shop", "out", corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "example.org"})
	put("shop", "inner", corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "web.shop.svc.cluster.local"})
	put("shop", "circle", corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "circle.shop.svc.cluster.local"})
	r.Ready()
	return r
}

func server(t testing.TB, r *Records, u *Upstream) *Server {
	return &Server{Records: r, Upstream: u, Log: slog.New(slog.DiscardHandler)}
}

// text is the answer in short: the code, then what each section holds.
func text(m *dns.Msg) string {
	var out []string
	for _, rr := range m.Answer {
		h := rr.Header()
		out = append(out, fmt.Sprintf("%d %s %s", h.Ttl, dns.TypeToString[h.Rrtype], strings.TrimPrefix(rr.String(), h.String())))
	}
	slices.Sort(out)
	for _, rr := range m.Ns {
		out = append(out, "authority "+dns.TypeToString[rr.Header().Rrtype])
	}
	for _, rr := range m.Extra {
		if a, ok := rr.(*dns.A); ok {
			out = append(out, "extra "+a.Hdr.Name+" "+a.A.String())
		}
	}
	return strings.Join(append([]string{dns.RcodeToString[m.Rcode]}, out...), "; ")
}

func TestAnswers(t *testing.T) {
	s := server(t, known(), nil)
	const none, empty = "NXDOMAIN; authority SOA", "NOERROR; authority SOA"
	for _, c := range []struct {
		name string
		kind uint16
		want string
	}{
		{"web.shop.svc", dns.TypeA, "NOERROR; 30 A 172.30.0.1"},
		{"WEB.Shop.SVC", dns.TypeA, "NOERROR; 30 A 172.30.0.1"},
		{"web.shop.svc", dns.TypeAAAA, empty},
		{"web.shop.svc", dns.TypeMX, empty},
		{"db.shop.svc", dns.TypeA, "NOERROR; 30 A 10.128.0.2; 30 A 10.128.0.3"},
		{"idle.shop.svc", dns.TypeA, empty},
		{"db-0.db.shop.svc", dns.TypeA, "NOERROR; 30 A 10.128.0.2"},
		{"10-128-0-3.db.shop.svc", dns.TypeA, "NOERROR; 30 A 10.128.0.3"},
		{"db-1.db.shop.svc", dns.TypeA, none},
		{"web.shop.endpoints", dns.TypeA, "NOERROR; 30 A 10.128.0.4"},
		{"db.shop.endpoints", dns.TypeA, "NOERROR; 30 A 10.128.0.2; 30 A 10.128.0.3"},
		{"none.shop.endpoints", dns.TypeA, none},
		{"10-128-1-9.shop.pod", dns.TypeA, "NOERROR; 30 A 10.128.1.9"},
		{"192-0-2-1.shop.pod", dns.TypeA, none},
		{"ten-128-1-9.shop.pod", dns.TypeA, none},
		{"_http._tcp.web.shop.svc", dns.TypeSRV, "NOERROR; 30 SRV 0 100 80 web.shop.svc.cluster.local.; extra web.shop.svc.cluster.local. 172.30.0.1"},
		{"_sql._tcp.db.shop.svc", dns.TypeSRV, "NOERROR; 30 SRV 0 100 5432 10-128-0-3.db.shop.svc.cluster.local.; 30 SRV 0 100 5432 db-0.db.shop.svc.cluster.local.; " +
			"extra db-0.db.shop.svc.cluster.local. 10.128.0.2; extra 10-128-0-3.db.shop.svc.cluster.local. 10.128.0.3"},
		{"_sql._udp.db.shop.svc", dns.TypeSRV, none},
		{"_http._tcp.web.shop.svc", dns.TypeA, empty},
		{"_tcp.web.shop.svc", dns.TypeSRV, "NOERROR; 30 SRV 0 100 80 web.shop.svc.cluster.local.; extra web.shop.svc.cluster.local. 172.30.0.1"},
		{"_tcp.web.shop.svc", dns.TypeA, empty},
		{"_udp.web.shop.svc", dns.TypeSRV, none},
		{"_endpoints.web.shop.svc", dns.TypeA, "NOERROR; 30 A 10.128.0.4"},
		{"_endpoints.idle.shop.svc", dns.TypeA, empty},
		{"none.shop.svc", dns.TypeA, none},
		{"none.shop.svc", dns.TypeAAAA, none},
		{"web.other.svc", dns.TypeA, none},
		{"shop.svc", dns.TypeA, empty},
		{"other.svc", dns.TypeA, none},
		{"svc", dns.TypeA, empty},
		{"example.org.shop.svc", dns.TypeA, none},
		// What is before a service with an address is the service; of others, one endpoint.
		{"tenant.web.shop.svc", dns.TypeA, "NOERROR; 30 A 172.30.0.1"},
		{"a.b.c.d.e.web.shop.svc", dns.TypeA, "NOERROR; 30 A 172.30.0.1"},
		{"10-128-0-4.web.shop.svc", dns.TypeA, "NOERROR; 30 A 10.128.0.4"},
		{"tenant.inner.shop.svc", dns.TypeA, "NOERROR; 30 A 172.30.0.1; 30 CNAME web.shop.svc.cluster.local."},
		{"tenant.db.shop.svc", dns.TypeA, none},
		{"tenant.db-0.db.shop.svc", dns.TypeA, "NOERROR; 30 A 10.128.0.2"},
		{"db-0.db.shop.endpoints", dns.TypeA, "NOERROR; 30 A 10.128.0.2"},
		{"db-1.db.shop.endpoints", dns.TypeA, none},
		{"tenant.none.shop.svc", dns.TypeA, none},
		{"strange", dns.TypeA, none},
		{"inner.shop.svc", dns.TypeA, "NOERROR; 30 A 172.30.0.1; 30 CNAME web.shop.svc.cluster.local."},
		{"out.shop.svc", dns.TypeCNAME, "NOERROR; 30 CNAME example.org."},
	} {
		q := new(dns.Msg)
		q.SetQuestion(c.name+"."+Zone, c.kind)
		if got := text(s.Respond(q, false)); got != c.want {
			t.Errorf("%s %s: got %s, want %s", c.name, dns.TypeToString[c.kind], got, c.want)
		}
	}
}

func TestReverse(t *testing.T) {
	s := server(t, known(), nil)
	for address, want := range map[string]string{
		"172.30.0.1": "NOERROR; 30 PTR web.shop.svc.cluster.local.",
		"10.128.0.2": "NOERROR; 30 PTR db-0.db.shop.svc.cluster.local.",
		"10.128.0.4": "NXDOMAIN; authority SOA",
		"172.30.9.9": "NXDOMAIN; authority SOA",
		"192.0.2.1":  "SERVFAIL",
	} {
		name, err := dns.ReverseAddr(address)
		if err != nil {
			t.Fatal(err)
		}
		q := new(dns.Msg)
		q.SetQuestion(name, dns.TypePTR)
		if got := text(s.Respond(q, false)); got != want {
			t.Errorf("%s: got %s, want %s", address, got, want)
		}
	}
}

func TestStrangeQueries(t *testing.T) {
	s := server(t, known(), nil)
	ask := func(change func(*dns.Msg)) string {
		q := new(dns.Msg)
		q.SetQuestion("web.shop.svc."+Zone, dns.TypeA)
		change(q)
		return text(s.Respond(q, false))
	}
	for want, change := range map[string]func(*dns.Msg){
		"FORMERR":  func(q *dns.Msg) { q.Question = append(q.Question, q.Question[0]) },
		"NOTIMP":   func(q *dns.Msg) { q.Opcode = dns.OpcodeNotify },
		"REFUSED":  func(q *dns.Msg) { q.Question[0].Qclass = dns.ClassCHAOS },
		"BADSIG":   func(q *dns.Msg) { q.SetEdns0(1232, false); q.IsEdns0().SetVersion(1) },
		"SERVFAIL": func(q *dns.Msg) { q.Question[0].Name = "circle.shop.svc." + Zone },
	} {
		if got, _, _ := strings.Cut(ask(change), ";"); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestNothingIsSaidNotToExistBeforeAllIsKnown(t *testing.T) {
	q := new(dns.Msg)
	q.SetQuestion("web.shop.svc."+Zone, dns.TypeA)
	if got := text(server(t, NewRecords(), nil).Respond(q, false)); got != "SERVFAIL" {
		t.Errorf("got %s", got)
	}
}

func TestForgetting(t *testing.T) {
	r := known()
	key := types.NamespacedName{Namespace: "shop", Name: "web"}
	r.PutService(key, nil)
	r.PutEndpoints(key, nil)
	for _, name := range []string{"web.shop.svc.cluster.local.", "web.shop.endpoints.cluster.local.", "1.0.30.172.in-addr.arpa."} {
		if a := r.Ask(dns.Question{Name: name, Qtype: dns.TypeA, Qclass: dns.ClassINET}); a.Code != dns.RcodeNameError {
			t.Errorf("%s is still known: %v", name, a)
		}
	}
}

// outside is a resolver that knows example.org.
func outside(t *testing.T, dir string) *Upstream {
	t.Helper()
	mux := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg)
		m.SetReply(q)
		if strings.EqualFold(q.Question[0].Name, "example.org.") {
			m.Answer = append(m.Answer, &dns.A{Hdr: header(q.Question[0].Name, dns.TypeA), A: netip.MustParseAddr("192.0.2.80").AsSlice()})
		} else {
			m.Rcode = dns.RcodeNameError
		}
		w.WriteMsg(m)
	})
	started := make(chan struct{})
	up := &dns.Server{Addr: "127.0.0.153:53", Net: "udp", Handler: mux, NotifyStartedFunc: func() { close(started) }}
	go up.ListenAndServe()
	<-started
	t.Cleanup(func() { up.Shutdown() })
	file := filepath.Join(dir, "resolv.conf")
	if err := os.WriteFile(file, []byte("nameserver 127.0.0.53\nnameserver 127.0.0.153\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return &Upstream{File: file, Except: []string{"127.0.0.53"}, Timeout: 10 * time.Second}
}

func TestOverTheWire(t *testing.T) {
	r := known()
	var many corev1.EndpointSubset
	for i := range 200 {
		many.Addresses = append(many.Addresses, corev1.EndpointAddress{IP: fmt.Sprintf("10.128.1.%d", i)})
	}
	key := types.NamespacedName{Namespace: "shop", Name: "many"}
	r.PutService(key, &corev1.Service{Spec: corev1.ServiceSpec{ClusterIP: "None"}})
	r.PutEndpoints(key, &corev1.Endpoints{Subsets: []corev1.EndpointSubset{many}})
	s := server(t, r, outside(t, t.TempDir()))
	at, err := s.Listen(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	for _, network := range []string{"udp", "tcp"} {
		c := dns.Client{Net: network, Timeout: 30 * time.Second}
		for name, want := range map[string]string{
			"web.shop.svc.cluster.local.":  "NOERROR; 30 A 172.30.0.1",
			"none.shop.svc.cluster.local.": "NXDOMAIN; authority SOA",
		} {
			q := new(dns.Msg)
			q.SetQuestion(name, dns.TypeA)
			got, _, err := c.Exchange(q, at.String())
			if err != nil {
				t.Fatal(err)
			}
			if text(got) != want {
				t.Errorf("%s %s: got %s, want %s", network, name, text(got), want)
			}
		}
		q := new(dns.Msg)
		q.SetQuestion("many.shop.svc.cluster.local.", dns.TypeA)
		got, _, err := c.Exchange(q, at.String())
		if err != nil {
			t.Fatal(err)
		}
		if whole := len(got.Answer) == 200; whole != (network == "tcp") || got.Truncated == whole {
			t.Errorf("%s: %d of 200 addresses, truncated %v", network, len(got.Answer), got.Truncated)
		}
	}
	c := dns.Client{Timeout: 30 * time.Second}
	for name, want := range map[string]string{
		"example.org.":                "NOERROR; 30 A 192.0.2.80",
		"nowhere.example.":            "NXDOMAIN",
		"out.shop.svc.cluster.local.": "NOERROR; 30 A 192.0.2.80; 30 CNAME example.org.",
	} {
		q := new(dns.Msg)
		q.SetQuestion(name, dns.TypeA)
		got, _, err := c.Exchange(q, at.String())
		if err != nil {
			t.Fatal(err)
		}
		if text(got) != want {
			t.Errorf("%s: got %s, want %s", name, text(got), want)
		}
	}
}

func TestUpstreamWithoutResolversSaysSo(t *testing.T) {
	file := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(file, []byte("nameserver 10.128.0.1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	u := &Upstream{File: file, Except: []string{"10.128.0.1"}}
	if _, err := u.Ask(t.Context(), dns.Question{Name: "example.org.", Qtype: dns.TypeA}, false); err == nil || !strings.Contains(err.Error(), "names no resolver") {
		t.Errorf("got %v", err)
	}
}

func FuzzRespond(f *testing.F) {
	s := server(f, known(), nil)
	for _, name := range []string{"web.shop.svc.cluster.local.", "_sql._tcp.db.shop.svc.cluster.local.", "2.0.128.10.in-addr.arpa.", "."} {
		q := new(dns.Msg)
		q.SetQuestion(name, dns.TypeANY)
		b, err := q.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		q := new(dns.Msg)
		if q.Unpack(b) != nil {
			return
		}
		for _, overTCP := range []bool{false, true} {
			reply := s.Respond(q, overTCP)
			if reply.Id != q.Id || !reply.Response {
				t.Fatalf("%v is no answer to %v", reply, q)
			}
			reply.Truncate(dns.MinMsgSize)
			if _, err := reply.Pack(); err != nil {
				t.Fatalf("the answer to %v cannot be sent: %v", q, err)
			}
		}
	})
}
