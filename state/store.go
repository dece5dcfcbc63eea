package state

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.uber.org/zap"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// DefaultPrefix is what every key begins with.
const DefaultPrefix = "/slipway"

// DefaultEventTTL is how long an Event is kept after it was last written.
const DefaultEventTTL = time.Hour

// openTimeout bounds how long opening waits for etcd to answer.
const openTimeout = 30 * time.Second

// Options say where live state is and what every write goes through.
type Options struct {
	// DataDir holds the embedded etcd's files and, unless KeyFile says otherwise, the sealing key.
	// It is created with mode 0700. Required unless Endpoints and KeyFile are given.
	DataDir string
	// Endpoints of an existing etcd cluster; empty: etcd is embedded.
	Endpoints []string
	// TLS for Endpoints; nil: plain text.
	TLS *tls.Config
	// Username and Password for Endpoints, where its authentication is on.
	Username, Password string
	// Prefix of every key; default DefaultPrefix.
	Prefix string
	// KeyFile holds the 32-byte key that Secrets are sealed with. It is made, with mode 0600, at the
	// first start. Servers that share an etcd need the same file. Default DataDir/seal.key.
	KeyFile string
	// NoSync leaves writes of the embedded etcd to the kernel: faster, and a power cut may lose or
	// destroy them. For tests and throw-away data.
	NoSync bool
	// EventTTL is how long Events are kept; default DefaultEventTTL.
	EventTTL time.Duration
	// Default fills in an object's defaults; nil: none. See api.Default.
	Default func(runtime.Object)
	// Validate says what is wrong with an object; nil: nothing. See api.Validate.
	Validate func(runtime.Object) field.ErrorList
	// ValidateUpdate says what is wrong with changing old into new, such as a changed immutable
	// field; nil: nothing. It is called after Validate.
	ValidateUpdate func(newObj, oldObj runtime.Object) field.ErrorList
	// Admit is asked about every object that is about to be made, defaulted but not validated yet; it may change
	// it, and its error is the write's. It reads live state from r. Nil: everything is admitted.
	Admit func(ctx context.Context, r client.Reader, obj client.Object) error
	// Now is the clock; default time.Now.
	Now func() time.Time
	// Log gets warnings; default slog.Default.
	Log *slog.Logger

	// bookmarkEvery is how long a watch is silent before it tells its revision.
	bookmarkEvery time.Duration
}

// Store is an open connection to live state, and the etcd behind it where that is embedded.
type Store struct {
	etcd   *embed.Etcd
	kv     *clientv3.Client
	client *Client
	log    *slog.Logger
	lock   *os.File
	stop   context.CancelFunc
	once   sync.Once
}

// Open starts or connects to etcd and checks that the sealing key is the one that live state was
// written with. The caller closes the Store; ctx bounds only the opening.
func Open(ctx context.Context, o Options) (*Store, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	s := &Store{log: o.Log}
	life, stop := context.WithCancel(context.Background())
	s.stop = stop
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	if err := s.connect(ctx, o); err != nil {
		s.Close()
		return nil, err
	}
	seal, err := openSealer(ctx, s.kv, o.Prefix, o.KeyFile)
	if err != nil {
		s.Close()
		if errors.Is(err, context.DeadlineExceeded) && len(o.Endpoints) > 0 {
			err = fmt.Errorf("etcd at %s does not answer: %w", strings.Join(o.Endpoints, ", "), err)
		}
		return nil, err
	}
	s.client = newClient(life, s.kv, seal, o, s.etcd != nil)
	// The largest of the schemas takes long to read: not the first apply waits for it.
	go func() { _, _ = schemaOf("") }()
	return s, nil
}

func (o *Options) complete() error {
	if o.DataDir == "" && (len(o.Endpoints) == 0 || o.KeyFile == "") {
		return errors.New("state: a data directory is required")
	}
	if o.Prefix == "" {
		o.Prefix = DefaultPrefix
	}
	if o.Prefix = strings.TrimRight(o.Prefix, "/"); !strings.HasPrefix(o.Prefix, "/") {
		return fmt.Errorf("state: prefix %q must begin with a slash and be more than one", o.Prefix)
	}
	if o.KeyFile == "" {
		o.KeyFile = filepath.Join(o.DataDir, "seal.key")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.bookmarkEvery == 0 {
		o.bookmarkEvery = time.Minute
	}
	if o.EventTTL <= 0 {
		o.EventTTL = DefaultEventTTL
	}
	if o.DataDir != "" {
		if err := os.MkdirAll(o.DataDir, 0o700); err != nil {
			return fmt.Errorf("state: make data directory: %w", err)
		}
	}
	return nil
}

func (s *Store) connect(ctx context.Context, o Options) (err error) {
	if len(o.Endpoints) == 0 {
		return s.embed(ctx, o)
	}
	s.kv, err = clientv3.New(clientv3.Config{
		Endpoints: o.Endpoints, TLS: o.TLS, Username: o.Username, Password: o.Password,
		DialTimeout: 5 * time.Second, DialKeepAliveTime: 10 * time.Second, DialKeepAliveTimeout: 5 * time.Second,
		Logger: zap.New(slogCore{o.Log.With("component", "etcd client")}),
	})
	if err != nil {
		return fmt.Errorf("connect to etcd at %s: %w", strings.Join(o.Endpoints, ", "), err)
	}
	return nil
}

func (s *Store) embed(ctx context.Context, o Options) (err error) {
	if s.lock, err = lockDir(ctx, o.DataDir); err != nil {
		return err
	}
	if s.etcd, err = startEmbedded(ctx, o); err != nil {
		return err
	}
	s.kv = v3client.New(s.etcd.Server)
	// Whoever led before was a process that held the lock, and is gone: no need to sit out its lease.
	if _, err = s.kv.Delete(ctx, o.Prefix+"/"+leadSegment+"/", clientv3.WithPrefix()); err != nil {
		return fmt.Errorf("end former leaderships: %w", err)
	}
	return nil
}

// Client reads and writes live state. It may be used from many goroutines.
func (s *Store) Client() *Client { return s.client }

// ClientAt is a client whose objects live below another prefix of the same etcd and are not seen by
// any other. It shares the sealing key.
func (s *Store) ClientAt(prefix string) *Client {
	return s.client.at(prefix)
}

// Healthy is nil when etcd answers a read that all its members agree on.
func (s *Store) Healthy(ctx context.Context) error {
	if _, err := s.kv.Get(ctx, s.client.opts.Prefix+"/"+sealSegment); err != nil {
		return fmt.Errorf("live state does not answer: %w", err)
	}
	return nil
}

// Failed reports an error that the embedded etcd cannot go on after, such as a disk that cannot be
// written; the process should end. Of an etcd elsewhere it is nil: the client connects again by itself.
func (s *Store) Failed() <-chan error {
	if s.etcd == nil {
		return nil
	}
	return s.etcd.Err()
}

// Close ends every watch and lease, and stops the embedded etcd. Closing twice does nothing more.
func (s *Store) Close() { s.once.Do(s.close) }

func (s *Store) close() {
	s.stop()
	if s.kv != nil {
		if err := s.kv.Close(); err != nil && !errors.Is(err, context.Canceled) {
			s.log.Warn("close etcd client", "error", err)
		}
	}
	if s.etcd != nil {
		s.etcd.Close()
	}
	if s.lock != nil {
		s.lock.Close()
	}
}
