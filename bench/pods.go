package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	dockernetwork "github.com/docker/docker/api/types/network"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/network"
	"slipway.dev/slipway/reconciler/service"
	"slipway.dev/slipway/runtime"
	"slipway.dev/slipway/runtime/engine"
	"slipway.dev/slipway/runtime/pause"
	"slipway.dev/slipway/runtime/scratch"
	"slipway.dev/slipway/state"
	"slipway.dev/slipway/state/event"
	"slipway.dev/slipway/state/loop"
)

const (
	podProject = "pods"
	podPort    = 8080
	// atOnce is how many pods the line about many at once starts.
	atOnce = 20
)

// host is a node of Slipway in this process: live state that waits for the disk, the controller of
// services, the node's network and its agent, as `slipway up` wires them.
type host struct {
	docker engine.Docker
	// bridge is the engine's network that its own containers are on.
	bridge string
	client *state.Client
	image  string
	// instance tells its containers from all others on the engine.
	instance string
	dir      string
	network  *network.Driver
	closers  []func()
	// stopAgent ends the agent and the controllers; nil: none run.
	stopAgent func()
}

// openHost opens everything but the agent.
func openHost(ctx context.Context, dir string) (*host, error) {
	h := &host{dir: dir, instance: "bench-" + strings.ToLower(rand.Text()[:10])}
	e, err := engine.Ensure(ctx, engine.Options{Dir: filepath.Join(dir, "engine")})
	if err != nil {
		return nil, err
	}
	h.docker = e
	h.closing(func() { e.Close() })
	files, err := scratch.Busybox()
	if err == nil {
		h.image = "slipway-bench/busybox:" + h.instance
		_, err = scratch.Load(ctx, e, h.image, files, scratch.BusyboxConfig)
	}
	if err != nil {
		return nil, h.fail(err)
	}
	h.closing(func() { e.ImageRemove(context.Background(), h.image, image.RemoveOptions{}) })
	store, err := state.Open(ctx, state.Options{
		DataDir: filepath.Join(dir, "state"), Log: quiet(),
		Default: api.Default, Validate: api.Validate, ValidateUpdate: api.ValidateUpdate,
	})
	if err != nil {
		return nil, h.fail(err)
	}
	h.closing(func() { store.Close() })
	h.client = store.Client()
	h.network, err = network.New(network.Options{
		Node: "bench", Client: h.client, Dir: filepath.Join(dir, "network"), Name: "b" + strings.ToLower(rand.Text()[:6]),
		ClusterNetwork: netip.MustParsePrefix("10.196.0.0/14"), ServiceNetwork: netip.MustParsePrefix("172.29.0.0/16"), Log: quiet(),
		Subnet: func(context.Context, netip.Prefix) (netip.Prefix, error) {
			return netip.MustParsePrefix("10.196.0.0/23"), nil
		},
	})
	if err == nil {
		err = h.network.Up(ctx)
		h.closing(func() { h.network.Down(context.Background()) })
	}
	if err != nil {
		return nil, h.fail(err)
	}
	h.closing(func() { runtime.Remove(context.Background(), e, h.instance, filepath.Join(dir, "pods")) })
	if err := h.findBridge(ctx); err != nil {
		return nil, h.fail(err)
	}
	return h, nil
}

// findBridge finds the engine's own bridge. A private engine may have none, and gets a
// network, of which a container's start costs a little more.
func (h *host) findBridge(ctx context.Context) error {
	h.bridge = "bridge"
	_, err := h.docker.NetworkInspect(ctx, h.bridge, dockernetwork.InspectOptions{})
	if !errdefs.IsNotFound(err) {
		return err
	}
	h.bridge = h.instance
	_, err = h.docker.NetworkCreate(ctx, h.bridge, dockernetwork.CreateOptions{Driver: "bridge", IPAM: &dockernetwork.IPAM{
		Config: []dockernetwork.IPAMConfig{{Subnet: "198.19.250.0/24"}},
	}})
	h.closing(func() { h.docker.NetworkRemove(context.Background(), h.bridge) })
	return err
}

