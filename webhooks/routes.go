package webhooks

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	buildv1 "github.com/openshift/api/build/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Builder starts builds.
type Builder interface {
	// Instantiate makes the next Build of a BuildConfig. Of req it heeds Revision,
	// TriggeredBy, Env and DockerStrategyOptions. An error that is a Kubernetes status
	// is the caller's answer.
	Instantiate(ctx context.Context, config types.NamespacedName, req *buildv1.BuildRequest) (*buildv1.Build, error)
}

// Refresher looks at a GitRepository now.
type Refresher interface {
	Refresh(repository types.NamespacedName)
}

// Deps is what the hooks need.
type Deps struct {
	Client    client.Reader
	Builder   Builder
	Refresher Refresher
	Log       *slog.Logger
}

// MaxBody bounds the body of a call, in bytes.
const MaxBody = 1 << 20

// bodyTimeout is how long a caller may take to send it.
const bodyTimeout = 10 * time.Second

type hooks struct {
	Deps
	seen *deliveries
}

// Register adds the hooks' routes.
func Register(r gin.IRouter, d Deps) {
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	h := &hooks{Deps: d, seen: newDeliveries(maxDeliveries)}
	for _, group := range []string{"/oapi/v1", "/apis/build.openshift.io/v1"} {
		r.POST(group+"/namespaces/:namespace/buildconfigs/:name/webhooks/:secret/:type", h.build)
	}
	r.POST("/hooks/git/:namespace/:name", h.repository)
}

var errTooLarge = errors.New("the body is larger than 1 MB")

// body reads the request's body, unless it says or turns out that it is too large.
func body(c *gin.Context) ([]byte, error) {
	if c.Request.ContentLength > MaxBody {
		return nil, errTooLarge
	}
	// Where the connection has no deadlines (a test's recorder) there is none to set.
	deadlines := http.NewResponseController(c.Writer)
	if deadlines.SetReadDeadline(time.Now().Add(bodyTimeout)) == nil {
		defer func() { _ = deadlines.SetReadDeadline(time.Time{}) }()
	}
	content, err := io.ReadAll(http.MaxBytesReader(c.Writer, c.Request.Body, MaxBody))
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return nil, errTooLarge
	}
	return content, err
}
