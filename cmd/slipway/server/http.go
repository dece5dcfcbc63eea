package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"time"

	"github.com/gin-gonic/gin"
	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/version"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/dashboard"
	"slipway.dev/slipway/sources/gitserver"
	"slipway.dev/slipway/webhooks"
)

// kubeMinor is the minor version of Kubernetes whose reading API is served, as far as
// kubectl cares.
const kubeMinor = "32"

// apiHandler is the one listener of what people and git hosts talk to.
func (s *server) apiHandler() (http.Handler, error) {
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	e.Use(gin.CustomRecoveryWithWriter(io.Discard, func(c *gin.Context, err any) {
		s.log.Error("a request panicked", "path", c.Request.URL.Path, "error", err)
		c.AbortWithStatus(http.StatusInternalServerError)
	}))
	e.Use(onlyLoopbackHosts(s.cfg.Listen))
	e.GET("/livez", func(c *gin.Context) { c.String(http.StatusOK, "ok\n") })
	e.GET("/readyz", s.readyz)
	e.GET("/version", func(c *gin.Context) {
		c.JSON(http.StatusOK, version.Info{Major: "1", Minor: kubeMinor, GitVersion: "v1." + kubeMinor + ".0+slipway-" + s.cfg.Version, Platform: runtime.GOOS + "/" + runtime.GOARCH, GoVersion: runtime.Version()})
	})
	e.GET("/slipway/v1/diff", preview(s.parts.reconciler))
	e.POST("/slipway/v1/diff", previewUpload(s.parts.reconciler))
	e.GET("/slipway/v1/plan", pending(s.parts.reconciler))
	e.GET("/slipway/v1/explain", explain(s.client))
	e.GET("/slipway/v1/beside", beside(s.parts.reconciler))
	(&overrides{client: s.client, events: s.events, log: s.log, now: time.Now}).register(e)
	webhooks.Register(e, webhooks.Deps{Client: s.client, Builder: s.parts.builds, Refresher: refresher{s}, Log: s.log})
	pages := dashboard.New(dashboard.Options{
		Client: s.client, Logs: logs{s}, Metrics: metrics{s}, Version: s.cfg.Version, Log: s.log, Machine: s.cfg.machine,
		RouterURL: "http://" + s.parts.router.HTTPAddr().String(), RouterTLSURL: "https://" + s.parts.router.HTTPSAddr().String(),
	})
	pages.Register(e)
	if err := s.registerExec(e); err != nil {
		return nil, err
	}
	e.NoRoute(pages.NotFound)
	if s.cfg.GitRoot != "" {
		git, err := gitserver.New(gitserver.Options{Root: s.cfg.GitRoot, Prefix: "/git", Log: s.log})
		if err != nil {
			return nil, err
		}
		e.Any("/git/*path", gin.WrapH(git))
	}
	return e, nil
}

// readyTimeout bounds the look at all parts.
const readyTimeout = 2 * time.Second

func (s *server) readyz(c *gin.Context) {
	ctx, cancel := context.WithTimeout(c.Request.Context(), readyTimeout)
	defer cancel()
	_, verbose := c.GetQuery("verbose")
	code, text := http.StatusOK, ""
	for _, check := range []struct {
		name string
		look func(context.Context) error
	}{{"live state", s.store.Healthy}, {"router", s.routerReady}, {"node", s.nodeReady}} {
		if err := check.look(ctx); err != nil {
			code = http.StatusServiceUnavailable
			text += fmt.Sprintf("[-] %s: %v\n", check.name, err)
		} else if verbose {
			text += fmt.Sprintf("[+] %s ok\n", check.name)
		}
	}
	if text == "" {
		text = "ok\n"
	}
	c.String(code, "%s", text)
}

func (s *server) routerReady(context.Context) error {
	if !s.parts.router.Ready() {
		return errors.New("the routes have not been read yet")
	}
	return nil
}

func (s *server) nodeReady(ctx context.Context) error {
	var n corev1.Node
	if err := s.client.Get(ctx, types.NamespacedName{Name: s.cfg.Node}, &n); err != nil {
		return err
	}
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue {
			return nil
		}
	}
	return fmt.Errorf("%s is not ready", s.cfg.Node)
}

// logs are the logs of what runs on this node and on those that joined.
type logs struct{ s *server }

func (l logs) PodLogs(ctx context.Context, ns, pod string, o *corev1.PodLogOptions) (io.ReadCloser, error) {
	var live corev1.Pod
	if err := l.s.client.Get(ctx, types.NamespacedName{Namespace: ns, Name: pod}, &live); err != nil {
		return nil, err
	}
	if n := live.Spec.NodeName; n != "" && n != l.s.cfg.Node {
		return l.s.far.logs(ctx, n, ns, pod, o)
	}
	return l.s.parts.agent.Logs(ctx, types.NamespacedName{Namespace: ns, Name: pod}, o.Container, *o)
}

func (l logs) BuildLogs(ctx context.Context, ns, build string, follow bool) (io.ReadCloser, error) {
	var live buildv1.Build
	if err := l.s.client.Get(ctx, types.NamespacedName{Namespace: ns, Name: build}, &live); err != nil {
		return nil, err
	}
	if n := live.Annotations[api.NodeAnnotation]; n != "" && n != l.s.cfg.Node {
		return l.s.far.buildLogs(ctx, n, ns, build, follow)
	}
	return l.s.parts.builder.Logs(ctx, types.NamespacedName{Namespace: ns, Name: build}, follow)
}
