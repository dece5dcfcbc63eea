package state_test

import (
	"fmt"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/state"
	"slipway.dev/slipway/state/statetest"
)

func revision(t *testing.T, rv string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(rv, 10, 64)
	must(t, err)
	return n
}

func next(t *testing.T, w watch.Interface) watch.Event {
	t.Helper()
	select {
	case ev, ok := <-w.ResultChan():
		if !ok {
			t.Fatal("the watch has ended")
		}
		return ev
	case <-time.After(30 * time.Second):
		t.Fatal("no event")
	}
	panic("not reached")
}

func expect(t *testing.T, w watch.Interface, typ watch.EventType, name string) client.Object {
	t.Helper()
	ev := next(t, w)
	obj, ok := ev.Object.(client.Object)
	if !ok || ev.Type != typ || obj.GetName() != name {
		t.Fatalf("event %s %+v, want %s %s", ev.Type, ev.Object, typ, name)
	}
	return obj
}

// A watcher is told of every change made after Watch has returned, also of what was gone again at once.
func TestAWatchMissesNothingThatFollows(t *testing.T) { everywhere(t, aWatchMissesNothingThatFollows) }

func aWatchMissesNothingThatFollows(t *testing.T, c *state.Client) {
	ctx := t.Context()
	for range 50 {
		w, err := c.Watch(ctx, &corev1.ConfigMapList{})
		must(t, err)
		must(t, c.Create(ctx, configMap("a", "short")))
		must(t, c.Delete(ctx, configMap("a", "short")))
		expect(t, w, watch.Added, "short")
		expect(t, w, watch.Deleted, "short")
		w.Stop()
	}
}

func open(t *testing.T, o state.Options) *state.Store {
	t.Helper()
	s, err := state.Open(t.Context(), o)
	must(t, err)
	t.Cleanup(s.Close)
	return s
}

func from(rv string) client.ListOption {
	return &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: rv}}
}

func TestWatchFromRevision(t *testing.T) { everywhere(t, watchFromRevision) }

func watchFromRevision(t *testing.T, c *state.Client) {
	ctx := t.Context()
	must(t, c.Create(ctx, configMap("a", "before")))
	var l corev1.ConfigMapList
	must(t, c.List(ctx, &l))
	x := configMap("a", "x", "k", "v")
	must(t, c.Create(ctx, x))
	must(t, c.Create(ctx, configMap("b", "elsewhere")))
	w, err := c.Watch(ctx, &corev1.ConfigMapList{}, client.InNamespace("a"), from(l.ResourceVersion))
	must(t, err)
	defer w.Stop()
	got := expect(t, w, watch.Added, "x")
	if got.GetResourceVersion() != x.ResourceVersion {
		t.Errorf("resourceVersion %s, want %s", got.GetResourceVersion(), x.ResourceVersion)
	}
	x.Data["k"] = "w"
	must(t, c.Update(ctx, x))
	expect(t, w, watch.Modified, "x")
	must(t, c.Delete(ctx, x))
	gone := expect(t, w, watch.Deleted, "x").(*corev1.ConfigMap)
	if gone.Data["k"] != "w" || revision(t, gone.ResourceVersion) <= revision(t, x.ResourceVersion) {
		t.Errorf("deleted event: %+v", gone)
	}
	w.Stop()
	for range w.ResultChan() {
		t.Error("event after stop")
	}
}

func TestWatchBeginsWithWhatExists(t *testing.T) { everywhere(t, watchBeginsWithWhatExists) }

func watchBeginsWithWhatExists(t *testing.T, c *state.Client) {
	ctx := t.Context()
	must(t, c.Create(ctx, configMap("a", "x")))
	raw := &unstructured.UnstructuredList{}
	raw.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("ConfigMapList"))
	meta := &metav1.PartialObjectMetadataList{}
	meta.SetGroupVersionKind(raw.GroupVersionKind())
	for _, list := range []client.ObjectList{&corev1.ConfigMapList{}, raw, meta} {
		yes := true
		w, err := c.Watch(ctx, list, &client.ListOptions{Raw: &metav1.ListOptions{SendInitialEvents: &yes, AllowWatchBookmarks: true}})
		must(t, err)
		defer w.Stop()
		expect(t, w, watch.Added, "x")
		mark := expect(t, w, watch.Bookmark, "")
		if mark.GetAnnotations()[metav1.InitialEventsAnnotationKey] != "true" || mark.GetResourceVersion() == "" {
			t.Errorf("%T: bookmark %+v", list, mark)
		}
		must(t, c.Create(ctx, configMap("a", "y")))
		expect(t, w, watch.Added, "y")
		must(t, c.Delete(ctx, configMap("a", "y")))
		expect(t, w, watch.Deleted, "y")
	}
}

// Not parallel: etcd keeps the interval of progress notes in one variable for all of a
// process's servers, and takes the one that was started last.
func TestBookmarksTellTheRevision(t *testing.T) {
	c, ctx := open(t, state.Options{DataDir: t.TempDir()}.WithBookmarksEvery(100*time.Millisecond)).Client(), t.Context()
	marked, err := c.Watch(ctx, &corev1.ConfigMapList{}, &client.ListOptions{Raw: &metav1.ListOptions{AllowWatchBookmarks: true}})
	must(t, err)
	defer marked.Stop()
	plain, err := c.Watch(ctx, &corev1.ConfigMapList{})
	must(t, err)
	defer plain.Stop()
	must(t, c.Create(ctx, configMap("a", "x")))
	expect(t, marked, watch.Added, "x")
	expect(t, plain, watch.Added, "x")
	p := pod("a", "x", "")
	must(t, c.Create(ctx, p)) // no event here, but a later revision
	var mark client.Object
	eventually(t, "a bookmark", func() bool {
		select {
		case ev := <-marked.ResultChan():
			mark = ev.Object.(client.Object)
			return ev.Type == watch.Bookmark
		default:
			return false
		}
	})
	if revision(t, mark.GetResourceVersion()) < revision(t, p.ResourceVersion) {
		t.Errorf("bookmark %s, the pod has %s", mark.GetResourceVersion(), p.ResourceVersion)
	}
	must(t, c.Delete(ctx, configMap("a", "x")))
	expect(t, plain, watch.Deleted, "x") // and no bookmark before it
}

