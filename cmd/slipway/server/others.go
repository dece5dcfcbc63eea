package server

import (
	"context"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/cmd/slipway/answers"
	"slipway.dev/slipway/state/loop"
)

// announce keeps in this server's Node where its node API is, for nodes and other servers to find it, and
// the labels that every Node has: it was made with its subnet alone.
func (s *server) announce() loop.Controller {
	own := loop.Key{Name: s.cfg.Node}
	return loop.Controller{
		Name: "server-address",
		Watches: []loop.Watch{{List: &corev1.NodeList{}, Keys: func(o client.Object) []loop.Key {
			if o.GetName() != own.Name {
				return nil
			}
			return []loop.Key{own}
		}}},
		Reconcile: func(ctx context.Context, key loop.Key) (loop.Result, error) {
			var n corev1.Node
			if err := s.client.Get(ctx, key, &n); err != nil {
				return loop.Result{}, client.IgnoreNotFound(err)
			}
			at := ""
			if s.nodes != nil {
				at = announced(s.nodes.Addr().String(), &n)
			}
			next := n.DeepCopy()
			for name, value := range map[string]string{corev1.LabelHostname: n.Name, corev1.LabelOSStable: "linux", corev1.LabelArchStable: runtime.GOARCH} {
				if next.Labels[name] == "" {
					metav1.SetMetaDataLabel(&next.ObjectMeta, name, value)
				}
			}
			if at == "" {
				delete(next.Annotations, api.NodeServer)
			} else {
				metav1.SetMetaDataAnnotation(&next.ObjectMeta, api.NodeServer, at)
			}
			if maps.Equal(n.Labels, next.Labels) && maps.Equal(n.Annotations, next.Annotations) {
				return loop.Result{}, nil
			}
			return loop.Result{}, s.client.Patch(ctx, next, client.MergeFrom(&n))
		},
	}
}

// announced is the URL of an address that is listened on: everywhere means at the node's address. Empty: that is
// not known yet.
func announced(listen string, n *corev1.Node) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return ""
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = n.Annotations[api.NodeAddress]
		for _, a := range n.Status.Addresses {
			if host == "" && a.Type == corev1.NodeInternalIP {
				host = a.Address
			}
		}
		if host == "" {
			return ""
		}
	}
	return "https://" + net.JoinHostPort(host, port)
}

// forServers answers what other servers ask: what this host runs, logs of what was built here, and
// images of this registry, which nobody else is asked for in turn.
func (s *server) forServers() http.Handler {
	e := gin.New()
	answers.Register(e, s.parts.agent)
	e.POST("/v1/builds/:namespace/:build", func(c *gin.Context) {
		in, err := s.parts.builder.Logs(c.Request.Context(), types.NamespacedName{Namespace: c.Param("namespace"), Name: c.Param("build")}, c.Query("follow") == "true")
		if err != nil {
			answers.Refuse(c, err)
			return
		}
		answers.Stream(c, in)
	})
	images := s.parts.registry.Handler()
	pull := func(c *gin.Context) {
		// To the registry this is its own host, which may pull without credentials.
		inner := c.Request.Clone(c.Request.Context())
		inner.Header.Del("Authorization")
		inner.RemoteAddr, inner.TLS = "127.0.0.1:0", nil
		images.ServeHTTP(c.Writer, inner)
	}
	e.GET("/v2/*path", pull)
	e.HEAD("/v2/*path", pull)
	return e
}

// others are the servers beside this one.
type others struct {
	far *far
	log *slog.Logger
}

// images is a registry that has what others' have as well: it asks them for what own has not.
func (o others) images(own http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		pull := r.Method == http.MethodGet || r.Method == http.MethodHead
		if !pull || !strings.Contains(r.URL.Path, "/manifests/") && !strings.Contains(r.URL.Path, "/blobs/") {
			own.ServeHTTP(w, r)
			return
		}
		tried := &missing{ResponseWriter: w, header: http.Header{}}
		own.ServeHTTP(tried, r)
		if !tried.is || o.fetch(w, r) {
			return
		}
		maps.Copy(w.Header(), tried.header)
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write(tried.body) // who asked may have gone
	})
}

// passed are the headers of an image's parts.
var passed = []string{"Content-Type", "Content-Length", "Content-Range", "Accept-Ranges", "Docker-Content-Digest", "Etag"}

// fetch answers with what another server has; false: none has it.
func (o others) fetch(w http.ResponseWriter, r *http.Request) bool {
	names, err := o.far.servers(r.Context())
	if err != nil {
		o.log.Warn("other servers are not asked for an image", "path", r.URL.Path, "error", err)
		return false
	}
	for _, name := range names {
		ask, err := http.NewRequestWithContext(r.Context(), r.Method, farURL(name, (&url.URL{Path: r.URL.Path}).EscapedPath()), nil)
		if err != nil {
			return false
		}
		for _, h := range []string{"Accept", "Range", "If-None-Match"} {
			ask.Header[h] = slices.Clone(r.Header[h])
		}
		resp, err := o.far.http.Do(ask)
		if err != nil {
			o.log.Info("another server does not answer", "server", name, "error", err)
			continue
		}
		if resp.StatusCode >= http.StatusBadRequest {
			resp.Body.Close()
			continue
		}
		pass(w, resp)
		return true
	}
	return false
}

func pass(w http.ResponseWriter, resp *http.Response) {
	defer resp.Body.Close()
	for _, h := range passed {
		if v := resp.Header[h]; len(v) > 0 {
			w.Header()[h] = v
		}
	}
	w.WriteHeader(resp.StatusCode)
	if _, err := io.Copy(w, resp.Body); err != nil {
		// What was promised is missing; whoever asked is to see that.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Unix(1, 0))
	}
}

// missing passes an answer on, unless it is that there is no such thing.
type missing struct {
	http.ResponseWriter
	header http.Header
	begun  bool
	is     bool
	body   []byte
}

func (m *missing) Header() http.Header { return m.header }

func (m *missing) Unwrap() http.ResponseWriter { return m.ResponseWriter }

func (m *missing) WriteHeader(code int) {
	if m.begun {
		return
	}
	m.begun = true
	if m.is = code == http.StatusNotFound; m.is {
		return
	}
	maps.Copy(m.ResponseWriter.Header(), m.header)
	m.ResponseWriter.WriteHeader(code)
}

func (m *missing) Write(data []byte) (int, error) {
	m.WriteHeader(http.StatusOK)
	if m.is {
		m.body = append(m.body, data...)
		return len(data), nil
	}
	return m.ResponseWriter.Write(data)
}

// ReadFrom implements io.ReaderFrom: the kernel copies a layer by itself.
func (m *missing) ReadFrom(from io.Reader) (int64, error) {
	m.WriteHeader(http.StatusOK)
	if m.is {
		return io.Copy(io.Discard, from)
	}
	return io.Copy(m.ResponseWriter, from)
}

// Flush implements http.Flusher.
func (m *missing) Flush() {
	m.WriteHeader(http.StatusOK)
	if f, ok := m.ResponseWriter.(http.Flusher); ok && !m.is {
		f.Flush()
	}
}
