package nodeapi

import (
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func (s *Server) get(c *gin.Context, r request, rule rule) {
	defer deadlinesOf(c).write(s.times.take)()
	ctx := c.Request.Context()
	if rule.references {
		need, err := s.needed(ctx, r.name, r.kind.Kind)
		if err != nil {
			s.fail(c, err)
			return
		}
		if !need[r.key] {
			s.fail(c, r.stranger())
			return
		}
	}
	o, err := r.new()
	if err == nil {
		err = s.Client.Get(ctx, r.key, o)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	if o = rule.shown(r.name, o); o == nil {
		s.fail(c, r.stranger())
		return
	}
	c.JSON(http.StatusOK, r.named(o))
}

func (s *Server) list(c *gin.Context, r request, rule rule) {
	defer deadlinesOf(c).write(s.times.take)()
	ctx := c.Request.Context()
	o, err := options(c, r, rule)
	if err != nil {
		s.fail(c, err)
		return
	}
	list, err := r.newList()
	if err == nil {
		err = s.Client.List(ctx, list, o)
	}
	var need names
	if err == nil && rule.references {
		need, err = s.needed(ctx, r.name, r.kind.Kind)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	var out []runtime.Object
	err = meta.EachListItem(list, func(item runtime.Object) error {
		o := item.(client.Object)
		if rule.references && !need[client.ObjectKeyFromObject(o)] {
			return nil
		}
		if o = rule.shown(r.name, o); o != nil {
			out = append(out, r.named(o))
		}
		return nil
	})
	if err == nil {
		err = meta.SetList(list, out)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	list.GetObjectKind().SetGroupVersionKind(r.kind.GroupVersion().WithKind(r.kind.Kind + "List"))
	c.JSON(http.StatusOK, list)
}

// selectable are the fields that nodes may select by: none that would tell what they are not shown.
var selectable = map[string]bool{"metadata.name": true, "metadata.namespace": true, "spec.nodeName": true}

// options are those of a list or a watch. A list is always whole: limits are not looked at.
func options(c *gin.Context, r request, rule rule) (*client.ListOptions, error) {
	bad := func(name string, err error) error {
		return apierrors.NewBadRequest(name + "=" + strconv.Quote(c.Query(name)) + ": " + err.Error())
	}
	o := &client.ListOptions{Namespace: r.key.Namespace, Raw: &metav1.ListOptions{
		ResourceVersion: c.Query("resourceVersion"), AllowWatchBookmarks: c.Query("allowWatchBookmarks") == "true",
	}}
	if c.Query("sendInitialEvents") == "true" {
		yes := true
		o.Raw.SendInitialEvents = &yes
	}
	var err error
	if o.LabelSelector, err = labels.Parse(c.Query("labelSelector")); err != nil {
		return nil, bad("labelSelector", err)
	}
	if o.FieldSelector, err = fields.ParseSelector(c.Query("fieldSelector")); err != nil {
		return nil, bad("fieldSelector", err)
	}
	for _, f := range o.FieldSelector.Requirements() {
		if !selectable[f.Field] {
			return nil, r.forbidden("%s of %s cannot be selected by", f.Field, r.kind.Resource)
		}
	}
	if rule.references && (!o.LabelSelector.Empty() || !o.FieldSelector.Empty()) {
		return nil, r.forbidden("%s cannot be selected: it sees those that its pods need", r.kind.Resource)
	}
	return o, nil
}

// life is how long a watch may last: no longer than the certificate that began it.
func (s *Server) life(c *gin.Context, r request) time.Duration {
	left := r.until.Sub(s.Now())
	if seconds, err := strconv.ParseInt(c.Query("timeoutSeconds"), 10, 32); err == nil && seconds > 0 {
		left = min(left, time.Duration(seconds)*time.Second)
	}
	return left
}
