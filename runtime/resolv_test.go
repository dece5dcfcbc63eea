package runtime

import (
	"net/netip"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestResolvConf(t *testing.T) {
	t.Parallel()
	cluster := netip.MustParseAddr("10.128.0.1")
	node := resolver{[]string{"192.0.2.53"}, []string{"example.com"}, []string{"timeout:1"}}
	two := "2"
	config := &corev1.PodDNSConfig{
		Nameservers: []string{"192.0.2.7"}, Searches: []string{"corp.example", "svc.cluster.local"},
		Options: []corev1.PodDNSConfigOption{{Name: "ndots", Value: &two}, {Name: "edns0"}},
	}
	for name, c := range map[string]struct {
		policy corev1.DNSPolicy
		config *corev1.PodDNSConfig
		node   resolver
		want   string
	}{
		"the cluster's": {node: node, want: "nameserver 10.128.0.1\nsearch shop.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n"},
		"and more": {
			config: config, node: node,
			want: "nameserver 10.128.0.1\nnameserver 192.0.2.7\nsearch shop.svc.cluster.local svc.cluster.local cluster.local corp.example\noptions ndots:2 edns0\n",
		},
		"the node's":            {policy: corev1.DNSDefault, node: node, want: "nameserver 192.0.2.53\nsearch example.com\noptions timeout:1\n"},
		"the node's is unknown": {policy: corev1.DNSDefault, want: "nameserver 10.128.0.1\n"},
		"none":                  {policy: corev1.DNSNone, config: config, node: node, want: "nameserver 192.0.2.7\nsearch corp.example svc.cluster.local\noptions ndots:2 edns0\n"},
	} {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop"}, Spec: corev1.PodSpec{DNSPolicy: c.policy, DNSConfig: c.config}}
		if got := resolvConf(pod, cluster, c.node); got != c.want {
			t.Errorf("%s: %q, not %q", name, got, c.want)
		}
	}
}

func FuzzResolver(f *testing.F) {
	f.Add("# a comment\nnameserver 127.0.0.53\nnameserver 192.0.2.1\nnameserver ::1\nsearch a b\nsearch c\noptions ndots:2 rotate\nnameserver\n")
	f.Fuzz(func(t *testing.T, text string) {
		r := parseResolver(text)
		again := parseResolver(r.String())
		if !slices.Equal(distinct(r.servers), again.servers) {
			t.Errorf("%q: %q, then %q", text, r.servers, again.servers)
		}
	})
}
