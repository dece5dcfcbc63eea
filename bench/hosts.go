package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	projectv1 "github.com/openshift/api/project/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/reconciler/service"
	"slipway.dev/slipway/reconciler/subnet"
	"slipway.dev/slipway/state"
	"slipway.dev/slipway/state/event"
	"slipway.dev/slipway/state/loop"
	"slipway.dev/slipway/state/nodeapi"
	"slipway.dev/slipway/state/nodecert"
)

// shop is the project of the pods.
const shop = "shop"

// serverAt is where the hosts find the server.
const serverAt = "192.0.2.254:7082"

// liveState is a server: live state, the controllers that give services their endpoints,
// and the API that nodes join by.
type liveState struct {
	dir    string
	token  string
	client *state.Client
	close  func()
}

func openLive(ctx context.Context) (*liveState, error) {
	// A socket's path is short.
	at, err := os.MkdirTemp("", "sl-")
	if err != nil {
		return nil, err
	}
	store, err := state.Open(ctx, state.Options{DataDir: at, Log: quiet(), Default: api.Default, Validate: api.Validate, ValidateUpdate: api.ValidateUpdate})
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(at))
	}
	l := &liveState{dir: at, client: store.Client()}
	running, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	if err := l.serve(running, &wg); err != nil {
		stop()
		wg.Wait()
		store.Close()
		return nil, errors.Join(err, os.RemoveAll(at))
	}
	controllers := service.Controllers(service.Deps{Client: l.client, Events: event.New(l.client, "bench", quiet()), Log: quiet(), Network: netip.MustParsePrefix("172.30.0.0/16")})
	controllers = append(controllers, subnet.Controllers(subnet.Deps{Client: l.client, Log: quiet(),
		Network: subnet.Network{Cluster: netip.MustParsePrefix("10.128.0.0/14"), Bits: 23}})...)
	wg.Go(func() { loop.Run(running, l.client, quiet(), controllers...) })
	l.close = func() { stop(); wg.Wait(); store.Close(); _ = os.RemoveAll(at) }
	for _, o := range []client.Object{
		&projectv1.Project{ObjectMeta: metav1.ObjectMeta{Name: shop, Annotations: map[string]string{api.NetIDAnnotation: "10"}}},
		&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: shop, Name: "far"}, Spec: corev1.ServiceSpec{ClusterIP: "172.30.0.9",
			Selector: map[string]string{"app": "far"}, Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(8080)}}}},
	} {
		if err := l.client.Create(ctx, o); err != nil {
			l.close()
			return nil, err
		}
	}
	return l, nil
}

// serve answers nodes over mutual TLS, as a server does.
func (l *liveState) serve(ctx context.Context, wg *sync.WaitGroup) error {
	authority, err := nodeapi.OpenAuthority(ctx, l.client, time.Now())
	if err != nil {
		return err
	}
	token, err := nodeapi.NewToken(ctx, l.client, authority, time.Now(), time.Hour)
	if err != nil {
		return err
	}
	l.token = token.String()
	answers, err := nodeapi.New(nodeapi.Options{Client: l.client, Authority: authority, Log: quiet(),
		Cluster: nodecert.Cluster{ClusterNetwork: "10.128.0.0/14", ServiceNetwork: "172.30.0.0/16", Registry: "127.0.0.1:5000"}})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp4", serverAt)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: answers.Handler(), ReadHeaderTimeout: time.Minute}
	wg.Go(func() { _ = server.Serve(tls.NewListener(listener, answers.TLS())) })
	wg.Go(func() { <-ctx.Done(); _ = server.Close() })
	return nil
}

// record makes the object of a pod that runs, and is not ready.
func (l *liveState) record(ctx context.Context, name, node, address string) error {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: shop, Name: name, Labels: map[string]string{"app": name}},
		Spec: corev1.PodSpec{NodeName: node, Containers: []corev1.Container{{Name: "c", Image: "none"}}}}
	if err := l.client.Create(ctx, pod); err != nil {
		return err
	}
	pod.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIP: address, PodIPs: []corev1.PodIP{{IP: address}}}
	return l.client.Status().Update(ctx, pod)
}