func (h *host) closing(f func()) { h.closers = append(h.closers, f) }

func (h *host) fail(err error) error {
	h.close()
	return err
}

func (h *host) close() {
	h.stop()
	for i := len(h.closers) - 1; i >= 0; i-- {
		h.closers[i]()
	}
	h.closers = nil
}

func (h *host) stop() {
	if h.stopAgent != nil {
		h.stopAgent()
		h.stopAgent = nil
	}
}

// start starts the agent with so many sandboxes ready; -1: none.
func (h *host) start(ctx context.Context, sandboxes int) error {
	h.stop()
	agent, err := runtime.New(runtime.Options{
		Node: "bench", Instance: h.instance, Client: h.client, Docker: h.docker, Network: h.network, Dir: filepath.Join(h.dir, "pods"),
		Sandboxes: sandboxes, Drain: time.Millisecond, Log: quiet(), Recorder: event.New(h.client, "slipway", quiet()),
	})
	if err != nil {
		return err
	}
	controllers := append(append(h.network.Controllers(), agent.Controllers()...), service.Controllers(service.Deps{
		Client: h.client, Events: event.New(h.client, "slipway", quiet()), Log: quiet(), Network: netip.MustParsePrefix("172.29.0.0/16"),
	})...)
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { loop.Run(ctx, h.client, quiet(), controllers...) })
	wg.Go(func() { agent.Run(ctx) })
	h.stopAgent = func() { cancel(); wg.Wait() }
	return h.filled(ctx, sandboxes)
}

// filled waits until so many sandboxes are ready that no pod has, and none more.
func (h *host) filled(ctx context.Context, sandboxes int) error {
	return h.until(ctx, "the pool is full", func() (bool, error) {
		all, err := h.containers(ctx, runtime.LabelKind, string(runtime.Pooled))
		running := 0
		for _, c := range all {
			if c.State == container.StateRunning {
				running++
			}
		}
		return running == max(sandboxes, 0), err
	})
}

func (h *host) containers(ctx context.Context, label, value string) ([]container.Summary, error) {
	return h.docker.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(
		filters.Arg("label", runtime.LabelInstance+"="+h.instance), filters.Arg("label", label+"="+value),
	)})
}

func (h *host) until(ctx context.Context, what string, ok func() (bool, error)) error {
	for deadline := time.Now().Add(patience); ; {
		done, err := ok()
		if done || err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not within %v: %s", patience, what)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// listens is the command of every pod and of what it is compared with.
var listens = []string{"httpd", "-f", "-p", fmt.Sprint(podPort)}

// service makes a service for a pod, and returns its address when it has one.
func (h *host) service(ctx context.Context, name string) (netip.Addr, error) {
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: podProject, Name: name}, Spec: corev1.ServiceSpec{
		Selector: map[string]string{"app": name}, Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(podPort)}},
	}}
	if err := h.client.Create(ctx, s); err != nil {
		return netip.Addr{}, err
	}
	var address netip.Addr
	err := h.until(ctx, "service "+name+" has an address", func() (bool, error) {
		err := h.client.Get(ctx, client.ObjectKeyFromObject(s), s)
		address, _ = netip.ParseAddr(s.Spec.ClusterIP)
		return address.IsValid(), err
	})
	return address, err
}

func (h *host) podOf(name string) *corev1.Pod {
	grace := int64(0)
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: podProject, Name: name, Labels: map[string]string{"app": name}},
		Spec: corev1.PodSpec{
			NodeName: "bench", TerminationGracePeriodSeconds: &grace,
			Containers: []corev1.Container{{Name: "main", Image: h.image, ImagePullPolicy: corev1.PullIfNotPresent, Command: listens}},
		},
	}
}

