package router

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// Termination is where TLS ends.
type Termination string

// The terminations; plain routes have no TLS.
const (
	Plain       Termination = "plain"
	Edge        Termination = "edge"
	Passthrough Termination = "passthrough"
	Reencrypt   Termination = "reencrypt"
)

// Insecure is what a route with TLS does with plain HTTP.
type Insecure string

// The policies.
const (
	InsecureNone     Insecure = "None"
	InsecureAllow    Insecure = "Allow"
	InsecureRedirect Insecure = "Redirect"
)

// Balance is how an endpoint is chosen.
type Balance string

// The algorithms.
const (
	LeastConn  Balance = "leastconn"
	RoundRobin Balance = "roundrobin"
	Source     Balance = "source"
)

// Endpoint is an address that serves a route. Weight is relative to the route's other
// endpoints, 1–256; 0 serves only whom a cookie leads there.
type Endpoint struct {
	Addr   netip.AddrPort
	Weight int
}

// Rule is one admitted Route, ready to serve.
type Rule struct {
	Route types.NamespacedName
	// Host in lower case. With Wildcard it is the domain below which every one-label
	// name is served.
	Host     string
	Wildcard bool
	// Path is empty for all paths; else it begins with a slash and does not end with one.
	Path        string
	Termination Termination
	Insecure    Insecure
	// Certificate is nil for the router's own.
	Certificate *tls.Certificate
	// DestinationCAs verify the pods of a reencrypt route; nil: the system's, and the
	// certificate must be for DestinationName.
	DestinationCAs  *x509.CertPool
	DestinationName string
	// destinationKey changes whenever connections made for the rule may not be used any
	// more: it is empty unless the route is reencrypt.
	destinationKey string

	Endpoints []Endpoint
	Balance   Balance
	// Cookie is the name of the cookie that binds a client to an endpoint; empty for none.
	Cookie       string
	CookieSecure bool
	// Timeout without progress of a backend.
	Timeout time.Duration
	// HSTS is the Strict-Transport-Security header of TLS responses.
	HSTS string
	// Allow lists who may connect; empty for everybody.
	Allow []netip.Prefix
}

// Table is what the proxy routes by.
type Table struct {
	exact map[string][]*Rule
	// wild is by the domain below which the names are.
	wild map[string][]*Rule
	// byRoute finds a route's rule again after the table was swapped.
	byRoute map[types.NamespacedName]*Rule
}

// newTable orders the rules: the longest path of a host first.
func newTable(rules []*Rule) *Table {
	t := &Table{exact: map[string][]*Rule{}, wild: map[string][]*Rule{}, byRoute: make(map[types.NamespacedName]*Rule, len(rules))}
	for _, r := range rules {
		t.byRoute[r.Route] = r
		if r.Wildcard {
			t.wild[r.Host] = append(t.wild[r.Host], r)
		} else {
			t.exact[r.Host] = append(t.exact[r.Host], r)
		}
	}
	for _, m := range []map[string][]*Rule{t.exact, t.wild} {
		for _, of := range m {
			slices.SortStableFunc(of, func(a, b *Rule) int {
				if d := len(b.Path) - len(a.Path); d != 0 {
					return d
				}
				return strings.Compare(a.Path, b.Path)
			})
		}
	}
	return t
}

// Rules lists every rule, by host and then in the order in which they are tried.
func (t *Table) Rules() []*Rule {
	var all []*Rule
	for _, m := range []map[string][]*Rule{t.exact, t.wild} {
		for _, host := range sortedKeys(m) {
			all = append(all, m[host]...)
		}
	}
	return all
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// Match finds the rule for a host, as normalHost makes it, and a path, as normalPath
// does; nil if there is none. Wildcards come last.
func (t *Table) Match(host, path string) *Rule {
	for _, r := range t.exact[host] {
		if r.serves(path) {
			return r
		}
	}
	if _, domain, ok := strings.Cut(host, "."); ok {
		for _, r := range t.wild[domain] {
			if r.serves(path) {
				return r
			}
		}
	}
	return nil
}

func (r *Rule) serves(path string) bool {
	rest, ok := strings.CutPrefix(path, r.Path)
	return ok && (rest == "" || rest[0] == '/' || r.Path == "")
}

// MatchTLS finds the rule that decides what becomes of a TLS connection: the
// passthrough rule of the name if there is one, else any rule, for its certificate.
func (t *Table) MatchTLS(host string) *Rule {
	_, domain, _ := strings.Cut(host, ".")
	var first *Rule
	for _, rules := range [][]*Rule{t.exact[host], t.wild[domain]} {
		for _, r := range rules {
			if r.Termination == Passthrough {
				return r
			}
			if first == nil || first.Certificate == nil && r.Certificate != nil && !r.Wildcard {
				first = r
			}
		}
		if first != nil {
			return first
		}
	}
	return nil
}

// String prints the table, a rule a line, for people and for golden files.
func (t *Table) String() string {
	var b strings.Builder
	for _, r := range t.Rules() {
		b.WriteString(r.String())
		b.WriteByte('\n')
	}
	return b.String()
}

// String prints the rule in one line; keys and certificates are only named.
func (r *Rule) String() string {
	var b strings.Builder
	host := r.Host
	if r.Wildcard {
		host = "*." + host
	}
	fmt.Fprintf(&b, "%s%s → %s %s", host, r.Path, r.Route, r.Termination)
	if r.Termination != Plain {
		fmt.Fprintf(&b, " insecure=%s", r.Insecure)
	}
	if r.Certificate != nil {
		b.WriteString(" own-certificate")
	}
	if r.DestinationCAs != nil {
		b.WriteString(" own-destination-ca")
	}
	fmt.Fprintf(&b, " %s timeout=%s", r.Balance, r.Timeout)
	if r.Cookie != "" {
		fmt.Fprintf(&b, " cookie=%s", r.Cookie)
		if r.CookieSecure {
			b.WriteString(",secure")
		}
	}
	if r.HSTS != "" {
		fmt.Fprintf(&b, " hsts=%q", r.HSTS)
	}
	if len(r.Allow) > 0 {
		fmt.Fprintf(&b, " allow=%v", r.Allow)
	}
	b.WriteString(" [")
	for i, e := range r.Endpoints {
		if i > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%s*%d", e.Addr, e.Weight)
	}
	b.WriteByte(']')
	return b.String()
}
