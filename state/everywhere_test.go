package state_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/embed"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/state"
	"slipway.dev/slipway/state/statetest"
)

// everywhere runs a test on an embedded etcd and on one that is reached over a socket: what holds of live state
// holds of both.
func everywhere(t *testing.T, f func(*testing.T, *state.Client)) {
	t.Parallel()
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		f(t, statetest.New(t))
	})
	t.Run("cluster", func(t *testing.T) {
		t.Parallel()
		s, err := onCluster()
		must(t, err)
		f(t, s.ClientAt(fmt.Sprintf("/test-%d", places.Add(1))))
	})
}

var places atomic.Int64

// atEnd ends what the tests share.
var atEnd []func()

// onCluster is one live state on an etcd outside, for all tests.
var onCluster = sync.OnceValues(func() (*state.Store, error) {
	dir, err := os.MkdirTemp("", "slipway-cluster-")
	if err != nil {
		return nil, err
	}
	atEnd = append(atEnd, func() { os.RemoveAll(dir) })
	e, endpoint, err := startCluster(dir)
	if err != nil {
		return nil, err
	}
	atEnd = append(atEnd, e.Close)
	s, err := state.Open(context.Background(), state.Options{Endpoints: []string{endpoint}, KeyFile: filepath.Join(dir, "seal.key"),
		Default: api.Default, Validate: api.Validate, ValidateUpdate: api.ValidateUpdate})
	if err == nil {
		atEnd = append(atEnd, s.Close)
	}
	return s, err
})

func TestMain(m *testing.M) {
	code := m.Run()
	for i := len(atEnd) - 1; i >= 0; i-- {
		atEnd[i]()
	}
	os.Exit(code)
}

func startCluster(dir string) (*embed.Etcd, string, error) {
	cfg := embed.NewConfig()
	cfg.Dir, cfg.LogLevel = filepath.Join(dir, "etcd"), "fatal"
	cfg.UnsafeNoFsync = true
	cfg.TickMs, cfg.ElectionMs = 20, 100
	client := url.URL{Scheme: "unix", Path: filepath.Join(dir, "c.sock")}
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	cfg.ListenPeerUrls = nil
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		return nil, "", err
	}
	select {
	case <-e.Server.ReadyNotify():
		return e, client.String(), nil
	case <-time.After(30 * time.Second):
		e.Close()
		return nil, "", errors.New("etcd does not start")
	}
}
