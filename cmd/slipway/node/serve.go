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
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/cmd/slipway/measured"
	"slipway.dev/slipway/state/loop"
)

// DefaultListen is where a node answers servers.
const DefaultListen = ":7083"

// maxQuestion bounds the body of a request, in bytes.
const maxQuestion = 64 << 10

// answer answers servers, which prove themselves by their certificate, and nobody else: with logs and
// with what is measured.
func (r *running) answer(ctx context.Context) error {
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	e.Use(gin.CustomRecoveryWithWriter(io.Discard, func(c *gin.Context, err any) {
		r.Log.Error("a server's request panicked", "path", c.Request.URL.Path, "error", err)
		c.AbortWithStatus(http.StatusInternalServerError)
	}))
	e.POST("/v1/logs/:namespace/:pod", r.logs)
	e.POST("/v1/metrics/pods", func(c *gin.Context) {
		pods, err := measured.Pods(c.Request.Context(), r.agent)
		tell(c, pods, err)
	})
	e.POST("/v1/metrics/node", func(c *gin.Context) {
		n, err := measured.Node(c.Request.Context(), r.agent)
		tell(c, []api.NodeMetrics{n}, err)
	})
	s := &http.Server{Handler: e, ReadHeaderTimeout: headerTime, BaseContext: func(net.Listener) context.Context { return ctx }}
	defer context.AfterFunc(ctx, func() { s.Close() })()
	if err := s.Serve(tls.NewListener(r.servers, r.identity.Answering())); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func tell(c *gin.Context, what any, err error) {
	if err != nil {
		refuse(c, err)
		return
	}
	c.JSON(http.StatusOK, what)
}

func refuse(c *gin.Context, err error) {
	var known apierrors.APIStatus
	if !errors.As(err, &known) {
		known = apierrors.NewInternalError(err)
	}
	status := known.Status()
	c.AbortWithStatusJSON(int(status.Code), status)
}

// logs sends the log of a pod's container, as it comes.
func (r *running) logs(c *gin.Context) {
	var o corev1.PodLogOptions
	c.Request.Body = http.MaxBytesReader(c.Writer, c.Request.Body, maxQuestion)
	if err := c.ShouldBindJSON(&o); err != nil {
		refuse(c, apierrors.NewBadRequest(err.Error()))
		return
	}
	ctx := c.Request.Context()
	in, err := r.agent.Logs(ctx, types.NamespacedName{Namespace: c.Param("namespace"), Name: c.Param("pod")}, o.Container, o)
	if err != nil {
		refuse(c, err)
		return
	}
	defer in.Close()
	defer context.AfterFunc(ctx, func() { _ = in.Close() })()
	c.Writer.WriteHeader(http.StatusOK)
	c.Writer.Flush()
	for buffer := make([]byte, 32<<10); ; {
		n, err := in.Read(buffer)
		if n > 0 {
			if _, err := c.Writer.Write(buffer[:n]); err != nil {
				return
			}
			c.Writer.Flush()
		}
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			// Whoever reads is to see that this is not all.
			panic(http.ErrAbortHandler)
		}
	}
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
			_, text, err := net.SplitHostPort(r.servers.Addr().String())
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
