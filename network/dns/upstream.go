package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Upstream asks the resolvers that a file like /etc/resolv.conf names.
type Upstream struct {
	// File names the resolvers; it is read again when it has changed. Default
	// /etc/resolv.conf.
	File string
	// Except are addresses never to be asked: our own, or the question would go in circles.
	Except []string
	// Timeout for each resolver; default 2 s.
	Timeout time.Duration

	mu      sync.Mutex
	read    time.Time // modification time of the file that servers are from; guarded by mu
	servers []string  // host:port; guarded by mu
	asking  int       // questions under way; guarded by mu
}

// mostAsking bounds the questions under way, so that silent resolvers cost no more than
// that many sockets.
const mostAsking = 512

// Ask asks one resolver after the other until one answers.
func (u *Upstream) Ask(ctx context.Context, q dns.Question, overTCP bool) (*dns.Msg, error) {
	servers, err := u.begin()
	if err != nil {
		return nil, err
	}
	defer u.end()
	query := new(dns.Msg)
	query.SetQuestion(q.Name, q.Qtype)
	query.SetEdns0(largest, false)
	network := "udp"
	if overTCP {
		network = "tcp"
	}
	client := dns.Client{Net: network, Timeout: u.Timeout, UDPSize: dns.DefaultMsgSize}
	if client.Timeout == 0 {
		client.Timeout = 2 * time.Second
	}
	var errs []error
	for _, server := range servers {
		query.Id = dns.Id()
		got, _, err := client.ExchangeContext(ctx, query, server)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("%s: %w", server, err))
		case len(got.Question) != 1 || !strings.EqualFold(got.Question[0].Name, q.Name) || got.Question[0].Qtype != q.Qtype:
			errs = append(errs, fmt.Errorf("%s answered another question", server))
		case got.Rcode == dns.RcodeServerFailure || got.Rcode == dns.RcodeRefused:
			errs = append(errs, fmt.Errorf("%s: %s", server, dns.RcodeToString[got.Rcode]))
		default:
			return got, nil
		}
	}
	return nil, errors.Join(errs...)
}

func (u *Upstream) begin() ([]string, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.asking >= mostAsking {
		return nil, fmt.Errorf("%d questions wait for the node's resolvers already", u.asking)
	}
	file := u.File
	if file == "" {
		file = "/etc/resolv.conf"
	}
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if !info.ModTime().Equal(u.read) {
		config, err := dns.ClientConfigFromFile(file)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		u.servers = nil
		for _, s := range config.Servers {
			if !slices.Contains(u.Except, s) {
				u.servers = append(u.servers, net.JoinHostPort(s, config.Port))
			}
		}
		u.read = info.ModTime()
	}
	if len(u.servers) == 0 {
		return nil, fmt.Errorf("%s names no resolver that can be asked", file)
	}
	u.asking++
	return u.servers, nil
}

func (u *Upstream) end() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.asking--
}
