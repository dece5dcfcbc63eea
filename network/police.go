package network

import (
	"maps"
	"net/netip"
	"slices"

	networkv1 "github.com/openshift/api/network/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"slipway.dev/slipway/network/rules"
)

// police knows policies and whom they select, and makes the rules of a project anew when
// something has changed that they depend on. The driver's mu guards it.
type police struct {
	world     rules.World
	described map[types.NamespacedName]bool // pods whose labels are known
	policies  map[string]map[string]*networkingv1.NetworkPolicy
	firewalls map[string]map[string]*networkv1.EgressNetworkPolicy
	names     map[string][]netip.Addr // what firewalls' names stand for
	numbers   map[string]map[string]uint32
	last      uint32
	dirty     map[string]bool
}

func newPolice() *police {
	return &police{
		world:     rules.World{Peers: map[string]map[string]rules.Peer{}, Projects: map[string]labels.Set{}},
		described: map[types.NamespacedName]bool{},
		policies:  map[string]map[string]*networkingv1.NetworkPolicy{},
		firewalls: map[string]map[string]*networkv1.EgressNetworkPolicy{},
		names:     map[string][]netip.Addr{},
		numbers:   map[string]map[string]uint32{},
		dirty:     map[string]bool{},
	}
}

// changed marks whose rules depend on a project's pods and labels: its own, and those of
// projects whose policies look at others.
func (p *police) changed(project string) {
	if len(p.policies[project])+len(p.firewalls[project]) > 0 {
		p.dirty[project] = true
	}
	for other, list := range p.policies {
		if other != project && slices.ContainsFunc(slices.Collect(maps.Values(list)), looksOutside) {
			p.dirty[other] = true
		}
	}
}

// looksOutside says whether a policy depends on pods of other projects.
func looksOutside(policy *networkingv1.NetworkPolicy) bool {
	others := func(peers []networkingv1.NetworkPolicyPeer) bool {
		return slices.ContainsFunc(peers, func(p networkingv1.NetworkPolicyPeer) bool { return p.NamespaceSelector != nil })
	}
	for _, r := range policy.Spec.Ingress {
		if others(r.From) {
			return true
		}
	}
	for _, r := range policy.Spec.Egress {
		// Names of ports mean what each pod says, wherever it is.
		if others(r.To) || len(r.To) == 0 && len(r.Ports) > 0 {
			return true
		}
	}
	return false
}

func (p *police) edit(pod types.NamespacedName, f func(*rules.Peer)) {
	was := p.world.Peers[pod.Namespace][pod.Name]
	now := was
	f(&now)
	if p.world.Peers[pod.Namespace] == nil {
		p.world.Peers[pod.Namespace] = map[string]rules.Peer{}
	}
	p.world.Peers[pod.Namespace][pod.Name] = now
	if !p.described[pod] && !now.Address.IsValid() {
		delete(p.world.Peers[pod.Namespace], pod.Name)
		if len(p.world.Peers[pod.Namespace]) == 0 {
			delete(p.world.Peers, pod.Namespace)
		}
	}
	if was.Address != now.Address || was.Here != now.Here || !maps.Equal(was.Labels, now.Labels) || !slices.Equal(was.Ports, now.Ports) {
		p.changed(pod.Namespace)
	}
}

// describe notes a pod's labels and ports; nil: it is gone.
func (p *police) describe(name types.NamespacedName, pod *corev1.Pod) {
	if pod == nil {
		delete(p.described, name)
		p.edit(name, func(peer *rules.Peer) { peer.Labels, peer.Ports = nil, nil })
		return
	}
	p.described[name] = true
	var ports []rules.NamedPort
	for _, c := range pod.Spec.Containers {
		for _, n := range c.Ports {
			if n.Name != "" {
				ports = append(ports, rules.NamedPort{Name: n.Name, Protocol: n.Protocol, Port: n.ContainerPort})
			}
		}
	}
	p.edit(name, func(peer *rules.Peer) { peer.Labels, peer.Ports = pod.Labels, ports })
}

// mustDescribe says whether a pod may not be connected before its labels are known.
func (p *police) mustDescribe(pod types.NamespacedName) bool {
	return !p.described[pod] && len(p.policies[pod.Namespace]) > 0
}

func (p *police) place(pod types.NamespacedName, a netip.Addr, here bool) {
	p.edit(pod, func(peer *rules.Peer) { peer.Address, peer.Here = a, here })
}

func (p *police) displace(pod types.NamespacedName) {
	p.edit(pod, func(peer *rules.Peer) { peer.Address, peer.Here = netip.Addr{}, false })
}

func (p *police) setProject(name string, have labels.Set, exists bool) {
	if !exists {
		delete(p.world.Projects, name)
	} else if maps.Equal(p.world.Projects[name], have) {
		return
	} else {
		p.world.Projects[name] = have
	}
	p.changed(name)
}

// set replaces an object of a project, or with nil forgets it.
func set[T any](all map[string]map[string]*T, name types.NamespacedName, obj *T) {
	if obj == nil {
		if delete(all[name.Namespace], name.Name); len(all[name.Namespace]) == 0 {
			delete(all, name.Namespace)
		}
		return
	}
	if all[name.Namespace] == nil {
		all[name.Namespace] = map[string]*T{}
	}
	all[name.Namespace][name.Name] = obj
}

func (p *police) setPolicy(name types.NamespacedName, policy *networkingv1.NetworkPolicy) {
	set(p.policies, name, policy)
	p.dirty[name.Namespace] = true
}

func (p *police) setFirewall(name types.NamespacedName, firewall *networkv1.EgressNetworkPolicy) {
	set(p.firewalls, name, firewall)
	p.dirty[name.Namespace] = true
}

// learn notes what a name stands for now.
func (p *police) learn(name string, addresses []netip.Addr) {
	if slices.Equal(p.names[name], addresses) {
		return
	}
	p.names[name] = addresses
	for project, list := range p.firewalls {
		if slices.Contains(rules.Names(slices.Collect(maps.Values(list))), name) {
			p.dirty[project] = true
		}
	}
}

// write makes the rules of the projects that need it.
func (p *police) write(table *rules.Table) {
	for project := range p.dirty {
		used := map[string]uint32{}
		number := func(key string) uint32 {
			n, ok := p.numbers[project][key]
			if !ok {
				if n, ok = used[key]; !ok {
					p.last++
					n = p.last
				}
			}
			used[key] = n
			return n
		}
		table.Put("policies of "+project, rules.OfPolicies(project, slices.Collect(maps.Values(p.policies[project])), p.world, number))
		table.Put("firewall of "+project, rules.OfFirewall(project, slices.Collect(maps.Values(p.firewalls[project])), p.world, func(name string) []netip.Addr { return p.names[name] }, number))
		if p.numbers[project] = used; len(used) == 0 {
			delete(p.numbers, project)
		}
	}
	clear(p.dirty)
}