func TestWatchWithSelector(t *testing.T) { everywhere(t, watchWithSelector) }

func watchWithSelector(t *testing.T, c *state.Client) {
	ctx := t.Context()
	w, err := c.Watch(ctx, &corev1.PodList{}, client.MatchingFields{"spec.nodeName": "n1"}, client.MatchingLabels{"l": "1"})
	must(t, err)
	defer w.Stop()
	p := pod("a", "x", "")
	p.Labels = map[string]string{"l": "1"}
	must(t, c.Create(ctx, p))
	p.Spec.NodeName = "n1"
	must(t, c.Update(ctx, p))
	expect(t, w, watch.Added, "x") // it begins to match
	p.Annotations = map[string]string{"a": "b"}
	must(t, c.Update(ctx, p))
	expect(t, w, watch.Modified, "x")
	p.Labels = nil
	must(t, c.Update(ctx, p))
	gone := expect(t, w, watch.Deleted, "x") // it stops matching
	if gone.GetLabels()["l"] != "1" || gone.GetResourceVersion() != p.ResourceVersion {
		t.Errorf("deleted event: %+v", gone)
	}
	must(t, c.Delete(ctx, p, client.GracePeriodSeconds(0))) // and its end is no news
	other := pod("a", "y", "n1")
	other.Labels = map[string]string{"l": "1"}
	must(t, c.Create(ctx, other))
	expect(t, w, watch.Added, "y")
}

func TestWatchOfCompactedRevision(t *testing.T) {
	t.Parallel()
	s := open(t, state.Options{DataDir: t.TempDir()})
	c, ctx := s.Client(), t.Context()
	must(t, c.Create(ctx, configMap("a", "x")))
	var l corev1.ConfigMapList
	must(t, c.List(ctx, &l))
	for i := range 3 {
		must(t, c.Create(ctx, configMap("a", fmt.Sprint("y", i))))
	}
	rev := revision(t, l.ResourceVersion)
	must(t, c.Compact(ctx, rev+3))
	w, err := c.Watch(ctx, &corev1.ConfigMapList{}, from(l.ResourceVersion))
	must(t, err)
	defer w.Stop()
	ev := next(t, w)
	status, ok := ev.Object.(*metav1.Status)
	if ev.Type != watch.Error || !ok || status.Code != 410 || status.Reason != metav1.StatusReasonExpired {
		t.Fatalf("event %+v", ev)
	}
	if _, ok := <-w.ResultChan(); ok {
		t.Error("the watch goes on")
	}
}

func TestWatchEndsWithTheStore(t *testing.T) {
	t.Parallel()
	s := open(t, state.Options{DataDir: t.TempDir()})
	w, err := s.Client().Watch(t.Context(), &corev1.ConfigMapList{})
	must(t, err)
	s.Close()
	for range w.ResultChan() {
	}
}

// Watches that end must not hold up those that go on: on a stream that watches of one process share,
// etcd's client and server can block each other for ever.
func TestWatchesThatEndHoldUpNoOther(t *testing.T) {
	c := statetest.New(t)
	const others, writes = 60, 200
	lasting, err := c.Watch(t.Context(), &corev1.ConfigMapList{})
	must(t, err)
	defer lasting.Stop()
	done := make(chan error, 1)
	go func() {
		for i := range writes {
			cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: fmt.Sprintf("c%d", i)}}
			if err := c.Create(t.Context(), cm); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for range others {
		w, err := c.Watch(t.Context(), &corev1.ConfigMapList{})
		must(t, err)
		time.AfterFunc(time.Millisecond, w.Stop)
	}
	for range writes {
		next(t, lasting)
	}
	must(t, <-done)
}

func TestAdministratorReachesLiveState(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server := open(t, state.Options{DataDir: dir, NoSync: true})
	must(t, server.Client().Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "a"}}))
	admin := open(t, state.Options{Endpoints: []string{state.Socket(dir)}, KeyFile: filepath.Join(dir, "seal.key")})
	var list corev1.ConfigMapList
	must(t, admin.Client().List(t.Context(), &list))
	if len(list.Items) != 1 {
		t.Errorf("%d config maps", len(list.Items))
	}
}

// A client that knew live state before it was restored from a backup learns that it must list anew.
func TestWatchOfARevisionToCome(t *testing.T) {
	t.Parallel()
	c := open(t, state.Options{DataDir: t.TempDir(), NoSync: true}).Client()
	w, err := c.Watch(t.Context(), &corev1.ConfigMapList{}, from("1000000"))
	must(t, err)
	defer w.Stop()
	ev := next(t, w)
	if status, ok := ev.Object.(*metav1.Status); !ok || ev.Type != watch.Error || status.Code != 410 {
		t.Errorf("event %v %+v", ev.Type, ev.Object)
	}
}