// pods starts so many pods at once and measures from before the first is stored until the last answers at
// its service's address, in seconds. Then it removes them.
func (h *host) pods(ctx context.Context, n int) (float64, error) {
	names, addresses := make([]string, n), make([]netip.Addr, n)
	for i := range n {
		var err error
		names[i] = "web-" + strings.ToLower(rand.Text()[:8])
		if addresses[i], err = h.service(ctx, names[i]); err != nil {
			return 0, err
		}
	}
	time.Sleep(500 * time.Millisecond) // The services' own rules.
	began := time.Now()
	err := forEach(n, n, func(i int) error {
		if err := h.client.Create(ctx, h.podOf(names[i])); err != nil {
			return err
		}
		return answers(ctx, netip.AddrPortFrom(addresses[i], 80), time.Duration(n+1)*time.Millisecond/2)
	})
	took := time.Since(began).Seconds()
	return took, errors.Join(err, h.clear(ctx, names))
}

// clear removes pods and their services, and waits until they are gone.
func (h *host) clear(ctx context.Context, names []string) error {
	for _, name := range names {
		s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: podProject, Name: name}}
		if err := errors.Join(h.client.Delete(ctx, h.podOf(name)), h.client.Delete(ctx, s)); err != nil {
			return err
		}
	}
	for _, name := range names {
		if err := h.until(ctx, "pod "+name+" is gone", func() (bool, error) {
			err := h.client.Get(ctx, client.ObjectKey{Namespace: podProject, Name: name}, &corev1.Pod{})
			return apierrors.IsNotFound(err), client.IgnoreNotFound(err)
		}); err != nil {
			return err
		}
	}
	return nil
}

// answers tries every so often until something takes a connection.
func answers(ctx context.Context, at netip.AddrPort, every time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	dial := net.Dialer{Timeout: 50 * time.Millisecond}
	for {
		conn, err := dial.DialContext(ctx, "tcp", at.String())
		if err == nil {
			return conn.Close()
		}
		if ctx.Err() != nil {
			return fmt.Errorf("nothing answers at %s: %w", at, err)
		}
		time.Sleep(every)
	}
}

// bare starts so many pairs of a pause on Docker's own bridge and an app that joins it, side by side, and measures
// until the last answers.
func (h *host) bare(ctx context.Context, n int) (float64, error) {
	ref, err := pause.Image(ctx, h.docker)
	if err != nil {
		return 0, err
	}
	ids := make([][2]string, n)
	began := time.Now()
	err = forEach(n, n, func(i int) (err error) {
		ids[i], err = h.pair(ctx, ref)
		return err
	})
	took := time.Since(began).Seconds()
	return took, errors.Join(err, forEach(n, 2, func(i int) error {
		var errs []error
		for _, id := range []string{ids[i][1], ids[i][0]} {
			if id != "" {
				errs = append(errs, h.docker.ContainerRemove(ctx, id, container.RemoveOptions{Force: true}))
			}
		}
		return errors.Join(errs...)
	}))
}

func (h *host) pair(ctx context.Context, pause string) (ids [2]string, err error) {
	labels := map[string]string{runtime.LabelInstance: h.instance + "-bare"}
	run := func(i int, config *container.Config, to *container.HostConfig) error {
		config.Labels = labels
		c, err := h.docker.ContainerCreate(ctx, config, to, nil, nil, "")
		if err != nil {
			return err
		}
		ids[i] = c.ID
		return h.docker.ContainerStart(ctx, c.ID, container.StartOptions{})
	}
	if err := run(0, &container.Config{Image: pause}, &container.HostConfig{NetworkMode: container.NetworkMode(h.bridge), IpcMode: "shareable"}); err != nil {
		return ids, err
	}
	joined := "container:" + ids[0]
	if err := run(1, &container.Config{Image: h.image, Cmd: listens}, &container.HostConfig{NetworkMode: container.NetworkMode(joined), IpcMode: container.IpcMode(joined)}); err != nil {
		return ids, err
	}
	i, err := h.docker.ContainerInspect(ctx, ids[0])
	if err != nil {
		return ids, err
	}
	connected := i.NetworkSettings.Networks[h.bridge]
	if connected == nil {
		return ids, fmt.Errorf("the pause is not on network %s", h.bridge)
	}
	address, err := netip.ParseAddr(connected.IPAddress)
	if err != nil {
		return ids, err
	}
	return ids, answers(ctx, netip.AddrPortFrom(address, podPort), time.Millisecond)
}
