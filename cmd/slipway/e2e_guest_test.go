package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/miekg/dns"
	"github.com/vishvananda/netns"

	node "slipway.dev/slipway/runtime"
	"slipway.dev/slipway/runtime/engine"
	"slipway.dev/slipway/runtime/engine/enginetest"
)

// guest is another host: a network namespace with an engine of its own, and a wire to this one.
type guest struct {
	t              testing.TB
	name, dir      string
	address, ours  string // its own, and this host's on the wire
	docker         engine.Docker
	slipway        *exec.Cmd
	out            *transcript
	stopped        chan error
	dataDir, image string
}

func ip(t testing.TB, args ...string) {
	t.Helper()
	if res := runs(t, nil, "ip", args...); res.code != 0 {
		t.Fatalf("ip %s: %s", strings.Join(args, " "), res)
	}
}

// holdOverlay waits until no other test, of this process or another, has a server with an overlay on this host: all
// have the same port and identifier.
func holdOverlay(t testing.TB) {
	t.Helper()
	for {
		if held, err := net.Listen("unix", "@slipway-test-overlay"); err == nil {
			t.Cleanup(func() { held.Close() })
			return
		} else if !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func newGuest(t testing.TB, dir string) *guest {
	t.Helper()
	holdOverlay(t)
	id := nextID(t)
	g := &guest{t: t, name: fmt.Sprintf("g%05d", id%100000), dir: filepath.Join(dir, "guest"), dataDir: filepath.Join(dir, "node")}
	wire := fmt.Sprintf("10.%d.%d.", 200+id%50, id/50%250)
	g.ours, g.address = wire+"1", wire+"2"
	ip(t, "netns", "add", g.name)
	t.Cleanup(func() { ip(t, "netns", "del", g.name) })
	ip(t, "link", "add", g.name, "type", "veth", "peer", "name", "eth0", "netns", g.name)
	ip(t, "addr", "add", g.ours+"/30", "dev", g.name)
	ip(t, "link", "set", g.name, "up")
	ip(t, "-n", g.name, "link", "set", "lo", "up")
	ip(t, "-n", g.name, "addr", "add", g.address+"/30", "dev", "eth0")
	ip(t, "-n", g.name, "link", "set", "eth0", "up")
	ip(t, "-n", g.name, "route", "add", "default", "via", g.ours)
	g.startEngine()
	return g
}

func (g *guest) inside(args ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{"--net=/var/run/netns/" + g.name}, args...)...)
}

func (g *guest) startEngine() {
	g.t.Helper()
	run := filepath.Join("/run", g.name)
	if err := errors.Join(os.MkdirAll(g.dir, 0o755), os.MkdirAll(run, 0o711)); err != nil {
		g.t.Fatal(err)
	}
	socket := "unix://" + filepath.Join(run, "docker.sock")
	cmd := g.inside("dockerd", "--data-root", filepath.Join(g.dir, "data"), "--exec-root", filepath.Join(run, "exec"), "--host", socket,
		"--pidfile", filepath.Join(run, "pid"), "--containerd-namespace", g.name, "--containerd-plugins-namespace", g.name+"-plugins",
		"--bridge", "none", "--iptables=false", "--ip-masq=false", "--userland-proxy=false", "--log-level", "warn")
	log := &transcript{}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		g.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	g.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(patience):
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			g.t.Errorf("the guest's engine does not end:\n%s", log)
		}
		os.RemoveAll(run)
	})
	eventually(g.t, "the guest's engine answers", func() (err error) {
		select {
		case err := <-ended:
			g.t.Fatalf("the guest's engine ended: %v\n%s", err, log)
		default:
		}
		g.docker, err = engine.Connect(g.t.Context(), socket)
		return err
	})
	g.t.Cleanup(func() { g.docker.Close() })
	g.image = enginetest.Busybox(g.t, g.docker)
}

func (g *guest) environment() []string {
	return []string{"DOCKER_HOST=" + g.docker.DaemonHost(), "NO_COLOR=1"}
}

// start runs a `slipway node` command on the guest.
func (g *guest) start(args ...string) {
	g.t.Helper()
	args = append(append([]string{program(g.t), "node"}, args...), "--data-dir", g.dataDir)
	g.slipway, g.out, g.stopped = g.inside(args...), &transcript{}, make(chan error, 1)
	g.slipway.Env = append(os.Environ(), g.environment()...)
	g.slipway.Stdout, g.slipway.Stderr = g.out, g.out
	if err := g.slipway.Start(); err != nil {
		g.t.Fatal(err)
	}
	go func(cmd *exec.Cmd, ended chan error) { ended <- cmd.Wait() }(g.slipway, g.stopped)
}

func (g *guest) stop() {
	g.t.Helper()
	if g.slipway == nil {
		return
	}
	_ = g.slipway.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-g.stopped:
		if err != nil {
			g.t.Errorf("the node ended: %v\n%s", err, g.out)
		}
	case <-time.After(patience):
		_ = g.slipway.Process.Kill()
		g.t.Errorf("the node does not end:\n%s", g.out)
	}
	g.slipway = nil
}

