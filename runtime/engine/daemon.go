package engine

import (
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// daemon is a dockerd of our own. Below its directory: data (images and containers),
// log, lock (held while it runs); below its run directory: docker.sock, pid, exec.
type daemon struct {
	dir, run  string
	socket    string
	namespace string
	bridge    string // link that it makes beside another engine's docker0
	keep      bool
	lock      *os.File
	exited    chan struct{}
}

// start starts dockerd below o.Dir after clearing what a killed predecessor left.
func start(o Options) (*daemon, error) {
	dir := o.Dir
	if dir == "" {
		tmp, err := os.MkdirTemp("", "slipway-engine-")
		if err != nil {
			return nil, fmt.Errorf("private Docker Engine: %w", err)
		}
		dir = tmp
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("private Docker Engine: %w", err)
	}
	h := fnv.New64a()
	h.Write([]byte(dir))
	id := fmt.Sprintf("%016x", h.Sum64())
	name := "slipway-" + id
	// A Unix socket's path is limited to 107 bytes, and containerd puts some below
	// exec: the run directory is therefore short, whatever dir is.
	d := &daemon{dir: dir, run: filepath.Join("/run", name), namespace: name, keep: o.Keep, exited: make(chan struct{})}
	d.bridge = "sl" + id[:12] // A link's name has at most 15 characters.
	d.socket = filepath.Join(d.run, "docker.sock")
	if err := d.claim(); err != nil {
		return nil, err
	}
	if err := errors.Join(d.sweep(), os.MkdirAll(d.run, 0o711)); err != nil {
		return nil, errors.Join(fmt.Errorf("private Docker Engine: %w", err), d.lock.Close())
	}
	if err := d.launch(); err != nil {
		return nil, errors.Join(err, d.stop())
	}
	return d, nil
}

// claim takes the directory's lock; it ends with this process however that ends.
func (d *daemon) claim() error {
	if err := os.MkdirAll(d.dir, 0o711); err != nil {
		return fmt.Errorf("private Docker Engine: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(d.dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("private Docker Engine: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return fmt.Errorf("private Docker Engine: %s is used by another process: %w", d.dir, err)
	}
	d.lock = f
	return nil
}

// launch starts the process. The kernel sends it SIGTERM when the thread that started
// it ends (prctl(2), PR_SET_PDEATHSIG), so one thread is kept for it until it exits:
// the engine then ends with this process even if that is killed.
func (d *daemon) launch() error {
	bridge, err := d.makeBridge()
	if err != nil {
		return fmt.Errorf("private Docker Engine: %w", err)
	}
	out, err := os.OpenFile(filepath.Join(d.dir, "log"), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("private Docker Engine: %w", err)
	}
	defer out.Close()
	cmd := exec.Command("dockerd",
		"--data-root", filepath.Join(d.dir, "data"), "--exec-root", filepath.Join(d.run, "exec"),
		"--host", "unix://"+d.socket, "--pidfile", filepath.Join(d.run, "pid"),
		// A namespace of its own: dockerd uses a containerd that already runs.
		"--containerd-namespace", d.namespace, "--containerd-plugins-namespace", d.namespace+"-plugins",
		"--bridge", bridge, "--iptables=false", "--ip-masq=false", "--userland-proxy=false", "--log-level", "warn")
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
		close(d.exited)
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("private Docker Engine: %w", err)
	}
	return nil
}

func (d *daemon) alive() bool {
	select {
	case <-d.exited:
		return false
	default:
		return true
	}
}

func (d *daemon) lastWords() string {
	b, err := os.ReadFile(filepath.Join(d.dir, "log"))
	if err != nil {
		return err.Error()
	}
	return tail(string(b), 800)
}

// stop ends dockerd, which stops its containers first, and clears what it leaves.
func (d *daemon) stop() error {
	err := d.sweep()
	select {
	case <-d.exited:
	case <-time.After(10 * time.Second):
	}
	if !d.keep {
		err = errors.Join(err, os.RemoveAll(d.dir))
	}
	return errors.Join(err, d.lock.Close())
}
