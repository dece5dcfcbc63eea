package dashboard

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func (d *Dashboard) registerLogs(r gin.IRouter) {
	r.GET("/api/v1/namespaces/:namespace/pods/:name/log", func(c *gin.Context) {
		o, err := podLogOptions(c)
		if err != nil {
			d.answerError(c, err)
			return
		}
		d.answerLog(c, func(ctx context.Context) (io.ReadCloser, error) {
			return d.podLog(ctx, types.NamespacedName{Namespace: c.Param("namespace"), Name: c.Param("name")}, o)
		})
	})
	r.GET("/apis/"+buildv1.GroupVersion.String()+"/namespaces/:namespace/builds/:name/log", func(c *gin.Context) {
		follow, err := boolean(c, "follow")
		if err != nil {
			d.answerError(c, err)
			return
		}
		d.answerLog(c, func(ctx context.Context) (io.ReadCloser, error) {
			return d.buildLog(ctx, types.NamespacedName{Namespace: c.Param("namespace"), Name: c.Param("name")}, follow)
		})
	})
}

// podLog opens the log of a pod's container, which may be left out where there is only one.
func (d *Dashboard) podLog(ctx context.Context, name types.NamespacedName, o *corev1.PodLogOptions) (io.ReadCloser, error) {
	var pod corev1.Pod
	if err := d.Client.Get(ctx, name, &pod); err != nil {
		return nil, err
	}
	var app, all []string
	for _, c := range pod.Spec.Containers {
		app = append(app, c.Name)
	}
	for _, c := range pod.Spec.InitContainers {
		all = append(all, c.Name)
	}
	all = append(all, app...)
	if o.Container == "" {
		o.Container = pod.Annotations["kubectl.kubernetes.io/default-container"]
	}
	switch {
	case o.Container == "" && len(app) == 1:
		o.Container = app[0]
	case o.Container == "":
		return nil, apierrors.NewBadRequest(fmt.Sprintf("a container name must be specified for pod %s, choose one of: [%s]", name.Name, strings.Join(all, " ")))
	case !slices.Contains(all, o.Container):
		return nil, apierrors.NewBadRequest(fmt.Sprintf("container %s is not valid for pod %s, choose one of: [%s]", o.Container, name.Name, strings.Join(all, " ")))
	}
	if d.Logs == nil {
		return nil, apierrors.NewServiceUnavailable("this server has no logs to read")
	}
	return d.Logs.PodLogs(ctx, name.Namespace, name.Name, o)
}

func (d *Dashboard) buildLog(ctx context.Context, name types.NamespacedName, follow bool) (io.ReadCloser, error) {
	var build buildv1.Build
	if err := d.Client.Get(ctx, name, &build); err != nil {
		return nil, err
	}
	if d.Logs == nil {
		return nil, apierrors.NewServiceUnavailable("this server has no logs to read")
	}
	return d.Logs.BuildLogs(ctx, name.Namespace, name.Name, follow)
}

// answerLog sends a log as it comes. A log that breaks off after its beginning breaks the
// connection off too, so that nobody takes the part for the whole.
func (d *Dashboard) answerLog(c *gin.Context, open func(context.Context) (io.ReadCloser, error)) {
	ctx, cancel := context.WithCancel(c.Request.Context())
	defer cancel()
	in, err := open(ctx)
	if err != nil {
		d.answerError(c, err)
		return
	}
	defer in.Close()
	defer context.AfterFunc(ctx, func() { _ = in.Close() })()
	c.Header("Content-Type", "text/plain; charset=utf-8")
	c.Writer.WriteHeader(http.StatusOK)
	c.Writer.Flush()
	if _, err = io.Copy(flushing{c.Writer}, in); err != nil && ctx.Err() == nil {
		d.Log.Warn("log broke off", "path", c.Request.URL.Path, "error", err)
		panic(http.ErrAbortHandler)
	}
}

// flushing sends every piece at once.
type flushing struct{ gin.ResponseWriter }

func (f flushing) Write(p []byte) (int, error) {
	n, err := f.ResponseWriter.Write(p)
	f.Flush()
	return n, err
}

// ReadFrom hides the one of the connection, which would not flush.
func (f flushing) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{f}, r)
}

func podLogOptions(c *gin.Context) (*corev1.PodLogOptions, error) {
	o := &corev1.PodLogOptions{Container: c.Query("container")}
	var err error
	for name, into := range map[string]*bool{"follow": &o.Follow, "previous": &o.Previous, "timestamps": &o.Timestamps} {
		if *into, err = boolean(c, name); err != nil {
			return nil, err
		}
	}
	for name, into := range map[string]**int64{"tailLines": &o.TailLines, "sinceSeconds": &o.SinceSeconds, "limitBytes": &o.LimitBytes} {
		text := c.Query(name)
		if text == "" {
			continue
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 0 {
			return nil, apierrors.NewBadRequest(fmt.Sprintf("%s=%q: want a whole number that is not negative", name, text))
		}
		*into = &n
	}
	if text := c.Query("sinceTime"); text != "" {
		t, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return nil, apierrors.NewBadRequest(fmt.Sprintf("sinceTime=%q: want a time such as 2006-01-02T15:04:05Z", text))
		}
		o.SinceTime = &metav1.Time{Time: t}
	}
	return o, nil
}

func boolean(c *gin.Context, name string) (bool, error) {
	text := c.Query(name)
	if text == "" {
		return false, nil
	}
	b, err := strconv.ParseBool(text)
	if err != nil {
		return false, apierrors.NewBadRequest(fmt.Sprintf("%s=%q: want true or false", name, text))
	}
	return b, nil
}
