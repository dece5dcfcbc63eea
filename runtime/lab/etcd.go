package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
)

// The ports of a member of the etcd cluster, for servers and for the other members.
const (
	etcdPort = 2379
	peerPort = 2380
)

// members are the hosts that run etcd: none where the one server has its own, otherwise an odd number, three
// where there are as many hosts, so that one may be lost.
func (o *Options) members() int {
	if o.Servers < 2 {
		return 0
	}
	n := min(max(o.Servers, 3), o.Nodes)
	return n - 1 + n%2
}

func (l *Lab) members() []*Host {
	var out []*Host
	for i := range l.Hosts {
		if l.Hosts[i].Member {
			out = append(out, &l.Hosts[i])
		}
	}
	return out
}

// endpoints are where servers find etcd; empty: they have their own.
func (l *Lab) endpoints() string {
	var out []string
	for _, m := range l.members() {
		out = append(out, "http://"+netip.AddrPortFrom(m.Address, etcdPort).String())
	}
	return strings.Join(out, ",")
}

// StartEtcd starts the host's member of the etcd cluster, and waits until it answers. It does so only when most
// members run.
func (h *Host) StartEtcd(ctx context.Context) error {
	if err := h.launchEtcd(); err != nil {
		return err
	}
	return h.awaitEtcd(ctx)
}

func (h *Host) launchEtcd() error {
	if err := h.guard(); err != nil {
		return err
	}
	var peers []string
	for _, m := range h.lab.members() {
		peers = append(peers, m.Name+"="+m.Address.String())
	}
	return h.launch(Etcd, h.lab.Program, "lab", "etcd", "--data-dir", filepath.Join(h.dir(), "etcd"), "--member", h.Name, "--peers", strings.Join(peers, ","))
}

func (h *Host) awaitEtcd(ctx context.Context) error {
	return h.await(ctx, Etcd, func() error {
		return h.Do(func() error {
			c, err := net.DialTimeout("tcp", netip.AddrPortFrom(h.Address, etcdPort).String(), time.Second)
			if err != nil {
				return err
			}
			return c.Close()
		})
	})
}

// ServeEtcd runs a member of a lab's etcd cluster until ctx ends. peers are all members, as NAME=ADDRESS. Writes
// are left to the kernel: a lab's hosts go with the machine.
func ServeEtcd(ctx context.Context, dir, member string, peers []string) error {
	cfg := embed.NewConfig()
	cfg.Name, cfg.Dir, cfg.LogLevel, cfg.UnsafeNoFsync, cfg.EnableGRPCGateway = member, dir, "warn", true, false
	var cluster []string
	own := ""
	for _, p := range peers {
		name, address, ok := strings.Cut(p, "=")
		if _, err := netip.ParseAddr(address); !ok || err != nil {
			return fmt.Errorf("--peers %q: want NAME=ADDRESS", p)
		}
		if name == member {
			own = address
		}
		peer := etcdURL(address, peerPort)
		cluster = append(cluster, name+"="+peer.String())
	}
	if own == "" {
		return fmt.Errorf("--member %q: --peers does not name it", member)
	}
	cfg.ListenClientUrls, cfg.ListenPeerUrls = []url.URL{etcdURL(own, etcdPort)}, []url.URL{etcdURL(own, peerPort)}
	cfg.AdvertiseClientUrls, cfg.AdvertisePeerUrls = cfg.ListenClientUrls, cfg.ListenPeerUrls
	cfg.InitialCluster = strings.Join(cluster, ",")
	etcd, err := embed.StartEtcd(cfg)
	if err != nil {
		return fmt.Errorf("etcd member %s: %w", member, err)
	}
	defer etcd.Close()
	select {
	case <-ctx.Done():
		return nil
	case err := <-etcd.Err():
		return fmt.Errorf("etcd member %s: %w", member, err)
	case <-etcd.Server.StopNotify():
		return errors.New("etcd member " + member + ": stopped")
	}
}

func etcdURL(address string, port uint16) url.URL {
	return url.URL{Scheme: "http", Host: net.JoinHostPort(address, fmt.Sprint(port))}
}
