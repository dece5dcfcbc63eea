package network

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	networkv1 "github.com/openshift/api/network/v1"
	projectv1 "github.com/openshift/api/project/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/network/rules"
	"slipway.dev/slipway/state/loop"
)

type key = loop.Key

// Controllers keep rules and names as live state says, and the node as it was made.
func (d *Driver) Controllers() []loop.Controller {
	return append(d.policyControllers(), []loop.Controller{
		{Name: "network-services", Reconcile: d.reconcileService, Watches: []loop.Watch{{List: &corev1.ServiceList{}}, {List: &corev1.EndpointsList{}}}},
		{Name: "network-pods", Reconcile: d.reconcilePod, Watches: []loop.Watch{{List: &corev1.PodList{}}}},
		{Name: "network-projects", Reconcile: d.reconcileProject, Watches: []loop.Watch{{List: &projectv1.ProjectList{}}}},
		{Name: "network-hosts", Reconcile: d.reconcileHost, Watches: []loop.Watch{{List: &networkv1.HostSubnetList{}}}},
		{Name: "network-repair", Reconcile: d.repair, Wake: d.wake},
	}...)
}

// prime reads everything once, so that nothing is removed from the kernel only because
// it was not read yet. It needs mu held, as do all of the following.
func (d *Driver) prime(ctx context.Context) error {
	if d.primed {
		return nil
	}
	var services corev1.ServiceList
	var endpoints corev1.EndpointsList
	var pods corev1.PodList
	var projects projectv1.ProjectList
	var hosts networkv1.HostSubnetList
	for _, list := range []client.ObjectList{&services, &endpoints, &pods, &projects, &hosts} {
		if err := d.Client.List(ctx, list); err != nil {
			return err
		}
	}
	for i := range projects.Items {
		d.placeProject(projects.Items[i].Name, &projects.Items[i])
	}
	for i := range hosts.Items {
		if err := d.placeHost(hosts.Items[i].Name, &hosts.Items[i]); err != nil {
			d.Log.Warn("a node's pods are not reached", "error", err)
		}
	}
	behind := map[key]*corev1.Endpoints{}
	for i := range endpoints.Items {
		behind[client.ObjectKeyFromObject(&endpoints.Items[i])] = &endpoints.Items[i]
		d.records.PutEndpoints(client.ObjectKeyFromObject(&endpoints.Items[i]), &endpoints.Items[i])
	}
	for i := range services.Items {
		name := client.ObjectKeyFromObject(&services.Items[i])
		d.records.PutService(name, &services.Items[i])
		d.table.Put(ownerOfService(name), rules.OfService(d.Node, &services.Items[i], behind[name]))
	}
	for i := range pods.Items {
		d.placeRemote(client.ObjectKeyFromObject(&pods.Items[i]), &pods.Items[i])
	}
	for text, l := range d.leases.all() {
		if name, ok := parseKey(text); ok {
			d.place(name, l.Address)
		}
	}
	if err := d.primePolicies(ctx); err != nil {
		return err
	}
	d.primed = true
	if err := d.sync(); err != nil {
		d.primed = false
		return err
	}
	if _, err := d.ensureOverlay(); err != nil {
		d.Log.Warn("other nodes' pods are not reached", "error", err)
	}
	for name, e := range behind {
		d.followed.set(name, e)
	}
	d.records.Ready()
	if err := d.linkPods(slices.Collect(maps.Keys(d.wishes.of))); err != nil {
		d.Log.Warn("links of pods are not as they should be", "error", err)
	}
	return nil
}

// sync brings the rules into the kernel, and then lets go of connections that they no
// longer make. Before everything was read it does nothing.
func (d *Driver) sync() error {
	if !d.primed {
		return nil
	}
	d.police.write(d.table)
	if _, err := d.filter.Sync(d.table); err != nil {
		return err
	}
	// Rules of both kinds refuse and translate the same, so there is no moment without any.
	for _, f := range d.earlier {
		if err := f.Remove(); err != nil {
			return fmt.Errorf("remove the rules of an earlier start: %w", err)
		}
	}
	d.earlier = nil
	return d.sweep()
}

// get reads an object; nil: there is none.
func get[T any, P interface {
	*T
	client.Object
}](ctx context.Context, c client.Client, name key) (P, error) {
	obj := P(new(T))
	err := c.Get(ctx, name, obj)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return obj, err
}

func ownerOfService(name types.NamespacedName) string { return "service " + name.String() }
func ownerOfPod(name types.NamespacedName) string     { return "pod " + name.String() }

