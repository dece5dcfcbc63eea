package dns

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// counted is a resolver that counts what it is asked. Names tell what it says.
func counted(t *testing.T, at string) (*Upstream, *atomic.Int32) {
	t.Helper()
	asked := new(atomic.Int32)
	started := make(chan struct{})
	up := &dns.Server{Addr: at + ":53", Net: "udp", NotifyStartedFunc: func() { close(started) }, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		asked.Add(1)
		m := new(dns.Msg)
		m.SetReply(q)
		name := q.Question[0].Name
		record := func(ttl uint32) dns.RR {
			return &dns.A{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: ttl}, A: netip.MustParseAddr("192.0.2.80").AsSlice()}
		}
		switch dns.SplitDomainName(name)[0] {
		case "absent":
			m.Rcode, m.Ns = dns.RcodeNameError, []dns.RR{authority("example.org.")}
		case "unsaid":
			m.Rcode = dns.RcodeNameError
		case "cut":
			m.Truncated, m.Answer = true, []dns.RR{record(100)}
		case "fleeting":
			m.Answer = []dns.RR{record(0)}
		default:
			m.Answer = []dns.RR{record(100), record(60)}
		}
		w.WriteMsg(m)
	})}
	go up.ListenAndServe()
	<-started
	t.Cleanup(func() { up.Shutdown() })
	file := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(file, []byte("nameserver "+at+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return &Upstream{File: file, Timeout: 30 * time.Second}, asked
}

func TestAnswersAreKeptWhileTheyLive(t *testing.T) {
	up, asked := counted(t, "127.0.0.154")
	now := time.Now()
	s := server(t, known(), up)
	s.Clock = func() time.Time { return now }
	ask := func(name string) string {
		q := new(dns.Msg)
		q.SetQuestion(name, dns.TypeA)
		return text(s.Respond(q, false))
	}
	for _, step := range []struct {
		after time.Duration
		name  string
		want  string
		asked int32
	}{
		{0, "www.example.org.", "NOERROR; 100 A 192.0.2.80; 60 A 192.0.2.80", 1},
		{59 * time.Second, "WWW.Example.org.", "NOERROR; 1 A 192.0.2.80; 41 A 192.0.2.80", 1},
		{time.Second, "www.example.org.", "NOERROR; 100 A 192.0.2.80; 60 A 192.0.2.80", 2},
		{0, "absent.example.org.", "NXDOMAIN; authority SOA", 3},
		{4 * time.Second, "absent.example.org.", "NXDOMAIN; authority SOA", 3},
		{time.Second, "absent.example.org.", "NXDOMAIN; authority SOA", 4},
		{0, "unsaid.example.org.", "NXDOMAIN", 5},
		{0, "unsaid.example.org.", "NXDOMAIN", 6},
		{0, "cut.example.org.", "NOERROR; 100 A 192.0.2.80", 7},
		{0, "cut.example.org.", "NOERROR; 100 A 192.0.2.80", 8},
		{0, "fleeting.example.org.", "NOERROR; 0 A 192.0.2.80", 9},
		{0, "fleeting.example.org.", "NOERROR; 0 A 192.0.2.80", 10},
		// The names of services are never older than what is known of them.
		{0, "web.shop.svc.cluster.local.", "NOERROR; 30 A 172.30.0.1", 10},
	} {
		now = now.Add(step.after)
		if got := ask(step.name); got != step.want || asked.Load() != step.asked {
			t.Errorf("%s: got %s, asked %d times, want %s and %d", step.name, got, asked.Load(), step.want, step.asked)
		}
	}
}

func TestKeptAnswersAreBounded(t *testing.T) {
	var c cache
	now := time.Now()
	for i := range 2 * mostKept {
		name := fmt.Sprintf("n%d.example.org.", i)
		m := new(dns.Msg)
		m.Answer = []dns.RR{addressRecord(name, netip.MustParseAddr("192.0.2.1"))}
		c.put(dns.Question{Name: name, Qtype: dns.TypeA, Qclass: dns.ClassINET}, m, now)
		if len(c.kept) > mostKept {
			t.Fatalf("%d answers are kept", len(c.kept))
		}
	}
	last := dns.Question{Name: fmt.Sprintf("n%d.example.org.", 2*mostKept-1), Qtype: dns.TypeA, Qclass: dns.ClassINET}
	if c.get(last, now) == nil {
		t.Error("the last answer is not kept")
	}
}
