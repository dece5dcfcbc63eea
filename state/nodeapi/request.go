package nodeapi

import (
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
)

// request is what a node asks for, taken apart.
type request struct {
	caller
	kind api.Kind
	// key is the object's; without a name all of a project, or of everything.
	key client.ObjectKey
	// sub is "status" or empty.
	sub string
}

// objects answers all requests about objects.
func (s *Server) objects(c *gin.Context) {
	who, leave, err := s.enter(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	defer leave()
	r, err := parse(c.Request.URL.Path)
	if err != nil {
		s.fail(c, err)
		return
	}
	r.caller = who
	rule, ok := rules[r.kind.Kind]
	if !ok || rule.group != r.kind.Group {
		s.fail(c, r.forbidden("nodes have nothing to do with %s", r.kind.Resource))
		return
	}
	if handle := s.handler(c, r, rule); handle != nil {
		handle()
		return
	}
	s.fail(c, r.forbidden("a node may not %s %s", strings.ToLower(c.Request.Method), r.what()))
}

// handler is what answers the request; nil: it is not allowed. What it is
// allowed for is for the handler to decide.
func (s *Server) handler(c *gin.Context, r request, rule rule) func() {
	switch method := c.Request.Method; {
	case method == http.MethodGet && r.sub == "" && r.key.Name != "" && rule.see != nil:
		return func() { s.get(c, r, rule) }
	case method == http.MethodGet && r.sub == "" && r.key.Name == "" && rule.see != nil && !rule.single:
		if c.Query("watch") == "true" || c.Query("watch") == "1" {
			return func() { s.watch(c, r, rule) }
		}
		return func() { s.list(c, r, rule) }
	case (method == http.MethodPut || method == http.MethodPatch) && r.sub == "status" && r.key.Name != "" && rule.status != nil:
		return func() { s.writeStatus(c, r, rule) }
	case method == http.MethodPost && r.sub == "" && r.key.Name == "" && rule.create != nil:
		return func() { s.create(c, r, rule) }
	case method == http.MethodPut && r.sub == "" && r.key.Name != "" && rule.update != nil:
		return func() { s.update(c, r, rule) }
	case method == http.MethodDelete && r.sub == "" && r.key.Name != "" && rule.remove != nil:
		return func() { s.remove(c, r, rule) }
	}
	return nil
}

// parse takes a path of Kubernetes' API apart: /api/v1/… or /apis/GROUP/VERSION/…, then
// namespaces/NAMESPACE/ for what lives in projects, RESOURCE, NAME and status.
func parse(path string) (request, error) {
	var r request
	gone := apierrors.NewGenericServerResponse(http.StatusNotFound, "get", api.Kind{}.GroupResource(), "", "there is no "+path, 0, false)
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	for _, p := range parts {
		if p == "" || p == "." || p == ".." {
			return r, gone
		}
	}
	group, version := "", ""
	switch {
	case len(parts) > 2 && parts[0] == "api":
		version, parts = parts[1], parts[2:]
	case len(parts) > 3 && parts[0] == "apis":
		group, version, parts = parts[1], parts[2], parts[3:]
	default:
		return r, gone
	}
	namespaced := false
	if len(parts) > 2 && parts[0] == "namespaces" {
		namespaced, r.key.Namespace, parts = true, parts[1], parts[2:]
	}
	found := false
	for _, k := range api.Kinds() {
		if k.Group == group && k.Version == version && k.Resource == parts[0] {
			r.kind, found = k, true
		}
	}
	if len(parts) > 1 {
		r.key.Name = parts[1]
	}
	if len(parts) > 2 {
		r.sub = parts[2]
	}
	wrongPlace := namespaced && !r.kind.Namespaced || !namespaced && r.kind.Namespaced && r.key.Name != ""
	if !found || len(parts) > 3 || r.sub != "" && r.sub != "status" || wrongPlace {
		return r, gone
	}
	return r, nil
}

func (r request) what() string {
	w := r.kind.Resource
	if r.sub != "" {
		w += "/" + r.sub
	}
	switch {
	case r.kind.Namespaced && r.key.Namespace == "":
		return w
	case r.key.Name == "":
		return w + " in " + r.key.Namespace
	case !r.kind.Namespaced:
		return w + " " + r.key.Name
	}
	return w + " " + r.key.String()
}

// forbidden is what a node is told; it does not tell whether there is such an object.
func (r request) forbidden(format string, args ...any) error {
	err := apierrors.NewForbidden(r.kind.GroupResource(), r.key.Name, nil)
	err.ErrStatus.Message = "node " + r.name + ": " + sprintf(format, args...)
	return err
}

// stranger is why a node gets nothing of an object that does not concern it, or that there is not.
func (r request) stranger() error {
	return r.forbidden("%s does not concern it", r.what())
}

func (r request) new() (client.Object, error) {
	o, err := api.Scheme().New(r.kind.GroupVersionKind)
	if err != nil {
		return nil, err
	}
	return o.(client.Object), nil
}

func (r request) newList() (client.ObjectList, error) {
	o, err := api.Scheme().New(r.kind.GroupVersion().WithKind(r.kind.Kind + "List"))
	if err != nil {
		return nil, err
	}
	return o.(client.ObjectList), nil
}

// named gives an object its kind, which Go's types leave empty.
func (r request) named(o runtime.Object) runtime.Object {
	o.GetObjectKind().SetGroupVersionKind(r.kind.GroupVersionKind)
	return o
}
