package state

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// How the embedded etcd is tuned: one member without peers, small in memory, quick to elect itself.
const (
	tick          = 20  // ms
	election      = 100 // ms
	snapshotEvery = 2000
	keptEntries   = 200
	quotaBytes    = 1 << 30
	keptRevisions = "5000"
	defragMB      = 64
)

// socketName is the embedded etcd's only listener, below the data directory: a unix socket that, as the
// directory's mode is 0700, only the machine's administrator can open. It is for looking at live state
// and for repairs (`etcdctl --endpoints unix:///…`); this process does not use it.
const socketName = "etcd.sock"

// maxSocketPath is what the kernel allows for a socket's path; below a longer one there is no socket.
const maxSocketPath = 107

// Socket is the endpoint of the embedded etcd that runs on a data directory.
func Socket(dataDir string) string { return "unix://" + filepath.Join(dataDir, socketName) }

// startEmbedded runs a one-member etcd on dir. It opens no network address: the client calls the
// server's functions directly.
func startEmbedded(ctx context.Context, o Options) (*embed.Etcd, error) {
	dir, log := o.DataDir, o.Log
	cfg := embed.NewConfig()
	cfg.Name = "slipway"
	cfg.Dir = filepath.Join(dir, "etcd")
	cfg.ListenPeerUrls, cfg.ListenClientUrls = nil, nil
	if socket := filepath.Join(dir, socketName); len(socket) <= maxSocketPath {
		cfg.ListenClientUrls = []url.URL{{Scheme: "unix", Path: socket}}
	}
	// An address that etcd records for its only member and that nobody ever dials.
	nowhere := url.URL{Scheme: "http", Host: "127.0.0.1:1"}
	cfg.AdvertisePeerUrls, cfg.AdvertiseClientUrls = []url.URL{nowhere}, []url.URL{nowhere}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	cfg.TickMs, cfg.ElectionMs = tick, election
	cfg.SnapshotCount, cfg.SnapshotCatchUpEntries = snapshotEvery, keptEntries
	cfg.MaxSnapFiles, cfg.MaxWalFiles = 2, 2
	cfg.QuotaBackendBytes = quotaBytes
	cfg.AutoCompactionMode, cfg.AutoCompactionRetention = embed.CompactorModeRevision, keptRevisions
	cfg.BootstrapDefragThresholdMegabytes = defragMB
	cfg.WatchProgressNotifyInterval = o.bookmarkEvery
	// A transaction of a hundred objects may take a slow disk longer than the default of 100 ms.
	cfg.WarningApplyDuration = time.Second
	cfg.EnableGRPCGateway = false
	cfg.UnsafeNoFsync = o.NoSync
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.New(slogCore{log.With("component", "etcd")}))

	e, err := embed.StartEtcd(cfg)
	if err != nil {
		return nil, fmt.Errorf("start embedded etcd in %s: %w", cfg.Dir, err)
	}
	select {
	case <-e.Server.ReadyNotify():
		return e, nil
	case err = <-e.Err():
	case <-e.Server.StopNotify():
		err = errors.New("stopped while starting")
	case <-ctx.Done():
		err = ctx.Err()
	}
	e.Close()
	return nil, fmt.Errorf("start embedded etcd in %s: %w", cfg.Dir, err)
}

// slogCore hands etcd's warnings and errors to slog; what is below is of no use to an operator.
type slogCore struct{ log *slog.Logger }

// expected are parts of warnings that every start of an etcd like ours gives: it has no ports to split,
// no users to give tokens to, elects itself at once, learns its storage version late, and after a crash cannot say that it is there,
// which it tries hundreds of times a second, before its log is replayed; and that every stop of its
// socket gives.
var expected = []string{
	"Running http and grpc server on single port",
	"simple token is not cryptographically signed",
	"cannot campaign at term",
	"failed to publish local member to cluster",
	"detect schema version",
	"failed to update storage version",
	"setting up serving from embedded etcd failed",
	"insecure grpc server due to error",
}

func (slogCore) Enabled(l zapcore.Level) bool { return l >= zapcore.WarnLevel }
func (c slogCore) Sync() error                { return nil }

func (c slogCore) With(fields []zapcore.Field) zapcore.Core {
	return slogCore{c.log.With(attrs(fields)...)}
}

func (c slogCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	for _, part := range expected {
		if strings.Contains(e.Message, part) {
			return ce
		}
	}
	if c.Enabled(e.Level) {
		return ce.AddCore(e, c)
	}
	return ce
}

func (c slogCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	level := slog.LevelWarn
	if e.Level >= zapcore.ErrorLevel {
		level = slog.LevelError
	}
	c.log.Log(context.Background(), level, e.Message, attrs(fields)...)
	return nil
}

func attrs(fields []zapcore.Field) []any {
	enc := zapcore.NewMapObjectEncoder()
	for _, f := range fields {
		f.AddTo(enc)
	}
	out := make([]any, 0, 2*len(enc.Fields))
	for k, v := range enc.Fields {
		out = append(out, k, v)
	}
	return out
}
