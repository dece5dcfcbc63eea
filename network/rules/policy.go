package rules

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// NamedPort is a port of a pod that has a name.
type NamedPort struct {
	Name     string
	Protocol corev1.Protocol
	Port     int32
}

// Peer is what policies need to know of a pod.
type Peer struct {
	Address netip.Addr
	Labels  labels.Set
	Ports   []NamedPort
	// Here says that the pod runs on this node, which is where its policies are enforced.
	Here bool
}

// World is what policies select from.
type World struct {
	// Peers of each project, by the name of the pod.
	Peers map[string]map[string]Peer
	// Projects have labels; each besides kubernetes.io/metadata.name, its name.
	Projects map[string]labels.Set
}

// Number gives each different key another number, the same as long as the key is in use.
type Number func(key string) uint32

// Pods that the same policies treat alike form a group, which has a number. A packet is
// looked up by the group of the pod and the address of its peer, so that the work for it
// is the same however many policies, pods and services there are:
//
//	policedin   pod → jump ingress              policedout  pod → jump egress
//	groupsin    pod → group                     groupsout   pod → group
//	grouppeers  group . address                             every port
//	groupports  group . protocol . port                     everybody
//	groupways   group . address . protocol . port
//	groupblocks group . addresses                           every port
//	groupranges group . addresses . protocol . ports

// OfPolicies is the elements of a project's policies on this node. Everything that any
// policy allows is allowed; a direction is restricted for the pods that a policy of that
// direction selects.
func OfPolicies(project string, policies []*networkingv1.NetworkPolicy, w World, number Number) Elements {
	out := Elements{}
	c := policyCompiler{project: project, world: w, out: out, number: number, done: map[string]bool{}}
	slices.SortFunc(policies, func(a, b *networkingv1.NetworkPolicy) int { return cmp.Compare(a.Name, b.Name) })
	for _, pod := range w.Peers[project] {
		if !pod.Here || !pod.Address.Is4() {
			continue
		}
		for _, d := range directions {
			var apply []*networkingv1.NetworkPolicy
			for _, p := range policies {
				if slices.Contains(p.Spec.PolicyTypes, d.kind) && selects(&p.Spec.PodSelector, pod.Labels) {
					apply = append(apply, p)
				}
			}
			if len(apply) > 0 {
				c.restrict(d, pod, apply)
			}
		}
	}
	return out
}

// direction is of packets to a pod or from it.
type direction struct {
	kind            networkingv1.PolicyType
	policed, groups Set
	chain           string
}

var directions = []direction{
	{networkingv1.PolicyTypeIngress, PolicedIn, GroupsIn, "ingress"},
	{networkingv1.PolicyTypeEgress, PolicedOut, GroupsOut, "egress"},
}

func selects(s *metav1.LabelSelector, have labels.Set) bool {
	selector, err := metav1.LabelSelectorAsSelector(s)
	return err == nil && selector.Matches(have)
}

type policyCompiler struct {
	project string
	world   World
	out     Elements
	number  Number
	done    map[string]bool // groups whose elements are there
}

func (c *policyCompiler) restrict(d direction, pod Peer, policies []*networkingv1.NetworkPolicy) {
	var key strings.Builder
	fmt.Fprintf(&key, "%s/%s", c.project, d.chain)
	named := false
	for _, p := range policies {
		fmt.Fprintf(&key, " %s", p.Name)
		for _, r := range p.Spec.Ingress {
			named = named || hasNamed(r.Ports)
		}
	}
	if named && d.kind == networkingv1.PolicyTypeIngress {
		// What a name means is each pod's own matter.
		for _, n := range pod.Ports {
			fmt.Fprintf(&key, " %s=%s/%d", n.Name, n.Protocol, n.Port)
		}
	}
	group := c.number(key.String())
	c.out[Element{d.policed, pod.Address.String()}] = "jump " + d.chain
	c.out[Element{d.groups, pod.Address.String()}] = fmt.Sprint(group)
	if c.done[key.String()] {
		return
	}
	c.done[key.String()] = true
	g := grants{group: group, out: c.out, ranges: map[string][]box{}}
	for _, p := range policies {
		if d.kind == networkingv1.PolicyTypeIngress {
			for _, r := range p.Spec.Ingress {
				g.add(c.peersOf(r.From), r.Ports, func(Peer) []NamedPort { return pod.Ports })
			}
			continue
		}
		for _, r := range p.Spec.Egress {
			peers := c.peersOf(r.To)
			if peers.all && hasNamed(r.Ports) {
				peers = c.everybody()
			}
			g.add(peers, r.Ports, func(peer Peer) []NamedPort { return peer.Ports })
		}
	}
	g.finish()
}

func hasNamed(ports []networkingv1.NetworkPolicyPort) bool {
	return slices.ContainsFunc(ports, func(p networkingv1.NetworkPolicyPort) bool { return p.Port != nil && p.Port.Type == intstr.String })
}

