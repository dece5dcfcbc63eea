package dns

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Zone is the domain of everything that lives here.
const Zone = "cluster.local."

// The lives of records and of their absence, in seconds.
const (
	lifetime        = 30
	absenceLifetime = 5
)

// Answer is what the zone says to a question.
type Answer struct {
	// Ours is false for a name of elsewhere, about which nothing is said.
	Ours bool
	// Code is a DNS response code.
	Code int
	// Records answer the question; Extra are addresses of what they name.
	Records, Extra []dns.RR
}

// Ask answers from memory.
func (r *Records) Ask(q dns.Question) Answer {
	name := strings.ToLower(dns.Fqdn(q.Name))
	reverse, isReverse := reverseAddress(name)
	if isReverse && !slices.ContainsFunc(r.networks, func(n netip.Prefix) bool { return n.Contains(reverse) }) {
		return Answer{}
	}
	if !isReverse && !dns.IsSubDomain(Zone, name) {
		return Answer{}
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	if !r.ready {
		return Answer{Ours: true, Code: dns.RcodeServerFailure}
	}
	var f found
	if isReverse {
		f = r.findReverse(q.Name, reverse)
	} else {
		f = r.find(q.Name, dns.SplitDomainName(strings.TrimSuffix(name, Zone)))
	}
	out := Answer{Ours: true, Code: dns.RcodeSuccess}
	if !f.exists {
		out.Code = dns.RcodeNameError
		return out
	}
	for _, rr := range f.records {
		// A CNAME answers every type; ANY is answered with what there is.
		if t := rr.Header().Rrtype; t == q.Qtype || t == dns.TypeCNAME || q.Qtype == dns.TypeANY {
			out.Records = append(out.Records, rr)
		}
	}
	if len(out.Records) > 0 {
		out.Extra = f.extra
	}
	return out
}

// found is everything under a name; a name may exist without records.
type found struct {
	exists         bool
	records, extra []dns.RR
}

var nothing = found{}

// find looks a name up; labels are those before the zone, outermost last. owner is the
// name as it was asked for, whose case is kept.
func (r *Records) find(owner string, labels []string) found {
	n := len(labels)
	if n == 0 {
		return found{exists: true, records: []dns.RR{authority(Zone)}}
	}
	kind := labels[n-1]
	switch {
	case kind != "svc" && kind != "endpoints" && kind != "pod":
		return nothing
	case n == 1:
		return found{exists: true}
	case kind == "pod" && n == 3:
		return r.findPod(owner, labels[0])
	case n == 2:
		return found{exists: r.projects[labels[0]] > 0}
	}
	name := types.NamespacedName{Namespace: labels[n-2], Name: labels[n-3]}
	switch {
	case kind == "endpoints" && n == 3:
		return hostRecords(owner, hostsOf(r.endpoints[name]))
	case kind == "endpoints":
		return hostRecords(owner, named(hostsOf(r.endpoints[name]), labels[n-4]))
	case kind == "svc":
		return r.findService(owner, name, labels[:n-3])
	}
	return nothing
}

// findPod turns a-b-c-d into a.b.c.d, for addresses of the pods' and services' networks.
func (r *Records) findPod(owner, label string) found {
	a, err := netip.ParseAddr(strings.ReplaceAll(label, "-", "."))
	if err != nil || !a.Is4() || !slices.ContainsFunc(r.networks, func(n netip.Prefix) bool { return n.Contains(a) }) {
		return nothing
	}
	return hostRecords(owner, []host{{address: a}})
}

func (r *Records) findService(owner string, name types.NamespacedName, below []string) found {
	s := r.services[name]
	if s == nil {
		return nothing
	}
	hosts := hostsOf(r.endpoints[name])
	switch {
	case s.Spec.Type == corev1.ServiceTypeExternalName:
		// What is before it changes nothing, as with a service that has an address.
		return found{exists: true, records: []dns.RR{&dns.CNAME{Hdr: header(owner, dns.TypeCNAME), Target: dns.Fqdn(s.Spec.ExternalName)}}}
	case len(below) == 0:
		if a := addressesOfService(s); len(a) > 0 {
			hosts = []host{{address: a[0]}}
		}
		f := hostRecords(owner, hosts)
		f.exists = true
		return f
	case len(below) == 1 && below[0] == "_endpoints":
		f := hostRecords(owner, hosts)
		f.exists = true
		return f
	case len(below) <= 2 && !slices.ContainsFunc(below, func(l string) bool { return !strings.HasPrefix(l, "_") }):
		return r.findPorts(owner, name, s, hosts, below)
	}
	nearest := below[len(below)-1]
	if f := hostRecords(owner, named(hosts, nearest)); f.exists || len(addressesOfService(s)) == 0 {
		return f
	}
	// OpenShift 3: whatever is before a service that has an address is that service.
	return hostRecords(owner, []host{{address: addressesOfService(s)[0]}})
}

// named is the hosts of a name, or of the address that it says.
func named(hosts []host, name string) []host {
	return slices.DeleteFunc(hosts, func(h host) bool { return h.name != name && dashed(h.address) != name })
}

// findPorts answers _port._protocol and, for all ports, _protocol: one record for the service,
// or one for each endpoint of a service without an address.
func (r *Records) findPorts(owner string, name types.NamespacedName, s *corev1.Service, hosts []host, below []string) found {
	protocol := below[len(below)-1]
	base := name.Name + "." + name.Namespace + ".svc." + Zone
	var f found
	for _, p := range s.Spec.Ports {
		if "_"+protocolOf(p.Protocol) != protocol || len(below) == 2 && (p.Name == "" || "_"+strings.ToLower(p.Name) != below[0]) {
			continue
		}
		f.exists = true
		if p.Name == "" {
			continue // A port without a name has no record.
		}
		if a := addressesOfService(s); len(a) > 0 {
			f.add(owner, base, uint16(p.Port), a[0])
			continue
		}
		for _, h := range hosts {
			if number, ok := portOf(r.endpoints[name], h.address, p); ok {
				f.add(owner, h.name+"."+base, number, h.address)
			}
		}
	}
	return f
}

func (f *found) add(owner, target string, port uint16, a netip.Addr) {
	f.records = append(f.records, &dns.SRV{Hdr: header(owner, dns.TypeSRV), Priority: 0, Weight: 100, Port: port, Target: target})
	f.extra = append(f.extra, addressRecord(target, a))
}

// portOf is the port of an endpoint that belongs to a service port.
func portOf(e *corev1.Endpoints, a netip.Addr, p corev1.ServicePort) (uint16, bool) {
	for _, subset := range e.Subsets {
		if !slices.ContainsFunc(subset.Addresses, func(x corev1.EndpointAddress) bool { return x.IP == a.String() }) {
			continue
		}
		for _, ep := range subset.Ports {
			if ep.Name == p.Name && protocolOf(ep.Protocol) == protocolOf(p.Protocol) {
				return uint16(ep.Port), true
			}
		}
	}
	return 0, false
}

func protocolOf(p corev1.Protocol) string {
	if p == "" {
		return "tcp"
	}
	return strings.ToLower(string(p))
}

func hostRecords(owner string, hosts []host) found {
	f := found{exists: len(hosts) > 0}
	for _, h := range hosts {
		f.records = append(f.records, addressRecord(owner, h.address))
	}
	return f
}

func addressRecord(owner string, a netip.Addr) dns.RR {
	return &dns.A{Hdr: header(owner, dns.TypeA), A: a.AsSlice()}
}

func header(owner string, t uint16) dns.RR_Header {
	return dns.RR_Header{Name: owner, Rrtype: t, Class: dns.ClassINET, Ttl: lifetime}
}

// authority is the record that goes with every "there is none".
func authority(zone string) dns.RR {
	return &dns.SOA{Hdr: dns.RR_Header{Name: zone, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: absenceLifetime},
		Ns: "ns.dns." + Zone, Mbox: "hostmaster." + Zone, Serial: 1, Refresh: 7200, Retry: 1800, Expire: 86400, Minttl: absenceLifetime}
}

// findReverse names an address: its service, or the endpoint below a service that has
// no address of its own.
func (r *Records) findReverse(owner string, a netip.Addr) found {
	var names []string
	for key := range r.reverse[a] {
		s := r.services[key]
		if s == nil {
			continue
		}
		base := key.Name + "." + key.Namespace + ".svc." + Zone
		if own := addressesOfService(s); len(own) > 0 {
			if own[0] == a {
				names = append(names, base)
			}
			continue
		}
		for _, h := range hostsOf(r.endpoints[key]) {
			if h.address == a {
				names = append(names, h.name+"."+base)
			}
		}
	}
	slices.Sort(names)
	f := found{exists: len(names) > 0}
	for _, n := range names {
		f.records = append(f.records, &dns.PTR{Hdr: header(owner, dns.TypePTR), Ptr: n})
	}
	return f
}

// reverseAddress reads d.c.b.a.in-addr.arpa.
func reverseAddress(name string) (netip.Addr, bool) {
	labels, ok := strings.CutSuffix(name, ".in-addr.arpa.")
	if !ok {
		return netip.Addr{}, false
	}
	parts := strings.Split(labels, ".")
	slices.Reverse(parts)
	a, err := netip.ParseAddr(strings.Join(parts, "."))
	return a, err == nil && a.Is4()
}
