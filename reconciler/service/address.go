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

// bookLag is how long the book is waited for where no event of the service brings it up to
// date.
const bookLag = 100 * time.Millisecond

// reconcile gives a service its address in steps, each of which may be the last before
// the process dies: choose and write; look whether another process chose the same, which
// whoever wrote last always sees; note that this was done.
func (a addresses) reconcile(ctx context.Context, key loop.Key) (loop.Result, error) {
	var s corev1.Service
	if err := a.Client.Get(ctx, key, &s); err != nil {
		return loop.Result{}, client.IgnoreNotFound(err)
	}
	if wantsAddress(&s) || !checked(&s) {
		if !a.book.knows(key, s.ResourceVersion) {
			return loop.Result{After: bookLag}, nil
		}
	}
	if wantsAddress(&s) {
		err := a.give(ctx, &s)
		if errors.Is(err, errFull) {
			a.Events.Event(&s, corev1.EventTypeWarning, "NoAddress", "%v", err)
			return loop.Result{After: time.Minute}, nil
		}
		// What was written comes back as an event, behind all that was written before.
		return loop.Result{}, err
	}
	ip, ok := addressOf(&s)
	if !ok || checked(&s) || s.DeletionTimestamp != nil {
		return loop.Result{}, nil
	}
	if !a.Network.Contains(ip) {
		a.Events.Event(&s, corev1.EventTypeWarning, "AddressOutOfRange", "spec.clusterIP %s is not in the service network %s", ip, a.Network)
		return loop.Result{}, nil
	}
	kept, err := a.settle(ctx, &s, ip)
	if err != nil || !kept {
		return loop.Result{}, err
	}
	if s.Annotations == nil {
		s.Annotations = map[string]string{}
	}
	s.Annotations[api.ServiceAddressAnnotation] = s.Spec.ClusterIP
	if err := a.Client.Update(ctx, &s); err != nil {
		return loop.Result{}, fmt.Errorf("service %s: note address %s: %w", key, ip, err)
	}
	return loop.Result{}, nil
}

func (a addresses) give(ctx context.Context, s *corev1.Service) error {
	ip, err := Allocate(a.Network, s.Namespace, s.Name, a.book.taken)
	if err != nil {
		return err
	}
	s.Spec.ClusterIP = ip.String()
	if err := a.Client.Update(ctx, s); err != nil {
		return fmt.Errorf("service %s/%s: give address %s: %w", s.Namespace, s.Name, ip, err)
	}
	a.book.gave(client.ObjectKeyFromObject(s), ip)
	return nil
}

// settle leaves an address with the oldest service that holds it, and says whether that
// is s. The others lose it and get another.
func (a addresses) settle(ctx context.Context, s *corev1.Service, ip netip.Addr) (bool, error) {
	holders := []*corev1.Service{s}
	for _, key := range a.book.holders(ip) {
		if key == client.ObjectKeyFromObject(s) {
			continue
		}
		var other corev1.Service
		if err := a.Client.Get(ctx, key, &other); client.IgnoreNotFound(err) != nil {
			return false, err
		} else if have, ok := addressOf(&other); err == nil && ok && have == ip {
			holders = append(holders, &other)
		}
	}
	slices.SortFunc(holders, elder)
	for _, loser := range holders[1:] {
		a.Events.Event(loser, corev1.EventTypeWarning, "AddressInUse", "spec.clusterIP %s belongs to service %s/%s already: another is given", ip, holders[0].Namespace, holders[0].Name)
		loser.Spec.ClusterIP = ""
		delete(loser.Annotations, api.ServiceAddressAnnotation)
		if err := a.Client.Update(ctx, loser); client.IgnoreNotFound(err) != nil {
			return false, fmt.Errorf("service %s/%s: take back address %s: %w", loser.Namespace, loser.Name, ip, err)
		}
	}
	return holders[0] == s, nil
}
