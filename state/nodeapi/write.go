package nodeapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"

	"github.com/gin-gonic/gin"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// maxBody bounds what a node may send at once, in bytes. What a node says of itself goes to all others.
const maxBody = 256 << 10

// tries is how often a write without a revision of its own is tried that others are in the way of.
const tries = 5

// body reads what a node sends, and charges it for that.
func (s *Server) body(c *gin.Context, r request) ([]byte, error) {
	data, err := deadlinesOf(c).read(s.times.send, http.MaxBytesReader(c.Writer, c.Request.Body, maxBody))
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return nil, apierrors.NewRequestEntityTooLargeError(fmt.Sprintf("a node's request has at most %d bytes", maxBody))
	}
	if err != nil {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("the request broke off: %v", err))
	}
	if err := s.pay(r.name, len(data), r.kind.Kind == "Event"); err != nil {
		return nil, err
	}
	for _, q := range []string{"dryRun", "force", "propagationPolicy"} {
		if c.Query(q) != "" {
			return nil, apierrors.NewBadRequest(q + " is not for nodes")
		}
	}
	return data, nil
}

func decode(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	if err := d.Decode(into); err != nil {
		return apierrors.NewBadRequest(fmt.Sprintf("the request is not what it should be: %v", err))
	}
	if _, err := d.Token(); err != io.EOF {
		return apierrors.NewBadRequest("the request has something behind its end")
	}
	return nil
}

func (s *Server) place(ctx context.Context, r request) (place, error) {
	p := place{request: r, node: &corev1.Node{}}
	err := s.Client.Get(ctx, client.ObjectKey{Name: r.name}, p.node)
	if apierrors.IsNotFound(err) {
		p.node, err = &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: r.name}}, nil
	}
	return p, err
}

// writeStatus gives an object another status. Whatever else the request holds is not looked at, so
// that a patch of the status can carry nothing past the rules.
func (s *Server) writeStatus(c *gin.Context, r request, rule rule) {
	ctx := c.Request.Context()
	data, err := s.body(c, r)
	if err != nil {
		s.fail(c, err)
		return
	}
	change := s.replaced
	if c.Request.Method == http.MethodPatch {
		if t := c.ContentType(); t != string(types.MergePatchType) {
			s.fail(c, apierrors.NewGenericServerResponse(http.StatusUnsupportedMediaType, "patch", r.kind.GroupResource(), r.key.Name,
				fmt.Sprintf("patches are %s here, not %q", types.MergePatchType, t), 0, false))
			return
		}
		change = s.merged
	}
	p, err := s.place(ctx, r)
	if err != nil {
		s.fail(c, err)
		return
	}
	for try := 1; ; try++ {
		o, pinned, err := s.changeStatus(ctx, p, rule, data, change)
		if apierrors.IsConflict(err) && !pinned && try < tries {
			continue
		}
		if err != nil {
			s.fail(c, err)
			return
		}
		c.JSON(http.StatusOK, r.named(whole(r.name, o)))
		return
	}
}

// changeStatus tries it once. pinned: the request names the revision that it is about.
func (s *Server) changeStatus(ctx context.Context, p place, rule rule, data []byte, change func(r request, live client.Object, data []byte) (client.Object, error)) (_ client.Object, pinned bool, err error) {
	live, err := p.new()
	if err != nil {
		return nil, false, err
	}
	if err := s.Client.Get(ctx, p.key, live); apierrors.IsNotFound(err) && p.kind.Kind != "Pod" && p.key.Name != p.name {
		return nil, false, p.stranger()
	} else if err != nil {
		return nil, false, err
	}
	asked, err := change(p.request, live, data)
	if err != nil {
		return nil, false, err
	}
	next := live.DeepCopyObject().(client.Object)
	to, from := reflect.ValueOf(next).Elem().FieldByName("Status"), reflect.ValueOf(asked).Elem().FieldByName("Status")
	to.Set(from)
	if err := rule.status(p, live, next); err != nil {
		return nil, false, err
	}
	if v := asked.GetResourceVersion(); v != "" && v != live.GetResourceVersion() {
		return nil, true, apierrors.NewConflict(p.kind.GroupResource(), p.key.Name, fmt.Errorf("the object has changed: it is at %s, not at %s", live.GetResourceVersion(), v))
	}
	return next, false, s.Client.Status().Update(ctx, next)
}

// replaced is the object of a PUT.
func (s *Server) replaced(r request, _ client.Object, data []byte) (client.Object, error) {
	o, err := r.new()
	if err != nil {
		return nil, err
	}
	return o, decode(data, o)
}

// merged is the live object with a merge patch over it.
func (s *Server) merged(r request, live client.Object, data []byte) (client.Object, error) {
	before, err := json.Marshal(live)
	if err != nil {
		return nil, err
	}
	after, err := jsonpatch.MergePatch(before, data)
	if err != nil {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("the patch: %v", err))
	}
	return s.replaced(r, nil, after)
}

// create makes an object of a kind that nodes make.
func (s *Server) create(c *gin.Context, r request, rule rule) {
	data, err := s.body(c, r)
	var o client.Object
	if err == nil {
		o, err = s.replaced(r, nil, data)
	}
	if err == nil {
		if o.GetNamespace() == "" {
			o.SetNamespace(r.key.Namespace)
		}
		if o.GetNamespace() != r.key.Namespace {
			err = apierrors.NewBadRequest("the object is of another project than the request")
		}
	}
	if err == nil {
		r.key.Name = o.GetName()
		err = rule.create(c.Request.Context(), s, r, o)
	}
	if err == nil {
		err = s.Client.Create(c.Request.Context(), o)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	c.JSON(http.StatusCreated, r.named(whole(r.name, o)))
}

// update replaces an object of a kind that nodes may replace.
func (s *Server) update(c *gin.Context, r request, rule rule) {
	ctx := c.Request.Context()
	data, err := s.body(c, r)
	var asked client.Object
	if err == nil {
		asked, err = s.replaced(r, nil, data)
	}
	var p place
	if err == nil {
		p, err = s.place(ctx, r)
	}
	var live client.Object
	if err == nil {
		live, err = r.new()
	}
	if err == nil {
		err = s.Client.Get(ctx, r.key, live)
	}
	if err == nil {
		err = rule.update(p, live, asked)
	}
	if err == nil {
		err = s.Client.Update(ctx, live)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	c.JSON(http.StatusOK, r.named(whole(r.name, live)))
}

// remove takes an object away that the node may take away.
func (s *Server) remove(c *gin.Context, r request, rule rule) {
	ctx := c.Request.Context()
	data, err := s.body(c, r)
	var o metav1.DeleteOptions
	if err == nil && len(data) > 0 {
		err = decode(data, &o)
	}
	live, newErr := r.new()
	if err == nil {
		err = newErr
	}
	if err == nil {
		err = s.Client.Get(ctx, r.key, live)
	}
	if err == nil {
		err = rule.remove(r, live, o)
	}
	if err == nil {
		uid := live.GetUID()
		err = s.Client.Delete(ctx, live, client.GracePeriodSeconds(0), client.Preconditions{UID: &uid})
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	c.JSON(http.StatusOK, metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusSuccess})
}
