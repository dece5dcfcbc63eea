package nodeapi

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/state/nodecert"
)

// Options is what a Server is made from.
type Options struct {
	// Client reads and writes live state; required.
	Client client.WithWatch
	// Authority signs certificates; required.
	Authority *nodecert.Authority
	// Cluster is told to every node.
	Cluster nodecert.Cluster
	// Images answers pulls from the integrated registry; nil: there is none.
	Images http.Handler
	// Servers answers whatever other servers ask, which show the certificate of one; nil: nothing.
	Servers http.Handler
	// Log default: nothing is logged.
	Log *slog.Logger
	// Pace is how many requests a second a node may make for long; default DefaultPace.
	Pace float64
	// Now is the clock; default time.Now.
	Now func() time.Time
}

// Server serves the node API.
type Server struct {
	Options

	times times
	// strangers holds a value for each request of somebody without a certificate that is under way.
	strangers chan struct{}

	mu       sync.Mutex
	known    map[string]known  // guarded by mu, as all that follows
	uses     map[string]*usage //
	refusals pace              // what is logged of them
	unlogged int
}

// New makes a Server.
func New(o Options) (*Server, error) {
	if o.Client == nil || o.Authority == nil {
		return nil, errors.New("nodeapi: Client and Authority are needed")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Pace == 0 {
		o.Pace = DefaultPace
	}
	o.Client = bounded{o.Client}
	return &Server{Options: o, times: usualTimes, strangers: make(chan struct{}, strangers), known: map[string]known{}, uses: map[string]*usage{}}, nil
}

// TLS is how the listener of Handler has to be set up.
func (s *Server) TLS() *tls.Config { return s.Authority.Serving(s.Now) }

// Handler serves the API. The connection must be one of TLS.
func (s *Server) Handler() http.Handler {
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	e.Use(gin.CustomRecoveryWithWriter(io.Discard, func(c *gin.Context, err any) {
		s.Log.Error("a node's request panicked", "path", c.Request.URL.Path, "error", err)
		c.AbortWithStatus(http.StatusInternalServerError)
	}))
	e.POST("/slipway/v1/nodes/:name/certificate", s.certificate)
	e.Any("/api/*path", s.objects)
	e.Any("/apis/*path", s.objects)
	e.Any("/v2", s.images)
	e.Any("/v2/*path", s.images)
	e.NoRoute(func(c *gin.Context) {
		if _, err := s.identify(c.Request); err != nil {
			s.fail(c, err)
			return
		}
		s.fail(c, apierrors.NewNotFound(schema.GroupResource{}, c.Request.URL.Path))
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.Servers != nil && s.ofServer(r) {
			s.Servers.ServeHTTP(w, r)
			return
		}
		e.ServeHTTP(w, r)
	})
}

// ofServer says whether another server asks.
func (s *Server) ofServer(r *http.Request) bool {
	return r.TLS != nil && len(r.TLS.PeerCertificates) > 0 && s.Authority.IsServer(r.TLS.PeerCertificates[0], s.Now()) == nil
}

// fail answers with the Status that an error is, or with an internal error.
func (s *Server) fail(c *gin.Context, err error) {
	if c.Request.Context().Err() != nil {
		c.AbortWithStatus(http.StatusRequestTimeout) // whoever asked has gone, or was too slow
		return
	}
	status := s.statusOf(c.Request.URL.Path, err)
	switch status.Code {
	case http.StatusForbidden, http.StatusUnauthorized, http.StatusTooManyRequests:
		s.tell(c, status.Message)
	}
	if d := status.Details; d != nil && d.RetryAfterSeconds > 0 {
		c.Header("Retry-After", strconv.Itoa(int(d.RetryAfterSeconds)))
	}
	status.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
	c.AbortWithStatusJSON(int(status.Code), status)
}

// tell writes a refusal to the log, unless there are too many of them: whoever is refused is not to fill the disk.
func (s *Server) tell(c *gin.Context, why string) {
	s.mu.Lock()
	ok, unlogged := s.refusals.take(s.Now(), 1, refusalPace, refusalSaving), s.unlogged
	if ok {
		s.unlogged = 0
	} else {
		s.unlogged++
	}
	s.mu.Unlock()
	if ok {
		s.Log.Info("a node is refused", "from", c.Request.RemoteAddr, "method", c.Request.Method, "path", c.Request.URL.Path, "why", why, "unlogged", unlogged)
	}
}

func (s *Server) statusOf(path string, err error) metav1.Status {
	var known apierrors.APIStatus
	if errors.As(err, &known) {
		return known.Status()
	}
	if !errors.Is(err, context.Canceled) {
		s.Log.Error("the node API failed", "path", path, "error", err)
	}
	return apierrors.NewInternalError(err).Status()
}
