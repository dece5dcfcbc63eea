// Package answers answers servers that ask what runs on a host: on a node that joined, and on a server
// that another one asks.
package answers

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/cmd/slipway/measured"
	"slipway.dev/slipway/runtime"
)

// maxQuestion bounds the body of a request, in bytes.
const maxQuestion = 64 << 10

// Register answers with the logs of an agent's pods and with what it measures, and runs commands in them. Who may ask, the caller sees to.
func Register(r gin.IRouter, a *runtime.Agent) {
	r.POST("/v1/logs/:namespace/:pod", func(c *gin.Context) { logs(c, a) })
	r.GET("/v1/exec/:namespace/:pod", func(c *gin.Context) { exec(c, a) })
	r.POST("/v1/metrics/pods", func(c *gin.Context) {
		pods, err := measured.Pods(c.Request.Context(), a)
		tell(c, pods, err)
	})
	r.POST("/v1/metrics/node", func(c *gin.Context) {
		n, err := measured.Node(c.Request.Context(), a)
		tell(c, []api.NodeMetrics{n}, err)
	})
}

func tell(c *gin.Context, what any, err error) {
	if err != nil {
		Refuse(c, err)
		return
	}
	c.JSON(http.StatusOK, what)
}

// Refuse answers with the Status that an error is.
func Refuse(c *gin.Context, err error) {
	var known apierrors.APIStatus
	if !errors.As(err, &known) {
		known = apierrors.NewInternalError(err)
	}
	status := known.Status()
	c.AbortWithStatusJSON(int(status.Code), status)
}

// logs sends the log of a pod's container.
func logs(c *gin.Context, a *runtime.Agent) {
	var o corev1.PodLogOptions
	c.Request.Body = http.MaxBytesReader(c.Writer, c.Request.Body, maxQuestion)
	if err := c.ShouldBindJSON(&o); err != nil {
		Refuse(c, apierrors.NewBadRequest(err.Error()))
		return
	}
	in, err := a.Logs(c.Request.Context(), types.NamespacedName{Namespace: c.Param("namespace"), Name: c.Param("pod")}, o.Container, o)
	if err != nil {
		Refuse(c, err)
		return
	}
	Stream(c, in)
}

// Stream sends all that is read, as it comes, and closes it.
func Stream(c *gin.Context, in io.ReadCloser) {
	defer in.Close()
	defer context.AfterFunc(c.Request.Context(), func() { _ = in.Close() })()
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
			// Whoever reads is to see that this is not all: the answer cannot be ended any more.
			_ = http.NewResponseController(c.Writer).SetWriteDeadline(time.Unix(1, 0))
			return
		}
	}
}
