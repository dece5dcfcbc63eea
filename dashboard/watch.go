package dashboard

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/gin-gonic/gin"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"

	"slipway.dev/slipway/dashboard/table"
)

// watchEvent is one line of a watch.
type watchEvent struct {
	Type   watch.EventType `json:"type"`
	Object any             `json:"object"`
}

// watch sends changes, a JSON object a line, each at once, until the client leaves, the
// time it gave is over, or live state ends the watch.
func (d *Dashboard) watch(c *gin.Context, v *view, q query) {
	ctx, cancel := context.WithCancel(c.Request.Context())
	defer cancel()
	if q.timeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, q.timeout)
		defer cancel()
	}
	w, err := d.Client.Watch(ctx, v.newList(), &q.ListOptions)
	if err != nil {
		d.answerError(c, err)
		return
	}
	defer w.Stop()
	c.Header("Content-Type", "application/json")
	c.Writer.WriteHeader(http.StatusOK)
	c.Writer.Flush()
	out := json.NewEncoder(c.Writer)
	out.SetEscapeHTML(false)
	for {
		select {
		case <-ctx.Done():
			return
		case e, open := <-w.ResultChan():
			if !open || out.Encode(d.watched(c, v, q, e)) != nil {
				return
			}
			c.Writer.Flush()
		}
	}
}

// watched is an event as it is sent: masked, and as a table of one row if asked for.
func (d *Dashboard) watched(c *gin.Context, v *view, q query, e watch.Event) watchEvent {
	o, ok := e.Object.(*unstructured.Unstructured)
	if !ok {
		if s, is := e.Object.(*metav1.Status); is {
			s.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
		}
		return watchEvent{e.Type, e.Object}
	}
	if e.Type == watch.Bookmark {
		o.SetGroupVersionKind(v.GroupVersionKind)
	} else {
		v.show(o)
	}
	if !q.table {
		return watchEvent{e.Type, o.Object}
	}
	t := table.New(v.GroupKind())
	t.ResourceVersion = o.GetResourceVersion()
	row := metav1.TableRow{Cells: []any{}}
	if e.Type == watch.Bookmark {
		row.Object.Object = table.Metadata(o)
	} else {
		var err error
		if row, err = table.Row(v.GroupKind(), o, q.include, d.Now()); err != nil {
			s := d.statusOf(c.Request.URL.Path, err)
			s.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
			return watchEvent{watch.Error, s}
		}
	}
	t.Rows = append(t.Rows, row)
	return watchEvent{e.Type, t}
}