// readiness is the median from a pod's readiness to the first answer at its service's
// address, asked by a pod of another host.
func readiness(p ourPods, times int) (float64, error) {
	if err := p.hosts[1].answer("far"); err != nil {
		return 0, err
	}
	var took []float64
	for range times {
		asker, err := p.hosts[0].ask("a")
		if err != nil {
			return 0, err
		}
		began, err := p.hosts[1].order(hostOrder{Do: "ready", Pod: "far"})
		if err != nil {
			return 0, err
		}
		at, err := asker()
		if err != nil {
			return 0, err
		}
		took = append(took, at.Sub(began.At).Seconds())
		if _, err := p.hosts[1].order(hostOrder{Do: "unready", Pod: "far"}); err != nil {
			return 0, err
		}
		if err := p.hosts[0].refused("a"); err != nil {
			return 0, err
		}
	}
	return median(took), nil
}

// repair is the median from a flush of all rules to the next answer at a service's address.
func repair(ctx context.Context, p ourPods, times int) (float64, error) {
	if _, err := p.hosts[1].order(hostOrder{Do: "ready", Pod: "far"}); err != nil {
		return 0, err
	}
	wait := func() (time.Time, error) {
		asker, err := p.hosts[0].ask("a")
		if err != nil {
			return time.Time{}, err
		}
		return asker()
	}
	if _, err := wait(); err != nil {
		return 0, err
	}
	var took []float64
	for i := range times {
		// Not always as long after the last look.
		time.Sleep(time.Second + time.Duration(i)*37*time.Millisecond)
		began := time.Now()
		if err := command(ctx, fmt.Sprintf("nsenter --net=/proc/%d/ns/net nft flush ruleset", p.hosts[0].pid)); err != nil {
			return 0, err
		}
		at, err := wait()
		if err != nil {
			return 0, err
		}
		took = append(took, at.Sub(began).Seconds())
	}
	return median(took), nil
}

// hostProcess is a host: a child in a network namespace of its own, with Slipway's network.
type hostProcess struct {
	space
	name string
	in   io.Writer
	out  *json.Decoder
}

// hostConfig is what a host is started with, an order a line to it, and a report its answer.
type hostConfig struct{ Name, Dir, Token string }

type hostOrder struct {
	// Do is begin, attach, answer, ask, refused, ready or unready.
	Do, Pod string
	PID     int
}

type hostReport struct {
	Address string
	At      time.Time
	Error   string
}

func (u *underlay) host(name string, live *liveState) (*hostProcess, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(live.dir, name+"-")
	if err != nil {
		return nil, err
	}
	config, err := json.Marshal(hostConfig{Name: name, Dir: dir, Token: live.token})
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(u.ctx, self, "child", "host", string(config))
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		return nil, err
	}
	u.closers = append(u.closers, func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	h := &hostProcess{space: space{pid: cmd.Process.Pid}, name: name, in: in, out: json.NewDecoder(out)}
	return h, u.in(&h.space, "ip link set lo up")
}

// begin lets the host's network come up: the underlay is there.
func (h *hostProcess) begin() error {
	_, err := h.order(hostOrder{Do: "begin"})
	return err
}

func (h *hostProcess) order(o hostOrder) (hostReport, error) {
	if err := json.NewEncoder(h.in).Encode(o); err != nil {
		return hostReport{}, err
	}
	return h.report(o)
}

func (h *hostProcess) report(o hostOrder) (hostReport, error) {
	var r hostReport
	err := h.out.Decode(&r)
	if err == nil && r.Error != "" {
		err = errors.New(r.Error)
	}
	if err != nil {
		err = fmt.Errorf("host %s: %s %s: %w", h.name, o.Do, o.Pod, err)
	}
	return r, err
}

func (h *hostProcess) attach(pod string, pid int) (string, error) {
	r, err := h.order(hostOrder{Do: "attach", Pod: pod, PID: pid})
	return r.Address, err
}

// answer lets a pod answer on port 8080.
func (h *hostProcess) answer(pod string) error {
	_, err := h.order(hostOrder{Do: "answer", Pod: pod})
	return err
}

// ask lets a pod ask the service until it answers; what is returned waits for that.
func (h *hostProcess) ask(pod string) (func() (time.Time, error), error) {
	o := hostOrder{Do: "ask", Pod: pod}
	if err := json.NewEncoder(h.in).Encode(o); err != nil {
		return nil, err
	}
	return func() (time.Time, error) { r, err := h.report(o); return r.At, err }, nil
}

// refused waits until the service answers no longer.
func (h *hostProcess) refused(pod string) error {
	_, err := h.order(hostOrder{Do: "refused", Pod: pod})
	return err
}
