package router

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	routev1 "github.com/openshift/api/route/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// The annotations are those of OpenShift's router.
const (
	annotationBalance = "haproxy.router.openshift.io/balance"
	annotationCookies = "haproxy.router.openshift.io/disable_cookies"
	annotationHSTS    = "haproxy.router.openshift.io/hsts_header"
	annotationAllow   = "haproxy.router.openshift.io/ip_whitelist"
	annotationTimeout = "haproxy.router.openshift.io/timeout"
	annotationCookie  = "router.openshift.io/cookie_name"
)

// defaultTimeout is OpenShift's default for a backend without progress.
const defaultTimeout = 30 * time.Second

// maxAlternates and maxWeight are OpenShift's limits.
const (
	maxAlternates = 3
	maxWeight     = 256
	defaultWeight = 100
)

// compileRule makes the rule of one Route. Errors name the field that is wrong.
func compileRule(w World, route *routev1.Route, host string) (*Rule, error) {
	r := &Rule{
		Route: types.NamespacedName{Namespace: route.Namespace, Name: route.Name},
		Host:  host, Path: normalRulePath(route.Spec.Path), Termination: Plain, Insecure: InsecureAllow, Timeout: defaultTimeout,
	}
	if route.Spec.WildcardPolicy == routev1.WildcardPolicySubdomain {
		r.Wildcard, r.Host = true, domainOf(host)
	}
	if route.Spec.Path != "" && !strings.HasPrefix(route.Spec.Path, "/") {
		return nil, fmt.Errorf("spec.path: %q does not begin with /", clip(route.Spec.Path))
	}
	if route.Spec.HTTPHeaders != nil {
		return nil, fmt.Errorf("spec.httpHeaders: not supported")
	}
	if err := r.tls(route.Spec.TLS, route.Spec.To.Name); err != nil {
		return nil, err
	}
	services, err := r.targets(w, &route.Spec)
	if err != nil {
		return nil, err
	}
	if err := r.annotations(route, services); err != nil {
		return nil, err
	}
	return r, nil
}

// tls reads where TLS ends and with what.
func (r *Rule) tls(t *routev1.TLSConfig, service string) error {
	if t == nil {
		return nil
	}
	r.Insecure = InsecureNone
	switch p := t.InsecureEdgeTerminationPolicy; p {
	case "", routev1.InsecureEdgeTerminationPolicyNone:
	case routev1.InsecureEdgeTerminationPolicyAllow, routev1.InsecureEdgeTerminationPolicyRedirect:
		r.Insecure = Insecure(p)
	default:
		return fmt.Errorf("spec.tls.insecureEdgeTerminationPolicy: %q is not None, Allow or Redirect", clip(string(p)))
	}
	switch t.Termination {
	case routev1.TLSTerminationEdge, "":
		r.Termination = Edge
	case routev1.TLSTerminationReencrypt:
		r.Termination = Reencrypt
	case routev1.TLSTerminationPassthrough:
		r.Termination = Passthrough
		if r.Path != "" {
			return fmt.Errorf("spec.path: a passthrough route cannot have one")
		}
		if r.Insecure == InsecureAllow {
			return fmt.Errorf("spec.tls.insecureEdgeTerminationPolicy: a passthrough route has None or Redirect")
		}
		if t.Certificate != "" || t.Key != "" {
			return fmt.Errorf("spec.tls.certificate: a passthrough route has none")
		}
		return nil
	default:
		return fmt.Errorf("spec.tls.termination: %q is not edge, passthrough or reencrypt", clip(string(t.Termination)))
	}
	if t.ExternalCertificate != nil {
		return fmt.Errorf("spec.tls.externalCertificate: not supported; put the certificate into spec.tls.certificate")
	}
	if err := r.certificate(t); err != nil {
		return err
	}
	if r.Termination == Reencrypt {
		return r.destination(t.DestinationCACertificate, service)
	}
	return nil
}

func (r *Rule) certificate(t *routev1.TLSConfig) error {
	if t.Certificate == "" && t.Key == "" {
		return nil
	}
	chain := []byte(t.Certificate + "\n" + t.CACertificate)
	c, err := tls.X509KeyPair(chain, []byte(t.Key))
	if err != nil {
		// The parser's message may not be trusted to leave the key out.
		return fmt.Errorf("spec.tls.certificate, spec.tls.key: not a PEM certificate and the key that belongs to it")
	}
	r.Certificate = &c
	return nil
}