func (d *Driver) reconcileService(ctx context.Context, name key) (loop.Result, error) {
	service, err := get[corev1.Service](ctx, d.Client, name)
	if err != nil {
		return loop.Result{}, err
	}
	endpoints, err := get[corev1.Endpoints](ctx, d.Client, name)
	if err != nil {
		return loop.Result{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.ready(ctx); err != nil {
		return loop.Result{}, err
	}
	d.records.PutService(name, service)
	d.records.PutEndpoints(name, endpoints)
	now := rules.Elements{}
	if service != nil {
		now = rules.OfService(d.Node, service, endpoints)
	}
	owner := ownerOfService(name)
	before := d.table.Of(owner)
	d.table.Put(owner, now)
	maps.Copy(d.lost, lostWays(before, now))
	syncErr := d.sync()
	if syncErr == nil {
		d.followed.set(name, endpoints)
	}
	return loop.Result{}, errors.Join(syncErr, d.linkPods(d.wishes.askers(name)))
}

// ready says whether rules may be made now.
func (d *Driver) ready(ctx context.Context) error {
	if !d.up {
		return errNotUp
	}
	return d.prime(ctx)
}

func (d *Driver) reconcilePod(ctx context.Context, name key) (loop.Result, error) {
	pod, err := get[corev1.Pod](ctx, d.Client, name)
	if err != nil {
		return loop.Result{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.ready(ctx); err != nil {
		return loop.Result{}, err
	}
	d.placeRemote(name, pod)
	return loop.Result{}, errors.Join(d.sync(), d.linkPod(name))
}

func (d *Driver) reconcileProject(ctx context.Context, name key) (loop.Result, error) {
	project, err := get[projectv1.Project](ctx, d.Client, name)
	if err != nil {
		return loop.Result{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.ready(ctx); err != nil {
		return loop.Result{}, err
	}
	d.placeProject(name.Name, project)
	return loop.Result{}, d.sync()
}

// placeRemote takes other nodes' pods from live state. Of this node's pods the leases
// say what is true.
func (d *Driver) placeRemote(name key, pod *corev1.Pod) {
	d.police.describe(name, pod)
	if err := d.wishes.wish(name, pod); err != nil {
		d.Log.Warn("a pod's links are not made", "pod", name.String(), "error", err)
	}
	if _, here := d.leases.of(name); here {
		return
	}
	if pod != nil && pod.Spec.HostNetwork {
		d.tenancy.removePod(name)
		d.police.displace(name)
		d.putPod(name, rules.OfNodesOwn(d.Node, pod))
		return
	}
	if pod == nil || pod.Spec.NodeName == d.Node ||
		pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		d.displace(name)
		return
	}
	a, err := netip.ParseAddr(pod.Status.PodIP)
	if err != nil || !d.ClusterNetwork.Contains(a) {
		d.displace(name)
		return
	}
	d.place(name, a)
}

func (d *Driver) place(pod types.NamespacedName, a netip.Addr) {
	d.tenancy.setPod(pod, a)
	_, here := d.leases.of(pod)
	d.police.place(pod, a, here)
	now := rules.OfPod(rules.Pod{Name: pod, Address: a, Netid: d.tenancy.netid(pod.Namespace)})
	if l, here := d.leases.of(pod); here {
		maps.Copy(now, rules.OfPorts(a, l.Ports))
	}
	d.putPod(pod, now)
}

// putPod replaces what a pod has. Clients over UDP of a port that it had, or has now, are not led astray.
func (d *Driver) putPod(pod types.NamespacedName, now rules.Elements) {
	owner := ownerOfPod(pod)
	maps.Copy(d.lost, lostWays(d.table.Of(owner), now))
	d.table.Put(owner, now)
}

func (d *Driver) displace(pod types.NamespacedName) {
	d.tenancy.removePod(pod)
	d.police.displace(pod)
	d.putPod(pod, nil)
}

// placeProject gives all pods of a project its virtual network.
func (d *Driver) placeProject(name string, project *projectv1.Project) {
	if err := d.tenancy.setProject(name, project); err != nil {
		d.Log.Warn("project is isolated from all others", "error", err)
		d.tell(project, corev1.EventTypeWarning, "NetworkIsolated", "%v", err)
	}
	if project != nil {
		d.police.setProject(name, maps.Clone(project.Labels), true)
	} else {
		d.police.setProject(name, nil, false)
	}
	for pod, a := range d.tenancy.pods[name] {
		d.place(types.NamespacedName{Namespace: name, Name: pod}, a)
	}
}

func (d *Driver) tell(obj client.Object, eventtype, reason, format string, args ...any) {
	if d.Recorder != nil {
		d.Recorder.Event(obj, eventtype, reason, format, args...)
	}
}
