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
)

// Options say what lab is wanted.
type Options struct {
	// Dir holds everything that is not below /run; it may be there already, without a lab in it.
	Dir string
	// Nodes is how many hosts; the first Servers of them run a server. Only one can, because several need an
	// etcd cluster beside them.
	Nodes, Servers int
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
	case o.Servers < 0 || o.Servers > 1:
		return fmt.Errorf("--servers %d: a lab has one server: several need an etcd cluster beside them", o.Servers)
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
	o.Dir, err = filepath.Abs(o.Dir)
	return err
}

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
	if err := l.design(o); err != nil {
		return nil, err
	}
	if err := l.save(); err != nil {
		return nil, err
	}
	if err := l.make(ctx); err != nil {
		l.Log.Info("taking away what was made")
		return nil, errors.Join(err, l.remove())
	}
	return l, nil
}

// design decides everything beforehand.
func (l *Lab) design(o Options) (err error) {
	l.ID, l.Program, l.Up = idOf(o.Dir), o.Program, o.Up
	if l.Network, err = freeNetwork(l.ID); err != nil {
		return err
	}
	was, err := os.ReadFile(forwardFile)
	if err != nil {
		return err
	}
	l.ForwardWas = strings.TrimSpace(string(was))
	for i := range o.Nodes {
		l.Hosts = append(l.Hosts, Host{Name: fmt.Sprintf("node%d", i+1), Address: address(l.Network, i+1), Server: i < o.Servers})
	}
	l.adopt()
	return nil
}

func (l *Lab) make(ctx context.Context) error {
	if err := l.makeUnderlay(); err != nil {
		return err
	}
	if err := l.each(func(h *Host) error { return errors.Join(h.makeNetwork(), h.StartEngine(ctx)) }); err != nil {
		return err
	}
	servers := l.servers()
	if len(servers) == 0 {
		return nil
	}
	l.Log.Info("the hosts are up", "hosts", len(l.Hosts), "network", l.Network.String())
	if err := servers[0].StartServer(ctx); err != nil {
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
	return l.AwaitReady(ctx)
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
