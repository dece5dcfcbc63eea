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

// reconcile gives a service its address in steps, each of which may be the last before
// the process dies: choose and write; look whether another process chose the same, which
// whoever wrote last always sees; note that this was done.
func (a addresses) reconcile(ctx context.Context, key loop.Key) (loop.Result, error) {
	var s corev1.Service
	if err := a.Client.Get(ctx, key, &s); err != nil {
		return loop.Result{}, client.IgnoreNotFound(err)
	}
	if wantsAddress(&s) {
		if err := a.give(ctx, &s); errors.Is(err, errFull) {
			a.Events.Event(&s, corev1.EventTypeWarning, "NoAddress", "%v", err)
			return loop.Result{After: time.Minute}, nil
		} else if err != nil {
			return loop.Result{}, err
		}
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
	all, err := a.list(ctx)
	if err != nil {
		return err
	}
	taken := make(map[netip.Addr]bool, len(all))
	for i := range all {
		if ip, ok := addressOf(&all[i]); ok {
			taken[ip] = true
		}
	}
	ip, err := Allocate(a.Network, s.Namespace, s.Name, taken)
	if err != nil {
		return err
	}
	s.Spec.ClusterIP = ip.String()
	if err := a.Client.Update(ctx, s); err != nil {
		return fmt.Errorf("service %s/%s: give address %s: %w", s.Namespace, s.Name, ip, err)
	}
	return nil
}

// settle leaves an address with the oldest service that holds it, and says whether that
// is s. The others lose it and get another.
func (a addresses) settle(ctx context.Context, s *corev1.Service, ip netip.Addr) (bool, error) {
	all, err := a.list(ctx)
	if err != nil {
		return false, err
	}
	var holders []*corev1.Service
	for i := range all {
		if have, ok := addressOf(&all[i]); ok && have == ip {
			holders = append(holders, &all[i])
		}
	}
	slices.SortFunc(holders, elder)
	for _, loser := range holders[min(1, len(holders)):] {
		a.Events.Event(loser, corev1.EventTypeWarning, "AddressInUse", "spec.clusterIP %s belongs to service %s/%s already: another is given", ip, holders[0].Namespace, holders[0].Name)
		loser.Spec.ClusterIP = ""
		delete(loser.Annotations, api.ServiceAddressAnnotation)
		if err := a.Client.Update(ctx, loser); client.IgnoreNotFound(err) != nil {
			return false, fmt.Errorf("service %s/%s: take back address %s: %w", loser.Namespace, loser.Name, ip, err)
		}
	}
	return len(holders) > 0 && holders[0].UID == s.UID, nil
}

func (a addresses) list(ctx context.Context) ([]corev1.Service, error) {
	var list corev1.ServiceList
	if err := a.Client.List(ctx, &list); err != nil {
		return nil, err
	}
	return list.Items, nil
}