// destination says by what the pods of a reencrypt route are believed: by the
// authority in the route, whatever name their certificate is for, or else by the
// system's authorities and the service's name. This is OpenShift's rule.
func (r *Rule) destination(ca, service string) error {
	r.DestinationName = service + "." + r.Route.Namespace + ".svc"
	sum := sha256.Sum256([]byte(r.Route.String() + "\n" + r.Host + "\n" + ca))
	r.destinationKey = hex.EncodeToString(sum[:])
	if ca == "" {
		return nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(ca)) {
		return fmt.Errorf("spec.tls.destinationCACertificate: holds no PEM certificate")
	}
	r.DestinationCAs = pool
	return nil
}

// targets finds the endpoints and weighs them. It returns how many services take part.
func (r *Rule) targets(w World, spec *routev1.RouteSpec) (int, error) {
	if len(spec.AlternateBackends) > maxAlternates {
		return 0, fmt.Errorf("spec.alternateBackends: %d, at most %d are allowed", len(spec.AlternateBackends), maxAlternates)
	}
	type share struct {
		weight int
		addrs  []netip.AddrPort
	}
	var shares []share
	active, largest := 0, 0.0
	for i, ref := range append([]routev1.RouteTargetReference{spec.To}, spec.AlternateBackends...) {
		field := "spec.to"
		if i > 0 {
			field = fmt.Sprintf("spec.alternateBackends[%d]", i-1)
		}
		if ref.Kind != "" && ref.Kind != "Service" {
			return 0, fmt.Errorf("%s.kind: %q is not Service", field, clip(ref.Kind))
		}
		weight := defaultWeight
		if ref.Weight != nil {
			weight = int(*ref.Weight)
		}
		if weight < 0 || weight > maxWeight {
			return 0, fmt.Errorf("%s.weight: %d is not within 0 and %d", field, weight, maxWeight)
		}
		key := types.NamespacedName{Namespace: r.Route.Namespace, Name: ref.Name}
		addrs := addresses(w.Services[key], w.Endpoints[key], spec.Port)
		if weight > 0 {
			active++
		}
		if n := len(addrs); n > 0 {
			largest = max(largest, float64(weight)/float64(n))
			shares = append(shares, share{weight, addrs})
		}
	}
	for _, s := range shares {
		weight := 0
		if s.weight > 0 {
			weight = max(1, int(float64(s.weight)/float64(len(s.addrs))/largest*maxWeight))
		}
		for _, a := range s.addrs {
			r.Endpoints = append(r.Endpoints, Endpoint{a, weight})
		}
	}
	return active, nil
}

// addresses lists the ready addresses of a service on the route's port: by the name or
// the number that the endpoints give it; without one, on the service's first port.
func addresses(service *corev1.Service, endpoints *corev1.Endpoints, port *routev1.RoutePort) []netip.AddrPort {
	if service == nil || endpoints == nil {
		return nil
	}
	wanted := func(p corev1.EndpointPort) bool {
		return len(service.Spec.Ports) == 0 || p.Name == service.Spec.Ports[0].Name
	}
	if port != nil && port.TargetPort != (intstr.IntOrString{}) {
		want := port.TargetPort.String()
		wanted = func(p corev1.EndpointPort) bool {
			return p.Name == want || strconv.Itoa(int(p.Port)) == want
		}
	}
	var found []netip.AddrPort
	for _, subset := range endpoints.Subsets {
		for _, p := range subset.Ports {
			if !wanted(p) || p.Protocol != "" && p.Protocol != corev1.ProtocolTCP {
				continue
			}
			for _, a := range subset.Addresses {
				if ip, err := netip.ParseAddr(a.IP); err == nil && p.Port > 0 && p.Port <= 65535 {
					found = append(found, netip.AddrPortFrom(ip, uint16(p.Port)))
				}
			}
		}
	}
	slices.SortFunc(found, netip.AddrPort.Compare)
	return slices.Compact(found)
}

