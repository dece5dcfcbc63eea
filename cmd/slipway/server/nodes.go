package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"slipway.dev/slipway/state"
	"slipway.dev/slipway/state/nodeapi"
	"slipway.dev/slipway/state/nodecert"
)

// openNodes reads who signs the certificates of nodes, if there are to be any.
func (s *server) openNodes(ctx context.Context) (err error) {
	if s.nodes == nil {
		return nil
	}
	if s.authority, err = nodeapi.OpenAuthority(ctx, s.client, time.Now()); err != nil {
		return err
	}
	s.far = newFar(s.client, s.cfg.Node, s.authority, s.log)
	return nil
}

// serveNodes answers nodes at --node-listen until ctx ends; without that there are none to answer.
func (s *server) serveNodes(ctx context.Context) error {
	if s.nodes == nil {
		return nil
	}
	api, err := nodeapi.New(nodeapi.Options{
		Client: s.client, Authority: s.authority, Images: s.images(), Servers: s.forServers(), Log: s.log,
		Cluster: nodecert.Cluster{
			ClusterNetwork: s.cfg.clusterNetwork.String(), ServiceNetwork: s.cfg.serviceNetwork.String(),
			FlatNetwork: s.cfg.FlatNetwork, Registry: s.cfg.Registry,
		},
	})
	if err != nil {
		return err
	}
	s.log.Info("nodes may join", "api", "https://"+s.nodes.Addr().String(), "authority", s.authority.Hash())
	return serveHTTP(ctx, tls.NewListener(s.nodes, api.TLS()), api.Handler())
}

// images are those of the registry, and those that only another server has.
func (s *server) images() http.Handler {
	own := s.parts.registry.Handler()
	if s.far == nil {
		return own
	}
	return others{s.far, s.log}.images(own)
}

// NodeToken makes a token that nodes join with, in live state, through the administrator's
// socket of the server that runs on a data directory: git is the only way in, and who may read that folder is its
// administrator already. servers says where its node API listens.
func NodeToken(ctx context.Context, dataDir string, ttl time.Duration) (token, server string, err error) {
	c, store, err := openRunning(ctx, dataDir)
	if err != nil {
		return "", "", err
	}
	defer store.Close()
	if c.NodeListen == "" {
		return "", "", errors.New("the server takes no nodes: start it with --node-listen ADDRESS:PORT")
	}
	authority, err := nodeapi.OpenAuthority(ctx, store.Client(), time.Now())
	if err != nil {
		return "", "", err
	}
	t, err := nodeapi.NewToken(ctx, store.Client(), authority, time.Now(), ttl)
	return t.String(), nodeURL(c.NodeListen), err
}

// nodeURL is where nodes find the server; where it listens everywhere, only its administrator knows how others
// reach it.
func nodeURL(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "https://" + listen
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "SERVER"
	}
	return "https://" + net.JoinHostPort(host, port)
}

// RevokeNodeTokens ends all tokens, and says how many there were.
func RevokeNodeTokens(ctx context.Context, dataDir string) (int, error) {
	_, store, err := openRunning(ctx, dataDir)
	if err != nil {
		return 0, err
	}
	defer store.Close()
	return nodeapi.RevokeTokens(ctx, store.Client())
}

// RemoveNode shuts a node out.
func RemoveNode(ctx context.Context, dataDir, name string) error {
	_, store, err := openRunning(ctx, dataDir)
	if err != nil {
		return err
	}
	defer store.Close()
	return nodeapi.Remove(ctx, store.Client(), name)
}

// openRunning opens the live state of the server that runs on a data directory, as its
// administrator. The caller closes the Store.
func openRunning(ctx context.Context, dataDir string) (*Config, *state.Store, error) {
	c, err := load(dataDir)
	if err != nil {
		return nil, nil, err
	}
	o := state.Options{Endpoints: c.Etcd, KeyFile: filepath.Join(c.stateDir(), "seal.key"), Log: slog.New(slog.DiscardHandler)}
	if len(o.Endpoints) == 0 {
		conn, err := net.Dial("unix", strings.TrimPrefix(state.Socket(c.stateDir()), "unix://"))
		if err != nil {
			return nil, nil, fmt.Errorf("no server runs on the data directory %s: %w", dataDir, err)
		}
		conn.Close()
		o.Endpoints = []string{state.Socket(c.stateDir())}
	}
	store, err := state.Open(ctx, o)
	if err != nil {
		return nil, nil, fmt.Errorf("live state of %s: %w", dataDir, err)
	}
	return c, store, nil
}
