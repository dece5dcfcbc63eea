package runtime

import (
	"bufio"
	"net/netip"
	"os"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// resolverFiles say how the node itself resolves names. The second is the truth behind
// systemd-resolved's stub, which listens where no pod can reach it.
var resolverFiles = []string{"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"}

// resolver is the content of a resolv.conf.
type resolver struct {
	servers, searches, options []string
}

// resolvConf follows the pod's DNS policy: the cluster's name server unless it says
// None, or Default, which is how the node itself resolves. The pod's dnsConfig is added
// to either; an option of the same name replaces the other.
func resolvConf(pod *corev1.Pod, cluster netip.Addr, node resolver) string {
	var r resolver
	policy := pod.Spec.DNSPolicy
	if pod.Spec.HostNetwork && policy == corev1.DNSClusterFirst {
		policy = corev1.DNSDefault // What asks for the cluster's there says ClusterFirstWithHostNet.
	}
	switch {
	case policy == corev1.DNSNone:
	case policy == corev1.DNSDefault && len(node.servers) > 0:
		r = resolver{slices.Clone(node.servers), slices.Clone(node.searches), slices.Clone(node.options)}
	case cluster.IsValid():
		r.servers = []string{cluster.String()}
		if policy != corev1.DNSDefault {
			r.searches = []string{pod.Namespace + ".svc.cluster.local", "svc.cluster.local", "cluster.local"}
			r.options = []string{"ndots:5"}
		}
	}
	if c := pod.Spec.DNSConfig; c != nil {
		r.servers = append(r.servers, c.Nameservers...)
		r.searches = append(r.searches, c.Searches...)
		for _, o := range c.Options {
			r.option(o)
		}
	}
	return r.String()
}

func (r *resolver) option(o corev1.PodDNSConfigOption) {
	text := o.Name
	if o.Value != nil {
		text += ":" + *o.Value
	}
	r.options = slices.DeleteFunc(r.options, func(old string) bool {
		name, _, _ := strings.Cut(old, ":")
		return name == o.Name
	})
	r.options = append(r.options, text)
}

func (r *resolver) String() string {
	var b strings.Builder
	for _, s := range distinct(r.servers) {
		b.WriteString("nameserver " + s + "\n")
	}
	if searches := distinct(r.searches); len(searches) > 0 {
		b.WriteString("search " + strings.Join(searches, " ") + "\n")
	}
	if len(r.options) > 0 {
		b.WriteString("options " + strings.Join(r.options, " ") + "\n")
	}
	return b.String()
}

// distinct keeps the first of equals, and the order.
func distinct(words []string) (kept []string) {
	for _, w := range words {
		if !slices.Contains(kept, w) {
			kept = append(kept, w)
		}
	}
	return kept
}

// nodeResolver is how the node resolves names, without what only the node can reach.
func nodeResolver() resolver {
	for _, path := range resolverFiles {
		if b, err := os.ReadFile(path); err == nil {
			if r := parseResolver(string(b)); len(r.servers) > 0 {
				return r
			}
		}
	}
	return resolver{}
}

// parseResolver reads a resolv.conf(5); name servers on a loopback address are left out.
func parseResolver(text string) (r resolver) {
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		f := strings.Fields(lines.Text())
		if len(f) < 2 {
			continue
		}
		switch f[0] {
		case "nameserver":
			if a, err := netip.ParseAddr(f[1]); err == nil && !a.IsLoopback() {
				r.servers = append(r.servers, f[1])
			}
		case "search", "domain": // The last one holds.
			r.searches = f[1:]
		case "options":
			r.options = append(r.options, f[1:]...)
		}
	}
	return r
}
