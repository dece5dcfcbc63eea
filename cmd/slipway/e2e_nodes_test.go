package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/registry"

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

func newGuest(t testing.TB, dir string) *guest {
	t.Helper()
	id := os.Getpid()
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

// killOne kills a container, and waits until another one runs in its place.
func (g *guest) killOne(all map[string]string) {
	g.t.Helper()
	for id := range all {
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
		return
	}
}

// onGuest is hello, made of an image of the integrated registry, on the guest only.
func onGuest(u *upped) string {
	web := strings.Replace(hello, "IMAGE", u.registry+"/hello/web:v1", 1)
	return strings.Replace(web, "      terminationGracePeriodSeconds: 1\n", "      terminationGracePeriodSeconds: 1\n      nodeSelector: { kubernetes.io/hostname: second }\n", 1)
}

// TestNode is the life of a second host: it joins, runs what is bound to it, goes on while the server is
// away, also as a new process, and is shut out.
func TestNode(t *testing.T) {
	u := newUp(t)
	g := newGuest(t, u.dir)
	u.args = append(u.args, "--node-listen", g.ours+":7082")
	repo := newRepository(t, filepath.Join(u.dir, "config"), map[string]string{
		"projects/hello/stream.yaml": "apiVersion: image.openshift.io/v1\nkind: ImageStream\nmetadata:\n  name: web\n",
	})
	u.args = append(u.args, "--repo", fileURL(repo.dir))
	u.start()
	u.says("get is web -n hello", "web")
	u.fills(t, "/hello/web:v1")

	res := u.runs("node", "token", "--data-dir", u.dataDir, "--ttl", "10m")
	if res.code != 0 || !strings.Contains(res.complaints, "slipway node join --server https://"+g.ours+":7082 --token ") {
		t.Fatalf("slipway node token: %s", res)
	}
	defer g.leaves()
	g.start("join", "--server", "https://"+g.ours+":7082", "--token", strings.TrimSpace(res.out), "--node", "second", "--name", g.name, "--address", g.address)
	u.says("get nodes", "second", "Ready")

	repo.commit(map[string]string{"projects/hello/web.yaml": onGuest(u)})
	u.hook()
	running := g.runsPods(2, nil)
	u.says("get pods -n hello -o wide", "second", "1/1")
	u.serves("web-hello.localhost", "Hello from Slipway")
	u.says("logs dc/web -n hello", "serving\n")
	u.says("top pods -n hello", "web-1-")
	u.says("top nodes", "second")

	u.stop()
	g.killOne(running)
	g.stop()
	running = g.containers()
	g.start("run")
	eventually(t, "the node is up without a server", func() error {
		if !strings.Contains(g.out.String(), "the node is up") {
			return errors.New(g.out.String())
		}
		return nil
	})
	g.killOne(running)

	u.start()
	u.says("get nodes", "second", "Ready")
	u.serves("web-hello.localhost", "Hello from Slipway")
	if res := u.runs("node", "remove", "second", "--data-dir", u.dataDir); res.code != 0 {
		t.Errorf("slipway node remove: %s", res)
	}
	eventually(t, "the node is told that it is shut out", func() error {
		if !strings.Contains(g.out.String(), "was taken away") {
			return errors.New(g.out.String())
		}
		return nil
	})
	if code, body, err := fetch(t, u.api+"/api/v1/nodes/second", ""); err != nil || code != http.StatusNotFound {
		t.Errorf("the Node: %d %s %v", code, body, err)
	}
}

// fills pushes the test's image to the registry, by a name.
func (u *upped) fills(t *testing.T, name string) {
	t.Helper()
	if err := u.docker.ImageTag(t.Context(), u.image, u.registry+name); err != nil {
		t.Fatal(err)
	}
	user, password, _ := strings.Cut(strings.TrimSpace(u.says("registry-login --data-dir "+u.dataDir, ":")), ":")
	if err := u.push(t, u.registry+name, registry.AuthConfig{Username: user, Password: password}); err != nil {
		t.Fatalf("push: %v", err)
	}
	if _, err := u.docker.ImageRemove(t.Context(), u.registry+name, image.RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
}
