package main

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
)

// standby is a second server on a guest, on the same etcd.
type standby struct {
	*guest
	args []string
	cmd  *exec.Cmd
	log  *transcript
	done chan error
}

func (s *standby) up() {
	s.t.Helper()
	s.cmd, s.log, s.done = s.inside(append([]string{program(s.t)}, s.args...)...), &transcript{}, make(chan error, 1)
	s.cmd.Env = append(os.Environ(), s.environment()...)
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func(cmd *exec.Cmd, done chan error) { done <- cmd.Wait() }(s.cmd, s.done)
	eventually(s.t, "the second server is up", func() error {
		select {
		case err := <-s.done:
			s.t.Fatalf("the second server ended: %v\n%s", err, s.log)
		default:
		}
		if !strings.Contains(s.log.String(), "Slipway is up") {
			return errors.New(s.log.String())
		}
		return nil
	})
}

func (s *standby) says(command string, want ...string) {
	s.t.Helper()
	eventually(s.t, "on the second server: slipway "+command, func() error { return s.answers(command, want...) })
}

func (s *standby) answers(command string, want ...string) error {
	cmd := s.inside(append([]string{program(s.t)}, strings.Fields(command)...)...)
	cmd.Env = append(os.Environ(), append(s.environment(), "SLIPWAY_SERVER=http://127.0.0.1:7080")...)
	out, err := cmd.CombinedOutput()
	for _, w := range want {
		if err != nil || !strings.Contains(string(out), w) {
			return fmt.Errorf("want %q: %v %s", w, err, out)
		}
	}
	return nil
}

// kill ends a process as a power cut does.
func kill(t testing.TB, cmd *exec.Cmd, ended chan error) {
	t.Helper()
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-ended
}

// etcd is one that servers share, which may go away and come back with what it had.
type etcd struct {
	t      testing.TB
	dir    string
	listen url.URL
	*embed.Etcd
	away bool
}

func newEtcd(t testing.TB, dir, host string) *etcd {
	t.Helper()
	e := &etcd{t: t, dir: filepath.Join(dir, "etcd"), listen: url.URL{Scheme: "http", Host: fmt.Sprintf("%s:%d", host, freePort(t))}}
	e.start()
	t.Cleanup(e.leave)
	return e
}

func (e *etcd) leave() {
	e.Close()
	e.away = true
}

// back starts it again where it is away.
func (e *etcd) back() {
	if e.away {
		e.away = false
		e.start()
	}
}

func (e *etcd) start() {
	e.t.Helper()
	cfg := embed.NewConfig()
	cfg.Dir, cfg.LogLevel, cfg.UnsafeNoFsync = e.dir, "fatal", true
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{e.listen}, []url.URL{e.listen}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = nil, []url.URL{{Scheme: "http", Host: "127.0.0.1:1"}}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	var err error
	if e.Etcd, err = embed.StartEtcd(cfg); err != nil {
		e.t.Fatal(err)
	}
	<-e.Server.ReadyNotify()
}

// newStandby is a second server beside the first, on a guest.
func newStandby(t testing.TB, u *upped, g *guest, dir string, shared []string) *standby {
	t.Helper()
	s := &standby{guest: g}
	s.dataDir = filepath.Join(dir, "second")
	sealed, err := os.ReadFile(filepath.Join(u.dataDir, "state", "seal.key"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.MkdirAll(filepath.Join(s.dataDir, "state"), 0o700), os.WriteFile(filepath.Join(s.dataDir, "state", "seal.key"), sealed, 0o600)); err != nil {
		t.Fatal(err)
	}
	s.args = append([]string{"up", "--data-dir", s.dataDir, "--node", "second", "--name", g.name, "--registry", u.registry, "--node-listen", ":7082"}, shared...)
	for i, arg := range u.args {
		if arg == "--cluster-network" || arg == "--service-network" {
			s.args = append(s.args, arg, u.args[i+1])
		}
	}
	return s
}

// down ends the second server and takes away what it made.
func (s *standby) down() {
	s.t.Helper()
	if s.cmd.ProcessState == nil {
		_ = s.cmd.Process.Signal(syscall.SIGTERM)
		<-s.done
	}
	down := s.inside(program(s.t), "down", "--data-dir", s.dataDir)
	down.Env = append(os.Environ(), s.environment()...)
	if out, err := down.CombinedOutput(); err != nil {
		s.t.Errorf("slipway down on the second server: %v\n%s", err, out)
	}
}

// TestTwoServers: of several servers on one etcd one leads; images and logs of one are had from the other;
// without etcd both go on with what they run; and when the one that leads is killed another takes
// over, the one that was killed comes back behind it.
func TestTwoServers(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	g := newGuest(t, dir)
	etcd := newEtcd(t, dir, g.ours)
	titled := func(text string) string {
		return "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: title\ndata:\n  title: " + text + "\n"
	}
	repo := newRepository(t, filepath.Join(dir, "config"), map[string]string{
		"projects/hello/title.yaml":  titled("One"),
		"projects/hello/stream.yaml": "apiVersion: image.openshift.io/v1\nkind: ImageStream\nmetadata:\n  name: web\n",
	})

	u := newUp(t)
	shared := []string{"--repo", fileURL(repo.dir), "--etcd", etcd.listen.String()}
	u.args = append(u.args, append(shared, "--node", "first", "--node-listen", g.ours+":7082")...)
	u.start()
	const title = "get configmap title -n hello -o jsonpath={.data.title}"
	u.says(title, "One")

	s := newStandby(t, u, g, dir, shared)
	s.up()
	defer s.down()
	s.says("get nodes", "first", "second", "Ready")
	s.says(title, "One")
	u.says("get node second -o jsonpath={.metadata.annotations}", "https://"+g.address+":7082")

	u.fills(t, "/hello/web:v1")
	repo.commit(map[string]string{"projects/hello/web.yaml": onGuest(u)})
	u.hook()
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(u.runs("get", "pods,hostsubnets,endpoints,nodes", "-A", "-o", "wide"), s.log, u.out)
		}
	})
	running := g.runsPods(2, nil)
	u.says("logs dc/web -n hello", "serving\n")
	u.says("top pods -n hello", "web-1-")
	u.says("top nodes", "first", "second")
	u.serves("web-hello.localhost", "Hello from Slipway")

	etcd.leave()
	defer etcd.back() // Or nothing could be taken down.
	g.serves("without etcd", running, "Hello from Slipway")
	u.serves("web-hello.localhost", "Hello from Slipway")
	g.killOne(running, "")
	etcd.back()
	repo.commit(map[string]string{"projects/hello/title.yaml": titled("Two")})
	// Told until it is heard: the server may not have found etcd again.
	eventually(t, "the second server has the next commit", func() error {
		u.hook()
		return s.answers(title, "Two")
	})

	kill(t, u.cmd, u.ended)
	began := time.Now()
	repo.commit(map[string]string{"projects/hello/title.yaml": titled("Three")})
	s.says(title, "Three")
	t.Logf("taken over after %s", time.Since(began))

	u.start()
	u.says(title, "Three")
	kill(t, s.cmd, s.done)
	repo.commit(map[string]string{"projects/hello/title.yaml": titled("Four")})
	u.hook()
	u.says(title, "Four")
}
