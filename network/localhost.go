package network

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/network/rules"
)

// wishes are the links that pods of this node ask for; mu guards them.
type wishes struct {
	of   map[types.NamespacedName][]api.Link
	have map[types.NamespacedName]string // what is in effect in a pod's namespace
}

func newWishes() *wishes {
	return &wishes{of: map[types.NamespacedName][]api.Link{}, have: map[types.NamespacedName]string{}}
}

// wish notes what a pod asks for; nil: it is gone.
func (w *wishes) wish(name types.NamespacedName, pod *corev1.Pod) error {
	delete(w.of, name)
	if pod == nil {
		delete(w.have, name)
		return nil
	}
	links, err := api.ParseLinks(pod.Annotations[api.LinksAnnotation])
	if err == nil && len(links) > 0 {
		w.of[name] = links
	}
	return err
}

// forgetSandbox says that a pod's namespace is a new one.
func (w *wishes) forgetSandbox(name types.NamespacedName) { delete(w.have, name) }

// askers are the pods that ask for a service.
func (w *wishes) askers(service types.NamespacedName) []types.NamespacedName {
	var out []types.NamespacedName
	for pod, links := range w.of {
		if slices.ContainsFunc(links, func(l api.Link) bool { return serviceOf(pod, l) == service }) {
			out = append(out, pod)
		}
	}
	return out
}

func serviceOf(pod types.NamespacedName, l api.Link) types.NamespacedName {
	if l.Project == "" {
		return types.NamespacedName{Namespace: pod.Namespace, Name: l.Service}
	}
	return types.NamespacedName{Namespace: l.Project, Name: l.Service}
}

// decideLinks is what a pod's links are now: a service without an address has none.
func decideLinks(pod types.NamespacedName, links []api.Link, service func(types.NamespacedName) *corev1.Service) []rules.Link {
	var out []rules.Link
	for _, l := range links {
		s := service(serviceOf(pod, l))
		if s == nil {
			continue
		}
		to, err := netip.ParseAddr(s.Spec.ClusterIP)
		if err != nil || !to.Is4() {
			continue
		}
		for _, p := range s.Spec.Ports {
			if l.Port != "" && l.Port != p.Name && l.Port != strconv.Itoa(int(p.Port)) {
				continue
			}
			local := p.Port
			if l.Local != 0 {
				local = l.Local
			}
			out = append(out, rules.Link{Protocol: strings.ToLower(string(p.Protocol)), Local: uint16(local), To: netip.AddrPortFrom(to, uint16(p.Port))})
		}
	}
	return out
}

// linkPod brings a pod's links into its namespace, unless they are there.
func (d *Driver) linkPod(pod types.NamespacedName) error {
	l, has := d.leases.of(pod)
	links := decideLinks(pod, d.wishes.of[pod], d.records.Service)
	now := fmt.Sprint(links)
	if !has || l.PID == 0 || d.wishes.have[pod] == now || len(links) == 0 && d.wishes.have[pod] == "" {
		return nil
	}
	ns, inode, err := openNamespace(l.PID)
	if err != nil {
		return fmt.Errorf("links of pod %s: %w", pod, err)
	}
	defer ns.Close()
	if inode != l.Namespace {
		return nil // another process has the number now
	}
	if err := d.linkIn(int(ns), l.Address, links); err != nil {
		return fmt.Errorf("links of pod %s: %w", pod, err)
	}
	d.wishes.have[pod] = now
	return nil
}

func (d *Driver) linkPods(pods []types.NamespacedName) error {
	var errs []error
	for _, pod := range pods {
		errs = append(errs, d.linkPod(pod))
	}
	return errors.Join(errs...)
}
