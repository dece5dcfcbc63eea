package service

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/state/loop"
)

type addresses struct {
	Deps
	book *book
}

const (
	// bookLag is how long the book is waited for where no event of the service brings it up
	// to date.
	bookLag = 100 * time.Millisecond
	// lookAgain is when a service that did not get what it asks for is looked at again.
	lookAgain = time.Minute
)

// reconcile gives a service its address, node ports and load balancer's address in steps,
// each of which may be the last before the process dies: choose and write; look whether
// another process chose the same, which whoever wrote last always sees; note that this was
// done.
func (a addresses) reconcile(ctx context.Context, key loop.Key) (loop.Result, error) {
	var s corev1.Service
	if err := a.Client.Get(ctx, key, &s); err != nil {
		return loop.Result{}, client.IgnoreNotFound(err)
	}
	if s.DeletionTimestamp != nil {
		return loop.Result{}, nil
	}
	outer, refused := outerAddresses(&s, a.External)
	if a.isSettled(&s, outer) && len(refused) == 0 {
		return loop.Result{}, nil
	}
	if !a.book.knows(key, s.ResourceVersion) {
		return loop.Result{After: bookLag}, nil
	}
	gave, err := a.give(ctx, &s)
	if errors.Is(err, errFull) {
		a.Events.Event(&s, corev1.EventTypeWarning, "NoAddress", "%v", err)
		return loop.Result{After: lookAgain}, nil
	}
	if gave || err != nil {
		// What was written comes back as an event, behind all that was written before.
		return loop.Result{}, err
	}
	return a.check(ctx, &s, outer, refused)
}

// isSettled says that nothing is to be done for a service.
func (a addresses) isSettled(s *corev1.Service, outer []netip.Addr) bool {
	if wantsAddress(s) || wantsPorts(s) || a.wantsIngress(s) || a.hasStaleIngress(s) {
		return false
	}
	if ip, ok := addressOf(s); ok && !a.Network.Contains(ip) {
		return false
	}
	return isNoted(s, notes(s, portsHeld(s), a.outerOf(s, outer)))
}

func portsHeld(s *corev1.Service) []int32 {
	var out []int32
	for _, p := range s.Spec.Ports {
		if takesPorts(s) && p.NodePort != 0 && !slices.Contains(out, p.NodePort) {
			out = append(out, p.NodePort)
		}
	}
	return out
}

// outerOf is the addresses under which a service is reached from outside.
func (a addresses) outerOf(s *corev1.Service, external []netip.Addr) []netip.Addr {
	out := slices.Clone(external)
	if ip, ok := ingressOf(s); ok && isBalanced(s) && a.Ingress.Contains(ip) && !slices.Contains(out, ip) {
		out = append(out, ip)
	}
	return out
}

// check leaves with each service what is its own, and notes it.
func (a addresses) check(ctx context.Context, s *corev1.Service, outer, refused []netip.Addr) (loop.Result, error) {
	res := loop.Result{}
	if ip, ok := addressOf(s); ok {
		if !a.Network.Contains(ip) {
			a.Events.Event(s, corev1.EventTypeWarning, "AddressOutOfRange", "spec.clusterIP %s is not in the service network %s", ip, a.Network)
			return res, nil
		}
		if kept, err := a.settle(ctx, s, claimAddress(ip)); err != nil || !kept {
			return res, err
		}
	}
	if ip, ok := ingressOf(s); ok {
		if kept, err := a.settle(ctx, s, claimAddress(ip)); err != nil || !kept {
			return res, err
		}
	}
	var ports []int32
	for _, n := range portsHeld(s) {
		kept, err := a.settle(ctx, s, claimPort(n))
		if err != nil {
			return res, err
		}
		if kept {
			ports = append(ports, n)
		} else if !asksForPort(s) {
			return res, nil
		}
	}
	if len(ports) < len(portsHeld(s)) {
		res.After = lookAgain
	}
	for _, ip := range refused {
		a.Events.Event(s, corev1.EventTypeWarning, "ExternalIPNotAllowed", "spec.externalIPs: %s is in no network that the platform's administrators allow: it is not served", ip)
	}
	want := notes(s, ports, a.outerOf(s, outer))
	if isNoted(s, want) {
		return res, nil
	}
	note(s, want)
	disown(s)
	if err := a.Client.Update(ctx, s); err != nil {
		return loop.Result{}, fmt.Errorf("service %s/%s: note its addresses: %w", s.Namespace, s.Name, err)
	}
	return res, nil
}

// settle leaves a claim with the oldest service that holds it, and says whether that is s.
// The others lose it and get another.
func (a addresses) settle(ctx context.Context, s *corev1.Service, c claim) (bool, error) {
	holders := []*corev1.Service{s}
	for _, key := range a.book.holders(c) {
		if key == client.ObjectKeyFromObject(s) {
			continue
		}
		var other corev1.Service
		if err := a.Client.Get(ctx, key, &other); client.IgnoreNotFound(err) != nil {
			return false, err
		} else if err == nil && slices.Contains(claimsOf(&other), c) {
			holders = append(holders, &other)
		}
	}
	slices.SortFunc(holders, func(x, y *corev1.Service) int { return api.Older(x, y) })
	for _, loser := range holders[1:] {
		if err := a.takeBack(ctx, loser, holders[0], c); err != nil {
			return false, err
		}
	}
	return holders[0] == s, nil
}

// takeBack takes a claim from a service. A node port that a repository asks for stays
// written, and is not served.
func (a addresses) takeBack(ctx context.Context, loser, owner *corev1.Service, c claim) error {
	reason, after := "AddressInUse", "another is given"
	was := loser.DeepCopy()
	if ip, ok := addressOf(loser); ok && claimAddress(ip) == c {
		loser.Spec.ClusterIP = ""
		loser.Spec.ClusterIPs = nil
	}
	for i, p := range loser.Spec.Ports {
		if claimPort(p.NodePort) == c {
			reason = "PortInUse"
			if asksForPort(loser) {
				after = "it is not served"
				continue
			}
			loser.Spec.Ports[i].NodePort = 0
		}
	}
	a.Events.Event(loser, corev1.EventTypeWarning, reason, "%s belongs to service %s/%s already: %s", c, owner.Namespace, owner.Name, after)
	if ip, ok := ingressOf(loser); ok && claimAddress(ip) == c {
		loser.Status.LoadBalancer = corev1.LoadBalancerStatus{}
		if err := a.Client.Status().Update(ctx, loser); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("service %s/%s: take back %s: %w", loser.Namespace, loser.Name, c, err)
		}
		return nil
	}
	if len(claimsOf(was)) == len(claimsOf(loser)) {
		return nil
	}
	note(loser, map[string]string{notesOf(c): ""})
	if err := a.Client.Update(ctx, loser); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("service %s/%s: take back %s: %w", loser.Namespace, loser.Name, c, err)
	}
	return nil
}
