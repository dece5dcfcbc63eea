package subnet

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	networkv1 "github.com/openshift/api/network/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// errTaken says that two nodes chose the same subnet at the same time.
var errTaken = errors.New("another node has claimed the same subnet")

// Claim is a node's subnet: the one it has, or a new one. before is the one that the node
// remembers to have had; the zero value: none. A Node that does not exist is made, which only
// a server does, for its own. It may be called by several servers at the same time.
func (d Deps) Claim(ctx context.Context, node string, before netip.Prefix) (netip.Prefix, error) {
	for {
		subnet, err := d.tryClaim(ctx, node, before, true)
		if err == nil || !again(err) {
			return subnet, err
		}
		select {
		case <-ctx.Done():
			return netip.Prefix{}, errors.Join(ctx.Err(), err)
		case <-time.After(time.Duration(rand.IntN(100)) * time.Millisecond):
		}
	}
}

func again(err error) bool {
	return errors.Is(err, errTaken) || apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err)
}

// read reads the HostSubnets before the Nodes: one that is made in between belongs to a
// Node that is seen.
func (d Deps) read(ctx context.Context) (world, error) {
	w := world{nodes: map[string]*corev1.Node{}, subnets: map[string]*networkv1.HostSubnet{}}
	var subnets networkv1.HostSubnetList
	var nodes corev1.NodeList
	if err := d.Client.List(ctx, &subnets); err != nil {
		return w, err
	}
	if err := d.Client.List(ctx, &nodes); err != nil {
		return w, err
	}
	for i := range subnets.Items {
		w.subnets[subnets.Items[i].Name] = &subnets.Items[i]
	}
	for i := range nodes.Items {
		w.nodes[nodes.Items[i].Name] = &nodes.Items[i]
	}
	return w, nil
}

func (d Deps) tryClaim(ctx context.Context, name string, before netip.Prefix, create bool) (netip.Prefix, error) {
	w, err := d.read(ctx)
	if err != nil {
		return netip.Prefix{}, err
	}
	own := w.nodes[name]
	if own == nil && !create {
		return netip.Prefix{}, nil
	}
	subnet, err := d.want(w, name, before)
	if err != nil {
		return netip.Prefix{}, err
	}
	fresh := own == nil || own.Spec.PodCIDR != subnet.String()
	if fresh {
		if own, err = d.write(ctx, name, own, subnet.String()); err != nil {
			return netip.Prefix{}, err
		}
	}
	have := w.subnets[name]
	if have == nil || fresh {
		if err := d.clear(ctx, w, name, subnet); err != nil {
			return netip.Prefix{}, err
		}
		if err := d.verify(ctx, name, subnet); err != nil {
			return netip.Prefix{}, err
		}
	}
	return subnet, d.publish(ctx, have, own, subnet)
}

// clear removes the HostSubnet of a node that is gone before its subnet is given away. A node of that name that
// comes back meanwhile keeps it: the claim is then seen to have a rival.
func (d Deps) clear(ctx context.Context, w world, name string, subnet netip.Prefix) error {
	for other, h := range w.subnets {
		if other != name && w.nodes[other] == nil && h.Subnet == subnet.String() {
			if err := d.free(ctx, other); err != nil {
				return err
			}
		}
	}
	return nil
}

// write puts the subnet into the Node; empty: takes it away.
func (d Deps) write(ctx context.Context, name string, node *corev1.Node, subnet string) (*corev1.Node, error) {
	create := node == nil
	if create {
		node = &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	}
	node.Spec.PodCIDR, node.Spec.PodCIDRs = subnet, nil
	if subnet != "" {
		node.Spec.PodCIDRs = []string{subnet}
	}
	if create {
		return node, d.Client.Create(ctx, node)
	}
	return node, d.Client.Update(ctx, node)
}

// verify reads everything after a claim was written, and lets go of it where another node
// has the same.
func (d Deps) verify(ctx context.Context, name string, subnet netip.Prefix) error {
	w, err := d.read(ctx)
	if err != nil {
		return err
	}
	own := w.nodes[name]
	if own == nil || own.Spec.PodCIDR != subnet.String() {
		return errTaken
	}
	rival := w.rival(name, subnet)
	if rival == "" {
		return nil
	}
	_, err = d.write(ctx, name, own, "")
	return errors.Join(fmt.Errorf("node %s: %s: %w: %s", name, subnet, errTaken, rival), err)
}

// publish makes the HostSubnet say what the Node says.
func (d Deps) publish(ctx context.Context, have *networkv1.HostSubnet, node *corev1.Node, subnet netip.Prefix) error {
	address := addressOf(node)
	if have == nil {
		return d.Client.Create(ctx, &networkv1.HostSubnet{ObjectMeta: metav1.ObjectMeta{Name: node.Name},
			Host: node.Name, HostIP: address, Subnet: subnet.String()})
	}
	if have.HostIP == address {
		return nil
	}
	have.HostIP = address
	return d.Client.Update(ctx, have)
}

// free removes the HostSubnet of a node that is gone.
func (d Deps) free(ctx context.Context, name string) error {
	var h networkv1.HostSubnet
	if err := d.Client.Get(ctx, client.ObjectKey{Name: name}, &h); err != nil {
		return client.IgnoreNotFound(err)
	}
	err := d.Client.Get(ctx, client.ObjectKey{Name: name}, &corev1.Node{})
	if !apierrors.IsNotFound(err) {
		return err
	}
	d.Log.Info("a node is gone, its subnet is free", "node", name, "subnet", h.Subnet)
	return client.IgnoreNotFound(d.Client.Delete(ctx, &h, client.Preconditions{UID: &h.UID, ResourceVersion: &h.ResourceVersion}))
}
