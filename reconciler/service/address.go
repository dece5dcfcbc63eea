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

type addresses struct{ Deps }

// reconcile gives a service its address. Before and after it looks at all services:
// another process may have chosen the same address in between, and the one that wrote
// last always sees both.
func (a addresses) reconcile(ctx context.Context, key loop.Key) (loop.Result, error) {
	var s corev1.Service
	if err := a.Client.Get(ctx, key, &s); err != nil {
		return loop.Result{}, client.IgnoreNotFound(err)
	}
	if !wantsAddress(&s) {
		if ip, ok := addressOf(&s); ok && !given(&s) {
			return loop.Result{}, a.asked(ctx, &s, ip)
		}
		return loop.Result{}, nil
	}
	all, err := a.list(ctx)
	if err != nil {
		return loop.Result{}, err
	}
	taken := make(map[netip.Addr]bool, len(all))
	for i := range all {
		if ip, ok := addressOf(&all[i]); ok {
			taken[ip] = true
		}
	}
	ip, err := Allocate(a.Network, s.Namespace, s.Name, taken)
	if err != nil {
		a.Events.Event(&s, corev1.EventTypeWarning, "NoAddress", "no address for the service: %v", err)
		if errors.Is(err, errFull) {
			return loop.Result{After: time.Minute}, nil
		}
		return loop.Result{}, err
	}
	s.Spec.ClusterIP = ip.String()
	if s.Annotations == nil {
		s.Annotations = map[string]string{}
	}
	s.Annotations[api.ServiceAddressAnnotation] = ip.String()
	if err := a.Client.Update(ctx, &s); err != nil {
		return loop.Result{}, fmt.Errorf("service %s: give address %s: %w", key, ip, err)
	}
	return loop.Result{}, a.settle(ctx, ip)
}

// asked looks at an address that a service asked for.
func (a addresses) asked(ctx context.Context, s *corev1.Service, ip netip.Addr) error {
	if !a.Network.Contains(ip) {
		a.Events.Event(s, corev1.EventTypeWarning, "AddressOutOfRange", "spec.clusterIP %s is not in the service network %s", ip, a.Network)
		return nil
	}
	return a.settle(ctx, ip)
}

// settle leaves an address with the oldest service that holds it. The others lose it
// and get another.
func (a addresses) settle(ctx context.Context, ip netip.Addr) error {
	all, err := a.list(ctx)
	if err != nil {
		return err
	}
	var holders []*corev1.Service
	for i := range all {
		if have, ok := addressOf(&all[i]); ok && have == ip {
			holders = append(holders, &all[i])
		}
	}
	slices.SortFunc(holders, elder)
	for i, loser := range holders {
		if i == 0 {
			continue
		}
		if !given(loser) {
			a.Events.Event(loser, corev1.EventTypeWarning, "AddressInUse", "spec.clusterIP %s belongs to service %s/%s already: another is given", ip, holders[0].Namespace, holders[0].Name)
		}
		loser.Spec.ClusterIP = ""
		delete(loser.Annotations, api.ServiceAddressAnnotation)
		if err := a.Client.Update(ctx, loser); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("service %s/%s: take back address %s: %w", loser.Namespace, loser.Name, ip, err)
		}
	}
	return nil
}

func (a addresses) list(ctx context.Context) ([]corev1.Service, error) {
	var list corev1.ServiceList
	if err := a.Client.List(ctx, &list); err != nil {
		return nil, err
	}
	return list.Items, nil
}
