package dashboardtest

import (
	"context"
	"io"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	corev1 "k8s.io/api/core/v1"
	apimachineryversion "k8s.io/apimachinery/pkg/version"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/dashboard"
)

// Serve serves a dashboard of a live state until the test ends, as the server does, and
// is the URL.
func Serve(t testing.TB, c client.WithWatch, o dashboard.Options) string {
	t.Helper()
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	o.Client = c
	d := dashboard.New(o)
	d.Register(engine)
	engine.NoRoute(d.NotFound)
	engine.GET("/version", func(c *gin.Context) {
		c.JSON(200, apimachineryversion.Info{Major: "1", Minor: "32", GitVersion: "v1.32.0"})
	})
	server := httptest.NewServer(engine)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return server.URL
}

// Logs is a dashboard.LogSource: what it says for a `project/pod/container` or a
// `project/build`, and with follow also what it says under that key with ` later` after
// it. A reader that follows does not end before its context.
type Logs map[string]string

// PodLogs implements dashboard.LogSource.
func (l Logs) PodLogs(ctx context.Context, namespace, pod string, o *corev1.PodLogOptions) (io.ReadCloser, error) {
	key := namespace + "/" + pod + "/" + o.Container
	text := l[key]
	if o.TailLines != nil {
		lines := strings.SplitAfter(text, "\n")
		text = strings.Join(lines[max(0, len(lines)-1-int(*o.TailLines)):], "")
	}
	return reader(ctx, text, l[key+" later"], o.Follow), nil
}

// BuildLogs implements dashboard.LogSource.
func (l Logs) BuildLogs(ctx context.Context, namespace, build string, follow bool) (io.ReadCloser, error) {
	return reader(ctx, l[namespace+"/"+build], l[namespace+"/"+build+" later"], follow), nil
}

func reader(ctx context.Context, text, later string, follow bool) io.ReadCloser {
	if !follow {
		return io.NopCloser(strings.NewReader(text))
	}
	r, w := io.Pipe()
	go func() {
		_, _ = io.WriteString(w, text+later)
		<-ctx.Done()
		_ = w.Close()
	}()
	return r
}
