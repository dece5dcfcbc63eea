package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// MaxHosts is how many hosts a lab may have.
const MaxHosts = 50

// Lab is some hosts on this machine.
type Lab struct {
	Dir string
	Log *slog.Logger
	plan
}

// plan is what is written down before anything is made.
type plan struct {
	// ID is in the names of all that is made.
	ID      string
	Hosts   []Host
	Network netip.Prefix
	// ForwardWas is net.ipv4.ip_forward before the lab.
	ForwardWas string
	Program    string
	Up         []string `json:",omitempty"`
	// Disk is the size of each host's own disk in bytes; 0: the hosts use this machine's.
	Disk int64 `json:",omitempty"`
	// Config is the kubeconfig file that was written; MadeDir says that the lab's folder was made, too.
	Config  string `json:",omitempty"`
	MadeDir bool   `json:",omitempty"`
}

// Host is one host.
type Host struct {
	Name    string
	Address netip.Addr
	// Server says that it runs a server, and with it a node; Member that it runs a member of the etcd cluster
	// that the servers share.
	Server bool
	Member bool `json:",omitempty"`

	lab    *Lab
	number int
}

const planFile = "lab.json"

// ErrNone says that there is no lab in a folder.
var ErrNone = errors.New("there is no lab")

// Open finds the lab that has been made in a folder.
func Open(dir string, log *slog.Logger) (*Lab, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(filepath.Join(dir, planFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w in %s", ErrNone, dir)
	}
	if err != nil {
		return nil, err
	}
	l := &Lab{Dir: dir, Log: log}
	if err := json.Unmarshal(data, &l.plan); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, planFile), err)
	}
	if l.ID != idOf(dir) {
		return nil, fmt.Errorf("%s: the lab was made in another folder: move it back", dir)
	}
	l.adopt()
	return l, nil
}

func (l *Lab) adopt() {
	if l.Log == nil {
		l.Log = slog.New(slog.DiscardHandler)
	}
	for i := range l.Hosts {
		l.Hosts[i].lab, l.Hosts[i].number = l, i+1
	}
}

func (l *Lab) save() error {
	data, err := json.MarshalIndent(l.plan, "", "  ")
	if err != nil {
		return err
	}
	part := filepath.Join(l.Dir, planFile+".part")
	if err := os.WriteFile(part, append(data, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(part, filepath.Join(l.Dir, planFile))
}

// outlives is how long a lock may outlive its command: one that is killed while it starts a program leaves
// the lock to that until it is executed, which takes milliseconds.
const outlives = 2 * time.Second

// lock keeps two commands from making and removing the same lab at the same time.
func (l *Lab) lock() (*os.File, error) {
	if _, err := os.Stat(l.Dir); errors.Is(err, fs.ErrNotExist) {
		l.MadeDir = true
	}
	if err := os.MkdirAll(l.Dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(l.Dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for end := time.Now().Add(outlives); ; time.Sleep(10 * time.Millisecond) {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return f, nil
		case !errors.Is(err, syscall.EWOULDBLOCK) || time.Now().After(end):
			return nil, errors.Join(fmt.Errorf("another command works on the lab in %s: %w", l.Dir, err), f.Close())
		}
	}
}

func idOf(dir string) string {
	h := fnv.New32a()
	h.Write([]byte(dir))
	return fmt.Sprintf("%08x", h.Sum32())
}

// Host finds a host by its name.
func (l *Lab) Host(name string) (*Host, error) {
	var names []string
	for i := range l.Hosts {
		if l.Hosts[i].Name == name {
			return &l.Hosts[i], nil
		}
		names = append(names, l.Hosts[i].Name)
	}
	return nil, fmt.Errorf("the lab has no host %q: there are %s", name, strings.Join(names, ", "))
}

// The names of what is made. A link's name has at most 15 characters, and the path of a socket at most 107:
// what has sockets is below /run, whatever the lab's folder is.
func (l *Lab) bridge() string  { return "lab" + l.ID }
func (l *Lab) group() string   { return "slipway-lab-" + l.ID }
func (l *Lab) runDir() string  { return "/run/slipway-lab-" + l.ID }
func (l *Lab) mark() string    { return marker + "=" + l.ID }
func (h *Host) link() string   { return fmt.Sprintf("lab%s-%d", h.lab.ID, h.number) }
func (h *Host) space() string  { return fmt.Sprintf("lab-%s-%s", h.lab.ID, h.Name) }
func (h *Host) dir() string    { return filepath.Join(h.lab.Dir, h.Name) }
func (h *Host) runDir() string { return filepath.Join(h.lab.runDir(), fmt.Sprint(h.number)) }

// Socket is where the host's Docker Engine listens.
func (h *Host) Socket() string { return "unix://" + filepath.Join(h.runDir(), "docker.sock") }

// DataDir is the data directory of the host's server or node.
func (h *Host) DataDir() string { return filepath.Join(h.dir(), "slipway") }

// Machine is this machine's address on the hosts' network.
func (l *Lab) Machine() netip.Addr { return address(l.Network, 254) }

func address(network netip.Prefix, n int) netip.Addr {
	b := network.Addr().As4()
	b[3] = byte(n)
	return netip.AddrFrom4(b)
}