// selection is the peers of a rule.
type selection struct {
	all    bool
	pods   []Peer
	blocks []span
}

// everybody is all pods that there are, besides everything else.
func (c *policyCompiler) everybody() selection {
	out := selection{all: true}
	for _, pods := range c.world.Peers {
		for _, p := range pods {
			if p.Address.Is4() {
				out.pods = append(out.pods, p)
			}
		}
	}
	return out
}

func (c *policyCompiler) peersOf(list []networkingv1.NetworkPolicyPeer) selection {
	if len(list) == 0 {
		return selection{all: true}
	}
	var out selection
	for _, p := range list {
		if p.IPBlock != nil {
			out.blocks = append(out.blocks, blockSpans(p.IPBlock)...)
			continue
		}
		for project, pods := range c.world.Peers {
			if p.NamespaceSelector == nil && project != c.project || p.NamespaceSelector != nil && !selects(p.NamespaceSelector, c.labelsOf(project)) {
				continue
			}
			for _, pod := range pods {
				if pod.Address.Is4() && (p.PodSelector == nil || selects(p.PodSelector, pod.Labels)) {
					out.pods = append(out.pods, pod)
				}
			}
		}
	}
	return out
}

func (c *policyCompiler) labelsOf(project string) labels.Set {
	out := labels.Set{corev1.LabelMetadataName: project}
	for k, v := range c.world.Projects[project] {
		if k != corev1.LabelMetadataName {
			out[k] = v
		}
	}
	return out
}

// grants collects what is allowed to a group.
type grants struct {
	group  uint32
	out    Elements
	blocks []span
	ranges map[string][]box // by protocol
}

// box is a range of ports of a range of addresses.
type box struct{ addresses, ports span }

func (g *grants) add(peers selection, ports []networkingv1.NetworkPolicyPort, named func(Peer) []NamedPort) {
	if len(ports) == 0 {
		g.addAll(peers)
		return
	}
	for _, p := range ports {
		proto := "tcp"
		if p.Protocol != nil {
			proto = protocolOf(*p.Protocol)
		}
		if p.Port != nil && p.Port.Type == intstr.String {
			g.addNamed(peers, proto, p.Port.StrVal, named)
			continue
		}
		at := span{0, 65535}
		if p.Port != nil {
			at = span{uint32(p.Port.IntVal), uint32(p.Port.IntVal)}
			if p.EndPort != nil {
				at.last = uint32(*p.EndPort)
			}
		}
		g.addPorts(peers, proto, at)
	}
}

func (g *grants) addAll(peers selection) {
	if peers.all {
		g.blocks = append(g.blocks, everywhere)
	}
	g.blocks = append(g.blocks, peers.blocks...)
	for _, pod := range peers.pods {
		g.put(GroupPeers, pod.Address)
	}
}

func (g *grants) addPorts(peers selection, proto string, ports span) {
	single := ports.first == ports.last
	if peers.all {
		if single {
			g.put(GroupPorts, proto, ports.first)
		} else {
			g.ranges[proto] = append(g.ranges[proto], box{everywhere, ports})
		}
	}
	for _, b := range peers.blocks {
		g.ranges[proto] = append(g.ranges[proto], box{b, ports})
	}
	for _, pod := range peers.pods {
		if single {
			g.put(GroupWays, pod.Address, proto, ports.first)
		} else {
			a := number(pod.Address)
			g.ranges[proto] = append(g.ranges[proto], box{span{a, a}, ports})
		}
	}
}

// addNamed finds the port that a name means to each pod. What is no pod has no names.
func (g *grants) addNamed(peers selection, proto, name string, named func(Peer) []NamedPort) {
	fits := func(n NamedPort) bool { return n.Name == name && protocolOf(n.Protocol) == proto }
	for _, pod := range peers.pods {
		if list := named(pod); slices.ContainsFunc(list, fits) {
			g.put(GroupWays, pod.Address, proto, list[slices.IndexFunc(list, fits)].Port)
		}
	}
	if own := named(Peer{}); slices.ContainsFunc(own, fits) {
		n := uint32(own[slices.IndexFunc(own, fits)].Port)
		g.addPorts(selection{all: peers.all, blocks: peers.blocks}, proto, span{n, n})
	}
}

func (g *grants) put(set Set, words ...any) {
	key := fmt.Sprint(g.group)
	for _, w := range words {
		key += fmt.Sprintf(" . %v", w)
	}
	g.out[Element{set, key}] = ""
}

// finish writes the ranges so that none overlaps another one, which the kernel refuses.
func (g *grants) finish() {
	for _, s := range union(g.blocks) {
		g.put(GroupBlocks, s.addresses())
	}
	for proto, boxes := range g.ranges {
		for _, b := range apart(boxes) {
			g.put(GroupRanges, b.addresses.addresses(), proto, b.ports.numbers())
		}
	}
}
