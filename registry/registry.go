package registry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
)

// Sink is told of every tag that is pushed, after it is durable and before the client
// hears of its success. An error fails the push, and the client will push again; so will
// Walk at the next start. A push may therefore come more than once.
type Sink interface {
	Pushed(ctx context.Context, p Push) error
}

// Push is a tag and the manifest that it names.
type Push struct {
	Repository string
	Tag        string
	// Digest of the manifest, `sha256:…`.
	Digest    string
	MediaType string
	Manifest  []byte
	// Config is the image's configuration; nil for an index.
	Config []byte
	// Size of config and layers, in bytes; 0 for an index.
	Size int64
}

// Options are what a Registry is made of.
type Options struct {
	// Dir holds the store; it is made if it is missing, and used by one process at a time.
	Dir string
	// Sink may be nil.
	Sink Sink
	// Auth decides who may do what; default LocalPolicy.
	Auth Authorizer
	// Log defaults to slog.Default().
	Log *slog.Logger
	// Grace protects what was pushed or asked for so recently that its manifest may
	// still be on the way from Prune, and ends unfinished uploads; default 1 h.
	Grace time.Duration
	// Now defaults to time.Now.
	Now func() time.Time

	disk disk
}

// Registry is the OCI distribution API over a store.
type Registry struct {
	store *store
	gate  *gate
	sink  Sink
	auth  Authorizer
	log   *slog.Logger
	http  http.Handler
}

// New opens the store in Options.Dir. It fails if another process has it open.
func New(o Options) (*Registry, error) {
	if o.Auth == nil {
		o.Auth = LocalPolicy{}
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Grace == 0 {
		o.Grace = time.Hour
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.disk == nil {
		o.disk = osDisk{}
	}
	s, err := openStore(o.Dir, o.disk, o.Now, o.Grace)
	if err != nil {
		return nil, fmt.Errorf("registry: %w", err)
	}
	g, err := newGate(o.Dir, o.disk, o.Now)
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	r := &Registry{store: s, gate: g, sink: o.Sink, auth: o.Auth, log: o.Log}
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	engine.RedirectTrailingSlash = false
	engine.Use(gin.CustomRecoveryWithWriter(nil, r.panicked))
	// Names contain slashes, which gin's patterns cannot take apart: one pattern, and
	// route does the rest.
	engine.Any("/v2", r.serve)
	engine.Any("/v2/*path", r.serve)
	r.http = engine
	return r, nil
}

// Handler serves the API below /v2/.
func (r *Registry) Handler() http.Handler { return r.http }

// BuilderAuth returns the user and password of Slipway's own builders. The password is
// made at the first start and kept in Dir.
func (r *Registry) BuilderAuth() (user, password string) { return Builder, r.gate.password }

// Close lets another process use the store. Requests must have ended.
func (r *Registry) Close() error { return r.store.close() }

// Walk calls f for every tag of every repository, in the order in which the tags were
// pushed: what a Sink missed is made up for. It stops at f's first error.
func (r *Registry) Walk(ctx context.Context, f func(Push) error) error {
	tags, err := r.store.tagsByAge()
	if err != nil {
		return fmt.Errorf("registry: %w", err)
	}
	for _, t := range tags {
		if err := ctx.Err(); err != nil {
			return err
		}
		p, err := r.push(t.repo, t.tag)
		if errors.Is(err, errManifestUnknown) || errors.Is(err, errBlobUnknown) {
			r.log.Warn("registry: tag names an image that is not complete", "repository", t.repo, "tag", t.tag, "error", err)
			continue
		}
		if err != nil {
			return fmt.Errorf("registry: %s:%s: %w", t.repo, t.tag, err)
		}
		if err := f(p); err != nil {
			return err
		}
	}
	return nil
}

// push reads what a Push says of a tag.
func (r *Registry) push(repo, tag string) (Push, error) {
	d, err := r.store.resolveTag(repo, tag)
	if err != nil {
		return Push{}, err
	}
	kept, err := r.store.readManifest(repo, d)
	if err != nil {
		return Push{}, err
	}
	m, err := parseManifest(kept.mediaType, kept.content)
	if err != nil {
		return Push{}, err
	}
	return r.describe(repo, tag, d, m, kept.content)
}

// maxConfig is the largest image configuration that is handed on, in bytes.
const maxConfig = 8 << 20

func (r *Registry) describe(repo, tag string, d digest, m *manifest, content []byte) (Push, error) {
	p := Push{Repository: repo, Tag: tag, Digest: d.String(), MediaType: m.mediaType, Manifest: content, Size: m.size}
	if m.config.zero() {
		return p, nil
	}
	var err error
	p.Config, err = r.store.readBlob(repo, m.config, maxConfig)
	return p, err
}

func (r *Registry) panicked(c *gin.Context, p any) {
	r.fail(c, fmt.Errorf("panic: %v", p))
}
