package event_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	projectv1 "github.com/openshift/api/project/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/state/event"
	"slipway.dev/slipway/state/statetest"
)

func flush(t *testing.T, r *event.Recorder) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := r.Flush(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestSameEventIsCounted(t *testing.T) {
	t.Parallel()
	c, ctx := statetest.New(t), t.Context()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-1", UID: "u1"}}
	r := event.New(c, "runtime", slog.Default())
	for range 3 {
		r.Event(pod, corev1.EventTypeNormal, "Pulled", "image %s is here", "a")
		flush(t, r)
	}
	// Another process goes on counting.
	again := event.New(c, "runtime", slog.Default())
	again.Event(pod, corev1.EventTypeNormal, "Pulled", "image %s is here", "a")
	flush(t, again)
	r.Event(pod, corev1.EventTypeWarning, "BackOff", "100%% failed")
	flush(t, r)

	var list corev1.EventList
	err := c.List(ctx, &list, client.InNamespace("shop"), client.MatchingFieldsSelector{Selector: fields.Set{
		"involvedObject.kind": "Pod", "involvedObject.name": "web-1"}.AsSelector()})
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int32{}
	for _, e := range list.Items {
		counts[e.Type+" "+e.Reason+": "+e.Message] = e.Count
	}
	if len(counts) != 2 || counts["Normal Pulled: image a is here"] != 4 || counts["Warning BackOff: 100% failed"] != 1 {
		t.Errorf("events: %v", counts)
	}
}

// What a pod's author can vary, such as what a probe answers, must not fill live state.
func TestSimilarEventsAreCombined(t *testing.T) {
	t.Parallel()
	c := statetest.New(t)
	r := event.New(c, "runtime", slog.Default())
	pods := []*corev1.Pod{{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-1", UID: "u1"}}, {ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-2", UID: "u2"}}}
	for i := range 100 {
		for _, p := range pods {
			r.Event(p, corev1.EventTypeWarning, "Unhealthy", "it said %d", i)
			r.Event(p, corev1.EventTypeWarning, "Unhealthy", "it said 0")
		}
	}
	r.Event(pods[0], corev1.EventTypeWarning, "Other", "another reason")
	flush(t, r)
	var list corev1.EventList
	if err := c.List(t.Context(), &list, client.InNamespace("shop")); err != nil {
		t.Fatal(err)
	}
	var sum int32
	for _, e := range list.Items {
		sum += e.Count
		if combined := strings.HasPrefix(e.Message, event.Combined); combined && (e.Count != 100-event.Similar || e.Message != event.Combined+"it said 99") {
			t.Errorf("%q, %d times", e.Message, e.Count)
		}
	}
	if len(list.Items) != 2*(event.Similar+1)+1 || sum != 401 {
		t.Errorf("%d events that count %d", len(list.Items), sum)
	}
}

func TestWhereEventsAreKept(t *testing.T) {
	t.Parallel()
	c := statetest.New(t)
	r := event.New(c, "test", slog.Default())
	for _, tc := range []struct {
		obj  client.Object
		want string
	}{
		{&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "s"}}, "shop"},
		{&projectv1.Project{ObjectMeta: metav1.ObjectMeta{Name: "shop-dev"}}, "shop-dev"},
		{&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}, "default"},
	} {
		r.Event(tc.obj, corev1.EventTypeNormal, "Seen", "%s", strings.Repeat("ü", event.MaxMessage))
		flush(t, r)
		var list corev1.EventList
		if err := c.List(t.Context(), &list, client.InNamespace(tc.want)); err != nil {
			t.Fatal(err)
		}
		found := false
		for _, e := range list.Items {
			found = found || e.InvolvedObject.Name == tc.obj.GetName()
			if len(e.Message) > event.MaxMessage {
				t.Errorf("message has %d bytes", len(e.Message))
			}
		}
		if !found {
			t.Errorf("no event of %s in %s", tc.obj.GetName(), tc.want)
		}
	}
}

// stuck is a client whose writes wait until it is let go, and then fail.
type stuck struct {
	client.Client
	release chan struct{}
}

func (s stuck) Create(context.Context, client.Object, ...client.CreateOption) error {
	<-s.release
	return errors.New("etcd is away")
}

func TestRecordingNeverWaitsOrFails(t *testing.T) {
	t.Parallel()
	s := stuck{statetest.New(t), make(chan struct{})}
	r := event.New(s, "test", slog.New(slog.DiscardHandler))
	for i := range 3 * event.Pending {
		r.Event(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: fmt.Sprint("x", i)}}, corev1.EventTypeNormal, "Many", "number %d", i)
	}
	close(s.release)
	flush(t, r)
}
