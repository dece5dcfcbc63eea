package node

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"

	"github.com/gin-gonic/gin"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/cmd/slipway/answers"
	"slipway.dev/slipway/state/loop"
)

// DefaultListen is where a node answers servers.
const DefaultListen = ":7083"

// answer answers servers, which prove themselves by their certificate, and nobody else: with logs and
// with what is measured.
func (r *running) answer(ctx context.Context) error {
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	e.Use(gin.CustomRecoveryWithWriter(io.Discard, func(c *gin.Context, err any) {
		r.Log.Error("a server's request panicked", "path", c.Request.URL.Path, "error", err)
		c.AbortWithStatus(http.StatusInternalServerError)
	}))
	answers.Register(e, r.agent)
	s := &http.Server{Handler: e, ReadHeaderTimeout: headerTime, BaseContext: func(net.Listener) context.Context { return ctx }}
	defer context.AfterFunc(ctx, func() { s.Close() })()
	if err := s.Serve(tls.NewListener(r.answers, r.identity.Answering())); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// endpoint keeps in the Node's status where the node answers.
func (r *running) endpoint() loop.Controller {
	name := r.identity.Settings().Name
	return loop.Controller{
		Name: "node-endpoint",
		Watches: []loop.Watch{{List: &corev1.NodeList{}, Keys: func(o client.Object) []loop.Key {
			if o.GetName() != name {
				return nil
			}
			return []loop.Key{{Name: name}}
		}}},
		Reconcile: func(ctx context.Context, key loop.Key) (loop.Result, error) {
			_, text, err := net.SplitHostPort(r.answers.Addr().String())
			if err != nil {
				return loop.Result{}, err
			}
			port, err := strconv.ParseInt(text, 10, 32)
			if err != nil {
				return loop.Result{}, err
			}
			var n corev1.Node
			if err := r.mirror.Get(ctx, key, &n); err != nil || n.Status.DaemonEndpoints.KubeletEndpoint.Port == int32(port) {
				return loop.Result{}, client.IgnoreNotFound(err)
			}
			next := n.DeepCopy()
			next.Status.DaemonEndpoints.KubeletEndpoint.Port = int32(port)
			return loop.Result{}, r.mirror.Status().Patch(ctx, next, client.MergeFrom(&n))
		},
	}
}
