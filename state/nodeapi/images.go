package nodeapi

import (
	"context"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// images answers a node's pulls: of what its pods are made of, and of nothing else.
func (s *Server) images(c *gin.Context) {
	who, leave, err := s.enter(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	defer leave()
	r := request{caller: who}
	r.kind.Resource = "images"
	if s.Images == nil || c.Request.Method != http.MethodGet && c.Request.Method != http.MethodHead {
		s.fail(c, r.forbidden("it may pull images, and not %s", c.Request.Method))
		return
	}
	if repository, ok := repositoryOf(c.Request.URL.Path); !ok {
		s.fail(c, r.forbidden("it may pull images, and nothing else of the registry"))
		return
	} else if repository != "" {
		var pods corev1.PodList
		own := &client.ListOptions{FieldSelector: fields.OneTermEqualSelector("spec.nodeName", who.name)}
		if err := s.Client.List(c.Request.Context(), &pods, own); err != nil {
			s.fail(c, err)
			return
		}
		if !s.pulls(pods.Items, repository) {
			s.fail(c, r.forbidden("none of its pods is made of %s", repository))
			return
		}
	}
	// To the registry this is the engine of its own host, which may pull without credentials.
	ctx, cancel := s.guard(c.Request.Context(), who, who.until.Sub(s.Now()))
	defer cancel()
	// A layer that is on its way to a node that is shut out stays unfinished.
	defer context.AfterFunc(ctx, func() { deadlinesOf(c).write(0) })()
	inner := c.Request.Clone(ctx)
	inner.Header.Del("Authorization")
	inner.RemoteAddr, inner.TLS = "127.0.0.1:0", nil
	s.Images.ServeHTTP(c.Writer, inner)
}

// repositoryOf is the repository that a request is about; empty: of the check whether there is a registry, or
// of the token that is good for nothing without one.
func repositoryOf(path string) (string, bool) {
	if path == "/v2" || path == "/v2/" || path == "/v2/_token" {
		return "", true
	}
	rest, ok := strings.CutPrefix(path, "/v2/")
	if !ok {
		return "", false
	}
	for _, part := range []string{"/manifests/", "/blobs/"} {
		if at := strings.LastIndex(rest, part); at > 0 {
			return rest[:at], !strings.Contains(rest, "..") && !strings.Contains(rest, "/blobs/uploads/")
		}
	}
	return "", false
}

// pulls says whether one of the pods has a container of an image of the repository.
func (s *Server) pulls(pods []corev1.Pod, repository string) bool {
	prefix := s.Cluster.Registry + "/" + repository
	of := func(image string) bool {
		rest, ok := strings.CutPrefix(image, prefix)
		return ok && (rest == "" || rest[0] == ':' || rest[0] == '@')
	}
	for _, p := range pods {
		for _, list := range [][]corev1.Container{p.Spec.InitContainers, p.Spec.Containers} {
			for _, c := range list {
				if of(c.Image) {
					return true
				}
			}
		}
	}
	return false
}
