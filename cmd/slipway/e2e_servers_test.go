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
	eventually(s.t, "on the second server: slipway "+command, func() error {
		cmd := s.inside(append([]string{program(s.t)}, strings.Fields(command)...)...)
		cmd.Env = append(os.Environ(), append(s.environment(), "SLIPWAY_SERVER=http://127.0.0.1:7080")...)
		out, err := cmd.CombinedOutput()
		for _, w := range want {
			if err != nil || !strings.Contains(string(out), w) {
				return fmt.Errorf("want %q: %v %s", w, err, out)
			}
		}
		return nil
	})
}

// kill ends a process as a power cut does.
func kill(t testing.TB, cmd *exec.Cmd, ended chan error) {
	t.Helper()
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-ended
}

func startEtcd(t testing.TB, dir, host string) string {
	t.Helper()
	listen := url.URL{Scheme: "http", Host: fmt.Sprintf("%s:%d", host, freePort(t))}
	cfg := embed.NewConfig()
	cfg.Dir, cfg.LogLevel, cfg.UnsafeNoFsync = filepath.Join(dir, "etcd"), "fatal", true
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{listen}, []url.URL{listen}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = nil, []url.URL{{Scheme: "http", Host: "127.0.0.1:1"}}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	etcd, err := embed.StartEtcd(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(etcd.Close)
	<-etcd.Server.ReadyNotify()
	return listen.String()
}

// TestTwoServers: of several servers on one etcd one leads, and when it is killed another takes over, the one
// that was killed comes back behind it.
func TestTwoServers(t *testing.T) {
	dir := shortDir(t)
	g := newGuest(t, dir)
	etcd := startEtcd(t, dir, g.ours)
	object := "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: page\ndata:\n  title: "
	repo := newRepository(t, filepath.Join(dir, "config"), map[string]string{"projects/hello/page.yaml": object + "One\n"})

	u := newUp(t)
	shared := []string{"--repo", fileURL(repo.dir), "--etcd", etcd}
	u.args = append(u.args, append(shared, "--node", "first")...)
	u.start()
	const title = "get configmap page -n hello -o jsonpath={.data.title}"
	u.says(title, "One")

	s := &standby{guest: g}
	s.dataDir = filepath.Join(dir, "second")
	sealed, err := os.ReadFile(filepath.Join(u.dataDir, "state", "seal.key"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.MkdirAll(filepath.Join(s.dataDir, "state"), 0o700), os.WriteFile(filepath.Join(s.dataDir, "state", "seal.key"), sealed, 0o600)); err != nil {
		t.Fatal(err)
	}
	s.args = append([]string{"up", "--data-dir", s.dataDir, "--node", "second", "--name", g.name}, shared...)
	for i, arg := range u.args {
		if arg == "--cluster-network" || arg == "--service-network" {
			s.args = append(s.args, arg, u.args[i+1])
		}
	}
	s.up()
	defer func() {
		if s.cmd.ProcessState == nil {
			_ = s.cmd.Process.Signal(syscall.SIGTERM)
			<-s.done
		}
		down := s.inside(program(t), "down", "--data-dir", s.dataDir)
		down.Env = append(os.Environ(), s.environment()...)
		if out, err := down.CombinedOutput(); err != nil {
			t.Errorf("slipway down on the second server: %v\n%s", err, out)
		}
	}()
	s.says("get nodes", "first", "second", "Ready")
	s.says(title, "One")

	kill(t, u.cmd, u.ended)
	began := time.Now()
	repo.commit(map[string]string{"projects/hello/page.yaml": object + "Two\n"})
	s.says(title, "Two")
	t.Logf("taken over after %s", time.Since(began))

	u.start()
	u.says(title, "Two")
	kill(t, s.cmd, s.done)
	repo.commit(map[string]string{"projects/hello/page.yaml": object + "Three\n"})
	u.says(title, "Three")
}
