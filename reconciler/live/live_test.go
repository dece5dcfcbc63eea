package live_test

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
	kjson "sigs.k8s.io/json"

	"slipway.dev/slipway/reconciler/live"
)

var (
	services = schema.GroupKind{Kind: "Service"}
	name     = types.NamespacedName{Namespace: "shop", Name: "web"}
)

func service(version string, change ...func(*corev1.Service)) *corev1.Service {
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name, UID: "u", Generation: 1, ResourceVersion: version}}
	for _, f := range change {
		f(s)
	}
	return s
}

func TestOnlyWhatAnApplySeesMovesAnObject(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		change func(*corev1.Service)
		moves  bool
	}{
		"a status":   {func(s *corev1.Service) { s.Status.Conditions = []metav1.Condition{{Type: "Ready"}} }, false},
		"the spec":   {func(s *corev1.Service) { s.Generation = 2 }, true},
		"a label":    {func(s *corev1.Service) { s.Labels = map[string]string{"a": "b"} }, true},
		"a removal":  {func(s *corev1.Service) { s.DeletionTimestamp = &metav1.Time{} }, true},
		"another":    {func(s *corev1.Service) { s.UID = "v" }, true},
		"annotation": {func(s *corev1.Service) { s.Annotations = map[string]string{"a": "b"} }, true},
		"no count":   {func(s *corev1.Service) { s.Generation = 0 }, true},
		"an owner of fields": {func(s *corev1.Service) {
			s.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "m", FieldsV1: metav1.NewFieldsV1(`{"f:spec":{}}`)}}
		}, true},
		"an owner of the status": {func(s *corev1.Service) {
			s.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "m", Subresource: "status", FieldsV1: metav1.NewFieldsV1(`{"f:status":{}}`)}}
		}, false},
	} {
		t.Run(what, func(t *testing.T) {
			x := live.NewIndex(nil)
			f := x.Feed(services)
			f.Listed([]client.Object{service("5")}, "7")
			f.Saw(watch.Modified, service("9", c.change))
			want := live.Standing{Known: true, Version: 9, Changed: 5}
			if c.moves {
				want.Changed = 9
			}
			if got := x.Of(services, name); got != want {
				t.Errorf("%+v, want %+v", got, want)
			}
		})
	}
}

func TestWhatIsNotFollowedIsNotKnown(t *testing.T) {
	t.Parallel()
	x := live.NewIndex(nil)
	f := x.Feed(services)
	check := func(when string, known bool) {
		t.Helper()
		if got := x.Of(services, name); got.Known != known {
			t.Errorf("%s: %+v, want known %v", when, got, known)
		}
	}
	check("before the list", false)
	f.Listed([]client.Object{service("5")}, "7")
	check("listed", true)
	f.Lost()
	check("while the watch is broken", false)
	if _, ok := x.Moved(services); ok {
		t.Error("while the watch is broken it says when objects moved")
	}
	f.Listed(nil, "9")
	check("gone meanwhile", false)
	if moved, ok := x.Moved(services); !ok || moved != 9 {
		t.Errorf("the end that nobody saw moved the kind at %d, %v", moved, ok)
	}
	f.Saw(watch.Added, service("10"))
	check("made", true)
	f.Saw(watch.Deleted, service("11"))
	check("deleted", false)
	f.Saw(watch.Added, service("opaque"))
	f.Saw(watch.Added, service("12"))
	check("after a version that is no number", false)
}

// What this process wrote is known at once, and does not hide what happens around it.
func TestOwnWritesGoAheadOfTheirEvents(t *testing.T) {
	t.Parallel()
	start := func() (*live.Index, *live.Feed) {
		x := live.NewIndex(nil)
		f := x.Feed(services)
		f.Listed(nil, "7")
		return x, f
	}
	x, f := start()
	x.Wrote(services, name, 9)
	if got := x.Of(services, name); !got.Known || got.Changed != 9 {
		t.Errorf("a creation: %+v", got)
	}
	f.Saw(watch.Deleted, service("8"))
	if !x.Of(services, name).Known {
		t.Error("an earlier end hides a later creation")
	}
	f.Saw(watch.Added, service("9"))
	f.Saw(watch.Deleted, service("12"))
	x.Wrote(services, name, 9)
	if x.Of(services, name).Known {
		t.Error("a late note brings back what is gone")
	}

	x, f = start()
	f.Saw(watch.Added, service("8"))
	x.Wrote(services, name, 20)
	f.Saw(watch.Modified, service("15", func(s *corev1.Service) { s.Generation = 2 }))
	if got := x.Of(services, name); got.Version != 20 || got.Changed != 15 {
		t.Errorf("a foreign write before one's own: %+v", got)
	}
	f.Listed([]client.Object{service("15", func(s *corev1.Service) { s.Generation = 2 })}, "16")
	if got := x.Of(services, name); got.Version != 20 {
		t.Errorf("a list that was read before one's own write: %+v", got)
	}
}

func FuzzEqualHashesAreEqualObjects(f *testing.F) {
	f.Add(`{"a":1,"b":[true,null,"x"]}`, `{"b":[true,null,"x"],"a":1}`)
	f.Add(`{"a":"1"}`, `{"a":1}`)
	f.Add(`{"a":["bc"]}`, `{"a":["b","c"]}`)
	f.Add(`{"a":{}}`, `{"a":[]}`)
	f.Add(`{"status":1}`, `{}`)
	f.Fuzz(func(t *testing.T, a, b string) {
		var x, y map[string]any
		if kjson.UnmarshalCaseSensitivePreserveInts([]byte(a), &x) != nil || kjson.UnmarshalCaseSensitivePreserveInts([]byte(b), &y) != nil {
			return
		}
		delete(x, "status")
		same := live.HashOf(x) == live.HashOf(y)
		delete(y, "status")
		if x == nil {
			x = map[string]any{}
		}
		if y == nil {
			y = map[string]any{}
		}
		if same != reflect.DeepEqual(x, y) {
			i, _ := json.Marshal(x)
			j, _ := json.Marshal(y)
			t.Errorf("equal hashes %v of %s and %s", same, i, j)
		}
	})
}

func TestUnclaimedAreObjectsThatNobodyAnswersFor(t *testing.T) {
	t.Parallel()
	apps := schema.GroupKind{Group: "slipway.dev", Kind: "Application"}
	x := live.NewIndex(func(_ schema.GroupKind, o client.Object) (types.NamespacedName, bool) {
		return types.NamespacedName{Namespace: "slipway", Name: o.GetLabels()["of"]}, o.GetLabels()["of"] != "another"
	})
	of := func(n, owner string) *corev1.Service {
		return service("5", func(s *corev1.Service) { s.Name, s.Labels = n, map[string]string{"of": owner} })
	}
	x.Feed(apps).Listed([]client.Object{service("4", func(s *corev1.Service) { s.Namespace, s.Name = "slipway", "shop" })}, "7")
	f := x.Feed(services)
	f.Listed([]client.Object{of("a", "shop"), of("b", "gone"), of("c", ""), of("d", "another")}, "7")
	f.Saw(watch.Deleted, of("c", ""))
	f.Saw(watch.Added, of("e", ""))
	var got []string
	x.Unclaimed(apps, services, "shop", func(o types.NamespacedName) { got = append(got, o.Name) })
	slices.Sort(got)
	if want := []string{"b", "e"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got := x.Names(services, "shop"); len(got) != 4 {
		t.Errorf("names %v", got)
	}
	if f.Lost(); x.Followed(apps, services) {
		t.Error("a broken watch is said to be followed")
	}
}
