package dashboard

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/gin-gonic/gin"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
)

// LogSource reads what containers and builds wrote. Errors that are API statuses
// (NotFound, BadRequest) reach the asker as such. The caller closes what it is given.
type LogSource interface {
	// PodLogs reads one container's log; opts.Container is set.
	PodLogs(ctx context.Context, namespace, pod string, opts *corev1.PodLogOptions) (io.ReadCloser, error)
	// BuildLogs reads a build's log; with follow until the build ends.
	BuildLogs(ctx context.Context, namespace, build string, follow bool) (io.ReadCloser, error)
}

// Options is what a Dashboard is made from.
type Options struct {
	// Client reads live state; required.
	Client client.WithWatch
	// Logs reads logs; nil: there are none to read.
	Logs LogSource
	// Metrics measures pods and nodes; nil: nothing is measured.
	Metrics MetricsSource
	// Version of Slipway, shown at the foot of pages.
	Version string
	// RouterURL and RouterTLSURL are where the router answers, such as http://127.0.0.1:8080:
	// links to routes take scheme and port from them. Default: http and https, at their usual ports.
	RouterURL, RouterTLSURL string
	// Machine is an address, besides loopback ones, that may connect to pods; invalid: there is none.
	Machine netip.Addr
	// Log default: nothing is logged.
	Log *slog.Logger
	// Now is the clock; default time.Now.
	Now func() time.Time
}

// Dashboard serves the API and the pages.
type Dashboard struct {
	Options
	views []*view
	live  *live
}

// New makes a Dashboard.
func New(o Options) *Dashboard {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	d := &Dashboard{Options: o, live: newLive(o.Client, o.Log)}
	for _, k := range api.Kinds() {
		d.views = append(d.views, viewOf(k))
	}
	d.views = append(d.views, namespaces())
	return d
}

// Register mounts the API (/api, /apis) and the pages (/) on an engine or group that is
// served from the root. Routes of others below the same paths, such as those of webhooks,
// are left room.
func (d *Dashboard) Register(r gin.IRouter) {
	r = r.Group("", harmless)
	d.registerDiscovery(r)
	for _, v := range d.views {
		d.registerView(r, v)
	}
	d.registerLogs(r)
	d.registerMetrics(r)
	d.registerPortForward(r)
	d.registerReviews(r)
	d.registerPages(r)
}

// harmless keeps browsers from taking an answer for something else than it is.
func harmless(c *gin.Context) {
	h := c.Writer.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
}

// registerView mounts the paths of one kind.
func (d *Dashboard) registerView(r gin.IRouter, v *view) {
	list, get := d.list(v), d.get(v)
	base := v.base()
	paths := map[string]gin.HandlerFunc{base + "/" + v.Resource: list}
	switch {
	case v.Kind.Kind == "Namespace":
		paths[base+"/namespaces/:namespace"] = get
	case v.Namespaced:
		paths[base+"/namespaces/:namespace/"+v.Resource] = list
		paths[base+"/namespaces/:namespace/"+v.Resource+"/:name"] = get
	default:
		paths[base+"/"+v.Resource+"/:name"] = get
	}
	for path, handler := range paths {
		r.GET(path, handler)
		for _, verb := range []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
			r.Handle(verb, path, refuseWrite)
		}
	}
}