// leaves takes the node away from the guest and checks that nothing of it is left.
func (g *guest) leaves() {
	g.t.Helper()
	g.stop()
	cmd := g.inside(program(g.t), "node", "leave", "--data-dir", g.dataDir)
	cmd.Env = append(os.Environ(), g.environment()...)
	if out, err := cmd.CombinedOutput(); err != nil {
		g.t.Errorf("slipway node leave: %v\n%s", err, out)
	}
	if left := g.containers(); len(left) > 0 {
		g.t.Errorf("left on the guest: %v", left)
	}
	links, err := g.inside("ip", "-o", "link").Output()
	if err != nil || strings.Contains(string(links), g.name) {
		g.t.Errorf("left on the guest: %v\n%s", err, links)
	}
}

// containers are those of pods' apps that run, by id.
func (g *guest) containers() map[string]string {
	g.t.Helper()
	list, err := g.docker.ContainerList(g.t.Context(), container.ListOptions{Filters: filters.NewArgs(
		filters.Arg("label", node.LabelKind+"="+string(node.App)), filters.Arg("status", "running"))})
	if err != nil {
		g.t.Fatal(err)
	}
	out := map[string]string{}
	for _, c := range list {
		out[c.ID] = c.Labels[node.LabelPod]
	}
	return out
}

// runsPods waits until so many apps run on the guest, none of which is among before.
func (g *guest) runsPods(n int, before map[string]string) map[string]string {
	g.t.Helper()
	var now map[string]string
	eventually(g.t, fmt.Sprintf("%d apps run on the guest", n), func() error {
		now = g.containers()
		for id := range now {
			if before[id] != "" {
				return fmt.Errorf("%s still runs", id)
			}
		}
		if len(now) != n {
			return fmt.Errorf("%d run\n%s", len(now), g.out)
		}
		return nil
	})
	return now
}

// killOne kills a container, and waits until another one runs in its place. It answers the pod, and spares
// one: a pod whose container has ended twice waits ever longer for the next.
func (g *guest) killOne(all map[string]string, spare string) (pod string) {
	g.t.Helper()
	for id, pod := range all {
		if pod == spare {
			continue
		}
		if err := g.docker.ContainerKill(g.t.Context(), id, "KILL"); err != nil {
			g.t.Fatal(err)
		}
		eventually(g.t, "another container runs in the place of the killed one", func() error {
			now := g.containers()
			if now[id] != "" || len(now) != len(all) {
				return fmt.Errorf("%v\n%s", now, g.out)
			}
			return nil
		})
		return pod
	}
	g.t.Fatalf("nothing to kill but %s", spare)
	return ""
}

// inNetworkOf runs f in a container's network namespace: what it connects to, the pod does.
func (g *guest) inNetworkOf(id string, f func() error) error {
	info, err := g.docker.ContainerInspect(g.t.Context(), id)
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		goruntime.LockOSThread() // The thread ends with the goroutine.
		ns, err := netns.GetFromPid(info.State.Pid)
		if err == nil {
			defer ns.Close()
			err = netns.Set(ns)
		}
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

// resolver is the one that a container was given.
func (g *guest) resolver(id string) (string, error) {
	cmd := exec.Command("docker", "exec", id, "cat", "/etc/resolv.conf")
	cmd.Env = append(os.Environ(), g.environment()...)
	out, err := cmd.CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); err == nil && len(f) == 2 && f[0] == "nameserver" {
			return net.JoinHostPort(f[1], "53"), nil
		}
	}
	return "", fmt.Errorf("no nameserver: %w: %s", err, out)
}

// finds asks for a service by its name, and then the service.
func finds(resolver, name, want string) error {
	q := new(dns.Msg)
	q.SetQuestion(dns.Fqdn(name), dns.TypeA)
	answer, _, err := new(dns.Client).Exchange(q, resolver)
	if err != nil {
		return err
	}
	for _, rr := range answer.Answer {
		a, ok := rr.(*dns.A)
		if !ok {
			continue
		}
		c, err := net.DialTimeout("tcp", net.JoinHostPort(a.A.String(), "80"), 5*time.Second)
		if err != nil {
			return err
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		if _, err := io.WriteString(c, "GET / HTTP/1.0\r\n\r\n"); err != nil {
			return err
		}
		got, err := io.ReadAll(c)
		if err == nil && !strings.Contains(string(got), want) {
			err = fmt.Errorf("another answer: %q", got)
		}
		return err
	}
	return fmt.Errorf("no address: %s", answer)
}

// serves checks that a pod of the guest finds a service by its name and gets an answer.
func (g *guest) serves(when string, running map[string]string, want string) {
	g.t.Helper()
	for id := range running {
		eventually(g.t, when+": a pod finds the service", func() error {
			resolver, err := g.resolver(id)
			if err != nil {
				return err
			}
			return g.inNetworkOf(id, func() error { return finds(resolver, "web.hello.svc.cluster.local", want) })
		})
		return
	}
}
