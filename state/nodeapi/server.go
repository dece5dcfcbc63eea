package nodeapi

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net/http"
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
	// Log default: nothing is logged.
	Log *slog.Logger
	// Now is the clock; default time.Now.
	Now func() time.Time
}

// Server serves the node API.
type Server struct {
	Options

	mu    sync.Mutex
	known map[string]known // guarded by mu
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
	return &Server{Options: o, known: map[string]known{}}, nil
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
	return e
}

// fail answers with the Status that an error is, or with an internal error.
func (s *Server) fail(c *gin.Context, err error) {
	if c.Request.Context().Err() != nil {
		c.Abort()
		return
	}
	status := s.statusOf(c.Request.URL.Path, err)
	if status.Code == http.StatusForbidden || status.Code == http.StatusUnauthorized {
		s.Log.Info("a node is refused", "from", c.Request.RemoteAddr, "method", c.Request.Method, "path", c.Request.URL.Path, "why", status.Message)
	}
	status.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
	c.AbortWithStatusJSON(int(status.Code), status)
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
