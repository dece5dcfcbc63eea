package nodeapi

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// recheck is how often it is looked whether the node of a stream is still one.
const recheck = 5 * time.Second

// watchEvent is one line of a watch.
type watchEvent struct {
	Type   watch.EventType `json:"type"`
	Object any             `json:"object"`
}

// stream writes the lines of a watch.
type stream struct {
	c   *gin.Context
	out *json.Encoder
	// take is how long the node may take for a line.
	take time.Duration
}

func (s *Server) begin(c *gin.Context) stream {
	c.Header("Content-Type", "application/json")
	c.Writer.WriteHeader(http.StatusOK)
	c.Writer.Flush()
	out := json.NewEncoder(c.Writer)
	out.SetEscapeHTML(false)
	return stream{c, out, s.times.take}
}

// send sends a line. A node that does not take it is not waited for: what comes meanwhile would pile up.
func (w stream) send(t watch.EventType, o any) bool {
	defer deadlinesOf(w.c).write(w.take)()
	if w.out.Encode(watchEvent{t, o}) != nil {
		return false
	}
	w.c.Writer.Flush()
	return true
}

// watch sends changes until the node leaves, is shut out, or its certificate ends.
func (s *Server) watch(c *gin.Context, r request, rule rule) {
	o, err := options(c, r, rule)
	if err != nil {
		s.fail(c, err)
		return
	}
	ctx, cancel := s.guard(c.Request.Context(), r.caller, s.life(c, r))
	defer cancel()
	if rule.references {
		s.watchNeeded(ctx, c, r, rule, o)
		return
	}
	list, err := r.newList()
	if err != nil {
		s.fail(c, err)
		return
	}
	w, err := s.Client.Watch(ctx, list, o)
	if err != nil {
		s.fail(c, err)
		return
	}
	defer w.Stop()
	for out := s.begin(c); ; {
		select {
		case <-ctx.Done():
			return
		case e, open := <-w.ResultChan():
			if !open || !s.pass(out, r, rule, e) {
				return
			}
		}
	}
}

// pass hands an event on, as far as the node may see it.
func (s *Server) pass(out stream, r request, rule rule, e watch.Event) bool {
	o, ok := e.Object.(client.Object)
	if !ok {
		if status, is := e.Object.(*metav1.Status); is {
			status.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
		}
		return out.send(e.Type, e.Object)
	}
	if e.Type != watch.Bookmark {
		if o = rule.shown(r.name, o); o == nil {
			return true
		}
	}
	return out.send(e.Type, r.named(o))
}