var (
	timeoutGrammar = regexp.MustCompile(`^([1-9][0-9]{0,8})(us|ms|s|m|h|d)?$`)
	hstsGrammar    = regexp.MustCompile(`^max-age=[0-9]{1,10}(\s*;\s*(includeSubDomains|preload))*$`)
	cookieGrammar  = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)
)

// annotations reads what a route tunes. A value that cannot be read refuses the route:
// the list of who may connect must never be lost to a typing error.
func (r *Rule) annotations(route *routev1.Route, services int) error {
	a := route.Annotations
	r.Balance = LeastConn
	if services > 1 {
		r.Balance = RoundRobin
	}
	if r.Termination == Passthrough {
		r.Balance = Source
	}
	switch b := a[annotationBalance]; b {
	case "":
	case string(LeastConn), string(RoundRobin), string(Source):
		r.Balance = Balance(b)
	default:
		return fmt.Errorf("annotation %s: %q is not leastconn, roundrobin or source", annotationBalance, clip(b))
	}
	if v := a[annotationTimeout]; v != "" {
		var err error
		if r.Timeout, err = parseTimeout(v); err != nil {
			return fmt.Errorf("annotation %s: %w", annotationTimeout, err)
		}
	}
	if v := a[annotationHSTS]; v != "" {
		if !hstsGrammar.MatchString(v) {
			return fmt.Errorf("annotation %s: %q is not max-age=<seconds>[;includeSubDomains][;preload]", annotationHSTS, clip(v))
		}
		r.HSTS = v
	}
	for _, v := range strings.Fields(a[annotationAllow]) {
		p, err := parsePrefix(v)
		if err != nil {
			return fmt.Errorf("annotation %s: %q is neither an address nor a network", annotationAllow, clip(v))
		}
		r.Allow = append(r.Allow, p)
	}
	if r.Allow == nil && a[annotationAllow] != "" {
		return fmt.Errorf("annotation %s: holds no address", annotationAllow)
	}
	return r.cookie(a)
}

func (r *Rule) cookie(a map[string]string) error {
	off, err := strconv.ParseBool(a[annotationCookies])
	if a[annotationCookies] != "" && err != nil {
		return fmt.Errorf("annotation %s: %q is neither true nor false", annotationCookies, clip(a[annotationCookies]))
	}
	if off || r.Termination == Passthrough {
		return nil
	}
	r.Cookie = a[annotationCookie]
	if r.Cookie == "" {
		sum := sha256.Sum256([]byte(r.Route.String()))
		r.Cookie = hex.EncodeToString(sum[:16])
	}
	if !cookieGrammar.MatchString(r.Cookie) {
		return fmt.Errorf("annotation %s: %q is no cookie name", annotationCookie, clip(r.Cookie))
	}
	r.CookieSecure = r.Termination != Plain && r.Insecure != InsecureAllow
	return nil
}

func parsePrefix(s string) (netip.Prefix, error) {
	if !strings.Contains(s, "/") {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return netip.Prefix{}, err
		}
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	return netip.ParsePrefix(s)
}

// parseTimeout reads HAProxy's durations: a number and one of us, ms, s, m, h, d; ms if
// it is left out.
func parseTimeout(s string) (time.Duration, error) {
	m := timeoutGrammar.FindStringSubmatch(s)
	if m == nil {
		return 0, fmt.Errorf("%q is not a number followed by us, ms, s, m, h or d", clip(s))
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil {
		return 0, err
	}
	unit := map[string]time.Duration{"us": time.Microsecond, "": time.Millisecond, "ms": time.Millisecond, "s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour}[m[2]]
	const longest = 24 * 24 * time.Hour // HAProxy's limit: what fits 31 bits of milliseconds
	if n > int64(longest/unit) {
		return longest, nil
	}
	return time.Duration(n) * unit, nil
}

// allows says whether the rule lets the client in.
func (r *Rule) allows(client netip.Addr) bool {
	return len(r.Allow) == 0 || slices.ContainsFunc(r.Allow, func(p netip.Prefix) bool { return p.Contains(client) })
}

// clientAddr is the address of the connection's other end.
func clientAddr(req *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(req.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}
