package lab

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// Options say what lab is wanted.
type Options struct {
	// Dir holds everything that is not below /run; it may be there already, without a lab in it.
	Dir string
	// Nodes is how many hosts; the first Servers of them run a server. Several share an etcd cluster, whose
	// members run on the first hosts.
	Nodes, Servers int
	// Disk is the size of each host's own disk in bytes, which is in this machine's memory; 0: the hosts use
	// this machine's.
	Disk int64
	// Config is the kubeconfig file to write; empty: none.
	Config string
	// Program is the program slipway; empty: this process's own file.
	Program string
	// Up are arguments of `slipway up`, such as --repo URL.
	Up  []string
	Log *slog.Logger
}

func (o *Options) complete() (err error) {
	switch {
	case os.Geteuid() != 0:
		return errors.New("a lab makes network namespaces and starts Docker Engines: run it as root")
	case o.Nodes < 1 || o.Nodes > MaxHosts:
		return fmt.Errorf("--nodes %d: want 1 to %d", o.Nodes, MaxHosts)
	case o.Servers < 0 || o.Servers > min(o.Nodes, MaxServers):
		return fmt.Errorf("--servers %d: want 1 to %d on %d hosts", o.Servers, min(o.Nodes, MaxServers), o.Nodes)
	case o.Disk != 0 && o.Disk < MinDisk:
		return fmt.Errorf("--disk %d: want at least %d bytes", o.Disk, MinDisk)
	}
	for _, program := range []string{"dockerd", "iptables"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("a lab needs the program %s: on Debian, `apt-get install docker.io iptables`", program)
		}
	}
	if o.Program == "" {
		if o.Program, err = os.Executable(); err != nil {
			return err
		}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Config != "" {
		if o.Config, err = filepath.Abs(o.Config); err != nil {
			return err
		}
		if err := checkConfig(o.Config); err != nil {
			return err
		}
	}
	o.Dir, err = filepath.Abs(o.Dir)
	return err
}

// MaxServers is how many servers a lab may have: more members only slow their etcd down. MinDisk is the
// smallest disk of a host in bytes: etcd sets 64 MiB aside.
const (
	MaxServers = 7
	MinDisk    = 256 << 20
)

// Up makes the hosts, starts their engines and, where there is a server, servers and nodes.
// It returns when every node is Ready. What it has made when it fails is taken away again.
func Up(ctx context.Context, o Options) (*Lab, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	l := &Lab{Dir: o.Dir, Log: o.Log}
	lock, err := l.lock()
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	if _, err := os.Stat(filepath.Join(o.Dir, planFile)); err == nil {
		return nil, fmt.Errorf("there is a lab in %s: take it down first, with `slipway lab down`", o.Dir)
	}
	if err := l.found(o); err != nil {
		return nil, err
	}
	if err := l.make(ctx); err != nil {
		l.Log.Info("taking away what was made")
		return nil, errors.Join(err, l.remove())
	}
	return l, nil
}

// found decides, writes it down, and makes the network, which no other lab takes from then on. Labs that are
// made at the same time wait for each other here, by a lock on a folder that every one has.
func (l *Lab) found(o Options) error {
	run, err := os.Open("/run")
	if err != nil {
		return err
	}
	defer run.Close()
	if err := syscall.Flock(int(run.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("lock /run: %w", err)
	}
	if err := l.design(o); err != nil {
		return err
	}
	if err := l.save(); err != nil {
		return err
	}
	if err := l.makeUnderlay(); err != nil {
		return errors.Join(err, l.remove())
	}
	return nil
}

// design decides everything beforehand.
func (l *Lab) design(o Options) (err error) {
	l.ID, l.Program, l.Up, l.Disk, l.Config = idOf(o.Dir), o.Program, o.Up, o.Disk, o.Config
	if l.Network, err = freeNetwork(l.ID); err != nil {
		return err
	}
	was, err := os.ReadFile(forwardFile)
	if err != nil {
		return err
	}
	l.ForwardWas = strings.TrimSpace(string(was))
	for i := range o.Nodes {
		l.Hosts = append(l.Hosts, Host{Name: fmt.Sprintf("node%d", i+1), Address: address(l.Network, i+1), Server: i < o.Servers, Member: i < o.members()})
	}
	l.adopt()
	return nil
}

func (l *Lab) make(ctx context.Context) error {
	if err := l.each(func(h *Host) error { return h.make(ctx) }); err != nil {
		return err
	}
	servers := l.servers()
	if len(servers) == 0 {
		return nil
	}
	l.Log.Info("the hosts are up", "hosts", len(l.Hosts), "network", l.Network.String())
	if err := l.startServers(ctx, servers); err != nil {
		return err
	}
	if err := l.each(func(h *Host) error {
		if h.Server {
			return nil
		}
		token, err := servers[0].token()
		if err != nil {
			return err
		}
		return h.join(servers, token)
	}); err != nil {
		return err
	}
	if err := l.AwaitReady(ctx); err != nil {
		return err
	}
	return l.writeConfig()
}

func (h *Host) make(ctx context.Context) error {
	if err := h.makeNetwork(); err != nil {
		return err
	}
	if err := h.makeDisk(); err != nil {
		return err
	}
	return h.StartEngine(ctx)
}

// startServers starts etcd, all members before any can answer; then the first server, which makes the key, and
// the others with it.
func (l *Lab) startServers(ctx context.Context, servers []*Host) error {
	for _, m := range l.members() {
		if err := m.launchEtcd(); err != nil {
			return err
		}
	}
	for _, m := range l.members() {
		if err := m.awaitEtcd(ctx); err != nil {
			return err
		}
	}
	if err := servers[0].StartServer(ctx); err != nil {
		return err
	}
	return l.each(func(h *Host) error {
		if !h.Server || h == servers[0] {
			return nil
		}
		if err := h.takeKey(servers[0]); err != nil {
			return err
		}
		return h.StartServer(ctx)
	})
}

// each does the same on all hosts at once.
func (l *Lab) each(f func(*Host) error) error {
	errs := make([]error, len(l.Hosts))
	var wg sync.WaitGroup
	for i := range l.Hosts {
		wg.Go(func() { errs[i] = f(&l.Hosts[i]) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (l *Lab) servers() []*Host {
	var out []*Host
	for i := range l.Hosts {
		if l.Hosts[i].Server {
			out = append(out, &l.Hosts[i])
		}
	}
	return out
}
