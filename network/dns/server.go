package dns

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Server answers over UDP and TCP.
type Server struct {
	// Records answer for the zone.
	Records *Records
	// Upstream is asked for everything else; nil: nothing else is known here.
	Upstream *Upstream
	Log      *slog.Logger
	// Clock defaults to time.Now.
	Clock func() time.Time

	servers []*dns.Server
	cache   cache
}

// largest is the size of an answer over UDP, in bytes, that crosses every usual network
// in one piece (DNS flag day 2020).
const largest = 1232

// Listen opens UDP and TCP at the same address and answers there until Close. With port
// 0 a free port is taken. It returns the address.
func (s *Server) Listen(at netip.AddrPort) (netip.AddrPort, error) {
	var lc net.ListenConfig
	tcp, err := lc.Listen(context.Background(), "tcp4", at.String())
	if err != nil {
		return netip.AddrPort{}, err
	}
	at = tcp.Addr().(*net.TCPAddr).AddrPort()
	udp, err := lc.ListenPacket(context.Background(), "udp4", at.String())
	if err != nil {
		tcp.Close()
		return netip.AddrPort{}, err
	}
	for _, srv := range []*dns.Server{{Listener: tcp, Handler: s, IdleTimeout: idle}, {PacketConn: udp, Handler: s, UDPSize: dns.DefaultMsgSize}} {
		started := make(chan struct{})
		srv.NotifyStartedFunc = func() { close(started) }
		ended := make(chan error, 1)
		go func() { ended <- srv.ActivateAndServe() }()
		select {
		case <-started:
		case err := <-ended:
			tcp.Close()
			udp.Close()
			return netip.AddrPort{}, errors.Join(errors.New("dns server ended at its start"), err)
		}
		go func() {
			if err := <-ended; err != nil {
				s.Log.Error("dns server ended", "address", at.String(), "error", err)
			}
		}()
		s.servers = append(s.servers, srv)
	}
	return at, nil
}

func idle() time.Duration { return 10 * time.Second }

// Close stops listening and waits for the answers under way.
func (s *Server) Close() error {
	var errs []error
	for _, srv := range s.servers {
		errs = append(errs, srv.Shutdown())
	}
	s.servers = nil
	return errors.Join(errs...)
}

// ServeDNS implements dns.Handler.
func (s *Server) ServeDNS(w dns.ResponseWriter, query *dns.Msg) {
	_, overTCP := w.RemoteAddr().(*net.TCPAddr)
	reply := s.Respond(query, overTCP)
	size := dns.MaxMsgSize
	if !overTCP {
		size = dns.MinMsgSize
		if opt := query.IsEdns0(); opt != nil {
			size = min(max(int(opt.UDPSize()), dns.MinMsgSize), largest)
		}
	}
	reply.Truncate(size)
	if err := w.WriteMsg(reply); err != nil {
		s.Log.Debug("dns answer not sent", "to", w.RemoteAddr().String(), "error", err)
	}
}

// Respond is the whole answer to a query.
func (s *Server) Respond(query *dns.Msg, overTCP bool) *dns.Msg {
	reply := new(dns.Msg)
	reply.SetReply(query)
	reply.RecursionAvailable = true
	if opt := query.IsEdns0(); opt != nil {
		reply.SetEdns0(largest, opt.Do())
		if opt.Version() != 0 {
			reply.Rcode = dns.RcodeBadVers
			return reply
		}
	}
	switch {
	case query.Opcode != dns.OpcodeQuery:
		reply.Rcode = dns.RcodeNotImplemented
	case len(query.Question) != 1:
		reply.Rcode = dns.RcodeFormatError
	case refused(query.Question[0]):
		reply.Rcode = dns.RcodeRefused
	default:
		s.answer(reply, query.Question[0], overTCP)
	}
	return reply
}

func refused(q dns.Question) bool {
	return q.Qclass != dns.ClassINET || q.Qtype == dns.TypeAXFR || q.Qtype == dns.TypeIXFR
}

// longestChain is how many aliases are followed.
const longestChain = 8

func (s *Server) answer(reply *dns.Msg, q dns.Question, overTCP bool) {
	for range longestChain {
		a := s.Records.Ask(q)
		if !a.Ours {
			s.forward(reply, q, overTCP)
			return
		}
		reply.Authoritative, reply.Rcode = true, a.Code
		shuffle(a.Records)
		reply.Answer = append(reply.Answer, a.Records...)
		reply.Extra = append(a.Extra, reply.Extra...)
		alias := aliasIn(a.Records)
		if alias == "" || q.Qtype == dns.TypeCNAME || q.Qtype == dns.TypeANY {
			if len(a.Records) == 0 && a.Code != dns.RcodeServerFailure {
				reply.Ns = append(reply.Ns, authority(zoneOf(q.Name)))
			}
			return
		}
		q.Name = alias
	}
	reply.Rcode = dns.RcodeServerFailure
}

// shuffle spreads clients that take the first address.
func shuffle(records []dns.RR) {
	rand.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
}

func aliasIn(records []dns.RR) string {
	for _, rr := range records {
		if c, ok := rr.(*dns.CNAME); ok {
			return c.Target
		}
	}
	return ""
}

func zoneOf(name string) string {
	if dns.IsSubDomain("in-addr.arpa.", strings.ToLower(name)) {
		return "in-addr.arpa."
	}
	return Zone
}

func (s *Server) forward(reply *dns.Msg, q dns.Question, overTCP bool) {
	if s.Upstream == nil {
		reply.Rcode = dns.RcodeServerFailure
		return
	}
	got, err := s.ask(q, overTCP)
	if err != nil {
		s.Log.Debug("dns question not answered by the node's resolvers", "name", q.Name, "error", err)
		reply.Rcode = dns.RcodeServerFailure
		return
	}
	reply.Authoritative, reply.Rcode, reply.Truncated = false, got.Rcode, got.Truncated
	reply.Answer = append(reply.Answer, got.Answer...)
	reply.Ns = append(reply.Ns, got.Ns...)
	for _, rr := range got.Extra {
		if rr.Header().Rrtype != dns.TypeOPT {
			reply.Extra = append(reply.Extra, rr)
		}
	}
}

// ask asks the node's resolvers, unless their answer is known.
func (s *Server) ask(q dns.Question, overTCP bool) (*dns.Msg, error) {
	clock := s.Clock
	if clock == nil {
		clock = time.Now
	}
	if got := s.cache.get(q, clock()); got != nil {
		return got, nil
	}
	got, err := s.Upstream.Ask(context.Background(), q, overTCP)
	if err == nil {
		s.cache.put(q, got, clock())
	}
	return got, err
}
