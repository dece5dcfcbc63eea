package network

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	miekg "github.com/miekg/dns"
	networkv1 "github.com/openshift/api/network/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/network/dns"
	"slipway.dev/slipway/network/rules"
	"slipway.dev/slipway/state/loop"
)

func (d *Driver) policyControllers() []loop.Controller {
	return []loop.Controller{
		{Name: "network-policies", Reconcile: d.reconcilePolicy, Watches: []loop.Watch{{List: &networkingv1.NetworkPolicyList{}}}},
		{Name: "network-firewalls", Reconcile: d.reconcileFirewall, Watches: []loop.Watch{{List: &networkv1.EgressNetworkPolicyList{}}}},
	}
}

// primePolicies reads all policies, and asks for the names in them, so that the first rules
// are not narrower than those that are in effect.
func (d *Driver) primePolicies(ctx context.Context) error {
	var policies networkingv1.NetworkPolicyList
	var firewalls networkv1.EgressNetworkPolicyList
	for _, list := range []client.ObjectList{&policies, &firewalls} {
		if err := d.Client.List(ctx, list); err != nil {
			return err
		}
	}
	for i := range policies.Items {
		d.police.setPolicy(client.ObjectKeyFromObject(&policies.Items[i]), &policies.Items[i])
	}
	var named []*networkv1.EgressNetworkPolicy
	for i := range firewalls.Items {
		named = append(named, &firewalls.Items[i])
		d.police.setFirewall(client.ObjectKeyFromObject(&firewalls.Items[i]), &firewalls.Items[i])
	}
	for name, a := range d.resolve(ctx, rules.Names(named)) {
		d.police.learn(name, a.addresses)
	}
	return nil
}

// describe reads a pod before it is connected: its labels decide what it may reach.
func (d *Driver) describe(ctx context.Context, name types.NamespacedName) error {
	pod, err := get[corev1.Pod](ctx, d.Client, name)
	if err == nil && pod != nil {
		d.police.describe(name, pod)
		err = d.wishes.wish(name, pod)
	}
	if err != nil && !d.police.mustDescribe(name) {
		return nil // nothing depends on what is in it, or it is known already
	}
	return err
}

func (d *Driver) reconcilePolicy(ctx context.Context, name key) (loop.Result, error) {
	policy, err := get[networkingv1.NetworkPolicy](ctx, d.Client, name)
	if err != nil {
		return loop.Result{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.ready(ctx); err != nil {
		return loop.Result{}, err
	}
	d.police.setPolicy(name, policy)
	return loop.Result{}, d.sync()
}

// reconcileFirewall keeps what a project may not reach outside, and asks for the names in it
// as often as their answers say.
func (d *Driver) reconcileFirewall(ctx context.Context, name key) (loop.Result, error) {
	firewall, err := get[networkv1.EgressNetworkPolicy](ctx, d.Client, name)
	if err != nil {
		return loop.Result{}, err
	}
	d.mu.Lock()
	err = d.ready(ctx)
	d.mu.Unlock()
	if err != nil {
		return loop.Result{}, err
	}
	var names []string
	if firewall != nil {
		names = rules.Names([]*networkv1.EgressNetworkPolicy{firewall})
	}
	answers := d.resolve(ctx, names)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.ready(ctx); err != nil {
		return loop.Result{}, err
	}
	d.police.setFirewall(name, firewall)
	res := loop.Result{}
	for name, a := range answers {
		d.police.learn(name, a.addresses)
		if res.After == 0 || a.life < res.After {
			res.After = a.life
		}
	}
	if len(answers) < len(names) {
		res.After = shortestLife // what was known holds until there is an answer
	}
	if len(d.police.firewalls[name.Namespace]) > 1 {
		d.tell(firewall, corev1.EventTypeWarning, "TooManyPolicies", "project %s has more than one EgressNetworkPolicy: its pods reach nothing outside of the cluster", name.Namespace)
	}
	return res, d.sync()
}

// The bounds between which a name is asked for again.
const (
	shortestLife = 5 * time.Second
	longestLife  = 30 * time.Minute
)

type answer struct {
	addresses []netip.Addr
	life      time.Duration
}

// resolveTime bounds the wait for all names of a policy.
const resolveTime = 3 * time.Second

// resolve asks the node's resolvers for names side by side. A name without an answer is left out.
func (d *Driver) resolve(ctx context.Context, names []string) map[string]answer {
	ctx, cancel := context.WithTimeout(ctx, resolveTime)
	defer cancel()
	out := map[string]answer{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	upstream := &dns.Upstream{File: d.ResolvConf}
	for _, name := range names {
		wg.Go(func() {
			got, err := upstream.Ask(ctx, miekg.Question{Name: name, Qtype: miekg.TypeA, Qclass: miekg.ClassINET}, false)
			if err == nil && got.Truncated {
				got, err = upstream.Ask(ctx, miekg.Question{Name: name, Qtype: miekg.TypeA, Qclass: miekg.ClassINET}, true)
			}
			if err != nil {
				d.Log.Warn("the name in an EgressNetworkPolicy has no answer, what was known holds", "name", strings.TrimSuffix(name, "."), "error", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			out[name] = answerOf(got)
		})
	}
	wg.Wait()
	return out
}

func answerOf(m *miekg.Msg) answer {
	a := answer{life: longestLife}
	for _, rr := range m.Answer {
		a.life = min(a.life, time.Duration(rr.Header().Ttl)*time.Second)
		if record, ok := rr.(*miekg.A); ok {
			if ip, ok := netip.AddrFromSlice(record.A.To4()); ok {
				a.addresses = append(a.addresses, ip)
			}
		}
	}
	if len(m.Answer) == 0 {
		a.life = shortestLife
	}
	a.life = max(a.life, shortestLife)
	slices.SortFunc(a.addresses, netip.Addr.Compare)
	return a
}
