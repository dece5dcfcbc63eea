package dns

import (
	"net/netip"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Records is what is known about services and their endpoints. It may be used from
// several goroutines.
type Records struct {
	// networks holds the addresses whose reverse names are ours.
	networks []netip.Prefix

	mu        sync.RWMutex
	ready     bool                                             // guarded by mu, as all that follows
	services  map[types.NamespacedName]*corev1.Service         //
	endpoints map[types.NamespacedName]*corev1.Endpoints       //
	projects  map[string]int                                   // services and endpoints per project
	reverse   map[netip.Addr]map[types.NamespacedName]struct{} // who has the address
}

// NewRecords knows nothing. networks are the networks of pods and services: who asks
// for the name of an address in them is answered here and nowhere else.
func NewRecords(networks ...netip.Prefix) *Records {
	return &Records{networks: networks,
		services:  map[types.NamespacedName]*corev1.Service{},
		endpoints: map[types.NamespacedName]*corev1.Endpoints{},
		projects:  map[string]int{},
		reverse:   map[netip.Addr]map[types.NamespacedName]struct{}{}}
}

// Ready says that everything in live state was put once. Until then nothing is said
// not to exist: questions for our zone get SERVFAIL.
func (r *Records) Ready() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ready = true
}

// PutService replaces a service, or forgets it if it is nil. The object is kept and
// must not be changed.
func (r *Records) PutService(name types.NamespacedName, s *corev1.Service) {
	r.mu.Lock()
	defer r.mu.Unlock()
	old, had := r.services[name]
	r.forget(name, addressesOfService(old), had)
	delete(r.services, name)
	if s != nil {
		r.services[name] = s
		r.learn(name, addressesOfService(s))
	}
	// An address that both the service and its endpoints have stays known.
	r.index(name, addressesOfEndpoints(r.endpoints[name]))
}

// PutEndpoints replaces a service's endpoints, or forgets them if e is nil.
func (r *Records) PutEndpoints(name types.NamespacedName, e *corev1.Endpoints) {
	r.mu.Lock()
	defer r.mu.Unlock()
	old, had := r.endpoints[name]
	r.forget(name, addressesOfEndpoints(old), had)
	delete(r.endpoints, name)
	if e != nil {
		r.endpoints[name] = e
		r.learn(name, addressesOfEndpoints(e))
	}
	r.index(name, addressesOfService(r.services[name]))
}

// Service is a service that was put; nil: there is none. It must not be changed.
func (r *Records) Service(name types.NamespacedName) *corev1.Service {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.services[name]
}

func (r *Records) learn(name types.NamespacedName, addresses []netip.Addr) {
	r.projects[name.Namespace]++
	r.index(name, addresses)
}

func (r *Records) index(name types.NamespacedName, addresses []netip.Addr) {
	for _, a := range addresses {
		if r.reverse[a] == nil {
			r.reverse[a] = map[types.NamespacedName]struct{}{}
		}
		r.reverse[a][name] = struct{}{}
	}
}

func (r *Records) forget(name types.NamespacedName, addresses []netip.Addr, had bool) {
	if !had {
		return
	}
	if r.projects[name.Namespace]--; r.projects[name.Namespace] == 0 {
		delete(r.projects, name.Namespace)
	}
	for _, a := range addresses {
		delete(r.reverse[a], name)
		if len(r.reverse[a]) == 0 {
			delete(r.reverse, a)
		}
	}
}

func addressesOfService(s *corev1.Service) []netip.Addr {
	if s == nil {
		return nil
	}
	if a, err := netip.ParseAddr(s.Spec.ClusterIP); err == nil {
		return []netip.Addr{a}
	}
	return nil
}

func addressesOfEndpoints(e *corev1.Endpoints) []netip.Addr {
	var out []netip.Addr
	for _, h := range hostsOf(e) {
		out = append(out, h.address)
	}
	return out
}

// host is one endpoint under the name that it has below its service.
type host struct {
	name    string
	address netip.Addr
}

// hostsOf is the endpoints' IPv4 addresses, each once, in order.
func hostsOf(e *corev1.Endpoints) []host {
	if e == nil {
		return nil
	}
	var out []host
	for _, subset := range e.Subsets {
		for _, a := range subset.Addresses {
			ip, err := netip.ParseAddr(a.IP)
			if err != nil || !ip.Is4() {
				continue
			}
			h := host{strings.ToLower(a.Hostname), ip}
			if h.name == "" {
				h.name = dashed(ip)
			}
			out = append(out, h)
		}
	}
	slices.SortFunc(out, func(a, b host) int { return a.address.Compare(b.address) })
	return slices.CompactFunc(out, func(a, b host) bool { return a.address == b.address })
}

func dashed(a netip.Addr) string { return strings.ReplaceAll(a.String(), ".", "-") }
