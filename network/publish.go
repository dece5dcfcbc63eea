package network

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"slipway.dev/slipway/api"
)

// holds are what keeps the ports of pods.
type holds map[types.NamespacedName]map[api.HostPort]io.Closer

// Publish has ports of the node lead to a pod that is attached; the rules are in effect when it returns, and as long as
// it is attached, also through restarts of this process. A port that another pod has, or something that runs on the node,
// is an error: nobody's traffic is taken away. To know the latter, and to keep it so, each port is held by a socket. Called again
// it repairs what is missing.
func (d *Driver) Publish(ctx context.Context, pod types.NamespacedName, ports []api.HostPort) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	l, attached := d.leases.of(pod)
	if !d.up || !attached {
		return fmt.Errorf("ports of pod %s: %w", pod, errNotUp)
	}
	for text, other := range d.leases.all() {
		for _, p := range other.Ports {
			if text != pod.String() && slices.ContainsFunc(ports, p.Meets) {
				return fmt.Errorf("port %s of the node is pod %s's", p, text)
			}
		}
	}
	// What led to the pod before this process began leads there still.
	if err := d.hold(ctx, pod, ports); err != nil && !slices.Equal(l.Ports, ports) {
		d.letGo(pod)
		return err
	} else if err != nil {
		d.Log.Warn("a pod's port of the node is not held", "pod", pod.String(), "error", err)
	}
	l.Ports = slices.Clone(ports)
	if err := d.leases.put(pod, l); err != nil {
		return fmt.Errorf("ports of pod %s: %w", pod, err)
	}
	d.place(pod, l.Address)
	if err := d.sync(); err != nil {
		return fmt.Errorf("ports of pod %s: %w", pod, err)
	}
	return nil
}

// hold opens the sockets that keep a pod's ports, those that are open aside.
func (d *Driver) hold(ctx context.Context, pod types.NamespacedName, ports []api.HostPort) error {
	held := d.held[pod]
	if held == nil {
		held = map[api.HostPort]io.Closer{}
		d.held[pod] = held
	}
	var errs []error
	for _, p := range ports {
		if held[p] != nil {
			continue
		}
		c, err := open(ctx, p)
		if err != nil {
			errs = append(errs, fmt.Errorf("port %s of the node: %w", p, err))
			continue
		}
		held[p] = c
	}
	return errors.Join(errs...)
}

// letGo closes a pod's sockets.
func (d *Driver) letGo(pod types.NamespacedName) {
	for _, c := range d.held[pod] {
		_ = c.Close() // There is nothing in it to lose.
	}
	delete(d.held, pod)
}

// open takes a port. Only what asks a loopback address ever gets to the socket: it is hung up on.
func open(ctx context.Context, p api.HostPort) (io.Closer, error) {
	at := netip.AddrPortFrom(p.Address, p.Port).String()
	var config net.ListenConfig
	if p.Protocol == corev1.ProtocolUDP {
		return config.ListenPacket(ctx, "udp4", at)
	}
	config.SetMultipathTCP(false)
	l, err := config.Listen(ctx, "tcp4", at)
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			conn, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				_ = conn.Close()
			}
		}
	}()
	return l, nil
}
