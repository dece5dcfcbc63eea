package reconciler_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/reconciler"
	"slipway.dev/slipway/state"
	"slipway.dev/slipway/state/statetest"
)

var errDied = errors.New("the process is dead")

// mortal is live state for a process that dies before or after its n-th write, and can do
// nothing from then on.
type mortal struct {
	client.WithWatch
	state *state.Client
	// left are the writes until death; after: the last one still happens.
	left  int
	after bool
	dead  bool
	last  string
}

func (m *mortal) write(what string, do func() error) error {
	if m.dead {
		return errDied
	}
	m.left--
	if m.left > 0 {
		return do()
	}
	m.dead, m.last = true, what
	if m.after {
		_ = do()
	}
	return errDied
}

func (m *mortal) Get(ctx context.Context, k client.ObjectKey, o client.Object, opts ...client.GetOption) error {
	if m.dead {
		return errDied
	}
	return m.WithWatch.Get(ctx, k, o, opts...)
}

func (m *mortal) List(ctx context.Context, l client.ObjectList, opts ...client.ListOption) error {
	if m.dead {
		return errDied
	}
	return m.WithWatch.List(ctx, l, opts...)
}

func (m *mortal) Create(ctx context.Context, o client.Object, opts ...client.CreateOption) error {
	return m.write("create "+o.GetName(), func() error { return m.WithWatch.Create(ctx, o, opts...) })
}

func (m *mortal) Update(ctx context.Context, o client.Object, opts ...client.UpdateOption) error {
	return m.write("update "+o.GetName(), func() error { return m.WithWatch.Update(ctx, o, opts...) })
}

func (m *mortal) Patch(ctx context.Context, o client.Object, p client.Patch, opts ...client.PatchOption) error {
	return m.write("patch "+o.GetName(), func() error { return m.WithWatch.Patch(ctx, o, p, opts...) })
}

func (m *mortal) Delete(ctx context.Context, o client.Object, opts ...client.DeleteOption) error {
	return m.write("delete "+o.GetName(), func() error { return m.WithWatch.Delete(ctx, o, opts...) })
}

func (m *mortal) Status() client.SubResourceWriter { return mortalStatus{m.WithWatch.Status(), m} }

type mortalStatus struct {
	client.SubResourceWriter
	m *mortal
}

func (s mortalStatus) Update(ctx context.Context, o client.Object, opts ...client.SubResourceUpdateOption) error {
	return s.m.write("status of "+o.GetName(), func() error { return s.SubResourceWriter.Update(ctx, o, opts...) })
}

func (s mortalStatus) Patch(ctx context.Context, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
	return s.m.write("status of "+o.GetName(), func() error { return s.SubResourceWriter.Patch(ctx, o, p, opts...) })
}

// ApplyMany applies one object after the other, so that death may come between any two.
func (m *mortal) ApplyMany(ctx context.Context, objects []*unstructured.Unstructured, o client.ApplyOptions) []reconciler.Applied {
	out := make([]reconciler.Applied, len(objects))
	for i, one := range objects {
		err := m.write("apply "+one.GetName(), func() error {
			out[i] = many{m.state}.ApplyMany(ctx, []*unstructured.Unstructured{one}, o)[0]
			return out[i].Err
		})
		if err != nil {
			out[i] = reconciler.Applied{Err: err}
		}
	}
	return out
}

func (m *mortal) Prepare(ctx context.Context, objects []*unstructured.Unstructured, o client.ApplyOptions) []reconciler.Prepared {
	out := many{m.state}.Prepare(ctx, objects, o)
	for i := range out {
		if m.dead {
			out[i] = reconciler.Prepared{Err: errDied}
		}
	}
	return out
}

// Commit carries out one object after the other.
func (m *mortal) Commit(ctx context.Context, handles []any) []reconciler.Committed {
	out := make([]reconciler.Committed, len(handles))
	for i, h := range handles {
		err := m.write("apply", func() error {
			out[i] = many{m.state}.Commit(ctx, []any{h})[0]
			return out[i].Err
		})
		if err != nil {
			out[i] = reconciler.Committed{Err: err}
		}
	}
	return out
}

type silent struct{}

func (silent) Event(client.Object, string, string, string, ...any) {}

// ship is an application whose reconciler dies and is started again.
type ship struct {
	*testing.T
	client *state.Client
	repo   *repository
}

var rootKey = types.NamespacedName{Namespace: "slipway", Name: "root"}

func newShip(t *testing.T) *ship {
	s := &ship{T: t, client: statetest.New(t), repo: &repository{}}
	s.must(s.client.Create(t.Context(), &v1alpha1.GitRepository{
		ObjectMeta: metav1.ObjectMeta{Namespace: "slipway", Name: "root"}, Spec: v1alpha1.GitRepositorySpec{URL: "https://git.example.com/root"},
	}))
	s.must(s.client.Create(t.Context(), &v1alpha1.Application{
		ObjectMeta: metav1.ObjectMeta{Namespace: "slipway", Name: "root"},
		Spec: v1alpha1.ApplicationSpec{SourceRef: v1alpha1.SourceReference{Name: "root"}, Brakes: &v1alpha1.Brakes{Disabled: true},
			DeletionPolicy: v1alpha1.DeletionDelete},
	}))
	return s
}

func (s *ship) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// life is one process: it looks at the application until it is at rest or the process dies.
func (s *ship) life(left int, after bool) *mortal {
	s.Helper()
	m := &mortal{WithWatch: s.client, state: s.client, left: left, after: after}
	r := &reconciler.Reconciler{Client: m, Sources: s.repo, Render: plainYAML{}, Log: slog.New(slog.DiscardHandler), Events: silent{}, Applier: m}
	r.Controllers()
	for range 20 {
		before := s.app()
		if _, err := r.Reconcile(s.Context(), rootKey); err != nil {
			if m.dead {
				return m
			}
			s.Fatal(err)
		}
		if now := s.app(); now == nil || before != nil && now.ResourceVersion == before.ResourceVersion {
			return m
		}
	}
	s.Fatalf("it does not come to rest: %+v", s.app().Status)
	return nil
}

const immortal = 1 << 30

func (s *ship) app() *v1alpha1.Application {
	app := &v1alpha1.Application{}
	if err := s.client.Get(s.Context(), rootKey, app); err != nil {
		s.must(client.IgnoreNotFound(err))
		return nil
	}
	return app
}

// owned are the names of the live objects that the application owns.
func (s *ship) owned() []string {
	var out []string
	for _, kind := range []string{"ConfigMapList", "SecretList", "ServiceList"} {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(schema.GroupVersionKind{Version: "v1", Kind: kind})
		s.must(s.client.List(s.Context(), list, client.MatchingLabels{reconciler.OwnerName: "root"}))
		for _, o := range list.Items {
			out = append(out, o.GetName())
		}
	}
	slices.Sort(out)
	return out
}

func (s *ship) records(reason string) (out []v1alpha1.RecordSpec) {
	var list v1alpha1.RecordList
	s.must(s.client.List(s.Context(), &list))
	for _, r := range list.Items {
		if r.Spec.Reason == reason {
			out = append(out, r.Spec)
		}
	}
	return out
}

func placed(file string) string {
	return strings.Replace(file, "metadata:", "metadata:\n  namespace: pp", 1)
}

func secret(name, v string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: Secret\nmetadata:\n  namespace: pp\n  name: %s\nstringData:\n  v: %q\n", name, v)
}

var (
	firstTree = map[string]string{
		"a.yaml": placed(config("a", "1")), "b.yaml": placed(config("b", "1")), "c.yaml": placed(config("c", "1")), "s.yaml": secret("s", "1"),
	}
	secondTree = map[string]string{
		"a.yaml": placed(config("a", "2")), "c.yaml": placed(config("c", "1")), "s.yaml": secret("s", "2"), "d.yaml": placed(config("d", "2")),
	}
	thirdTree = map[string]string{"a.yaml": placed(config("a", "3")), "e.yaml": placed(config("e", "3"))}
)

// everywhere calls check with a ship whose process died at each of the writes of what a
// commit, a hand or a deletion asks for, once before the write and once after it.
func everywhere(t *testing.T, prepare func(*ship), check func(*ship, string)) {
	t.Parallel()
	for _, after := range []bool{false, true} {
		for n := 1; ; n++ {
			s := newShip(t)
			prepare(s)
			m := s.life(n, after)
			if !m.dead {
				if n < 3 {
					t.Fatalf("there were only %d writes", n-1)
				}
				break
			}
			check(s, fmt.Sprintf("died at write %d (%s), after it: %v", n, m.last, after))
		}
	}
}

func (s *ship) follows(when, commit string, objects ...string) {
	s.Helper()
	app := s.app()
	if app == nil || app.Status.LastAppliedCommit != commit || app.Status.Attempt != nil {
		s.Fatalf("%s: status %+v", when, app.Status)
	}
	if got := s.owned(); !slices.Equal(got, objects) {
		s.Errorf("%s: live are %v, want %v", when, got, objects)
	}
	inventory, err := api.Inventory(&app.Status)
	s.must(err)
	var listed []string
	for _, e := range inventory {
		listed = append(listed, strings.Split(e.ID, "_")[1])
	}
	slices.Sort(listed)
	if !slices.Equal(listed, objects) {
		s.Errorf("%s: the inventory lists %v, want %v", when, listed, objects)
	}
}

// recorded checks that a commit has one record, and that it tells the whole of it.
func (s *ship) recorded(when, commit string, created, changed, pruned int) {
	s.Helper()
	var of []v1alpha1.RecordSpec
	for _, r := range s.records(reconciler.ReasonCommit) {
		if r.Commit == commit && r.Outcome == reconciler.OutcomeApplied {
			of = append(of, r)
		}
	}
	if len(of) != 1 || of[0].Created != created || of[0].Changed != changed || of[0].Pruned != pruned {
		s.Errorf("%s: %s is recorded as %+v, want one of %d created, %d changed, %d pruned", when, commit, of, created, changed, pruned)
	}
}

func TestDeathAtEveryWriteOfTheFirstApply(t *testing.T) {
	everywhere(t, func(s *ship) { s.repo.commit("c1", firstTree) }, func(s *ship, when string) {
		s.life(immortal, false)
		s.follows(when, "c1", "a", "b", "c", "s")
		s.recorded(when, "c1", 4, 0, 0)
	})
}

func TestDeathAtEveryWriteOfACommit(t *testing.T) {
	everywhere(t, func(s *ship) {
		s.repo.commit("c1", firstTree)
		s.life(immortal, false)
		s.repo.commit("c2", secondTree)
	}, func(s *ship, when string) {
		s.life(immortal, false)
		s.follows(when, "c2", "a", "c", "d", "s")
		s.recorded(when, "c1", 4, 0, 0)
		s.recorded(when, "c2", 1, 2, 1)
	})
}

// While the process was dead the branch moved on: what was begun is left behind.
func TestDeathAndANewerCommit(t *testing.T) {
	everywhere(t, func(s *ship) {
		s.repo.commit("c1", firstTree)
		s.life(immortal, false)
		s.repo.commit("c2", secondTree)
	}, func(s *ship, when string) {
		s.repo.commit("c3", thirdTree)
		s.life(immortal, false)
		s.follows(when, "c3", "a", "e")
		n := 0
		for _, r := range s.records(reconciler.ReasonCommit) {
			if r.Commit == "c3" {
				n++
			}
		}
		if n != 1 {
			s.Errorf("%s: c3 has %d records", when, n)
		}
	})
}

// Death upon death: each process gets one write further than the one before.
func TestDeathAfterDeath(t *testing.T) {
	t.Parallel()
	s := newShip(t)
	s.repo.commit("c1", firstTree)
	s.life(immortal, false)
	s.repo.commit("c2", secondTree)
	for n := range 60 {
		s.life(1+n%3, n%2 == 0)
	}
	s.life(immortal, false)
	s.follows("after many deaths", "c2", "a", "c", "d", "s")
	s.recorded("after many deaths", "c2", 1, 2, 1)
}

func TestDeathAtEveryWriteOfARepair(t *testing.T) {
	everywhere(t, func(s *ship) {
		s.repo.commit("c1", firstTree)
		s.life(immortal, false)
		cm := &corev1.ConfigMap{}
		s.must(s.client.Get(s.Context(), types.NamespacedName{Namespace: "pp", Name: "a"}, cm))
		cm.Data["v"] = "by hand"
		s.must(s.client.Update(s.Context(), cm))
		s.must(s.client.Delete(s.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "pp", Name: "b"}}))
	}, func(s *ship, when string) {
		s.life(immortal, false)
		s.follows(when, "c1", "a", "b", "c", "s")
		if r := s.records(reconciler.ReasonDrift); len(r) != 1 || r[0].Created != 1 || r[0].Changed != 1 {
			s.Errorf("%s: the repair is recorded as %+v", when, r)
		}
	})
}

func TestDeathAtEveryWriteOfADeletion(t *testing.T) {
	everywhere(t, func(s *ship) {
		s.repo.commit("c1", firstTree)
		s.life(immortal, false)
		s.must(s.client.Delete(s.Context(), s.app()))
	}, func(s *ship, when string) {
		s.life(immortal, false)
		if app := s.app(); app != nil || len(s.owned()) > 0 {
			s.Errorf("%s: %v is left, application %+v", when, s.owned(), app)
		}
	})
}

func TestDeathAtEveryWriteOfAnOverride(t *testing.T) {
	everywhere(t, func(s *ship) {
		s.repo.commit("c1", firstTree)
		s.life(immortal, false)
		s.must(s.client.Create(s.Context(), &v1alpha1.Override{
			ObjectMeta: metav1.ObjectMeta{Namespace: "slipway", Name: "o"},
			Spec: v1alpha1.OverrideSpec{
				Application: rootKey.Name, Owner: "Ann <ann@example.com>", Reason: "fire", Signature: "s", Until: metav1.NewTime(time.Now().Add(time.Hour)),
				Object: v1alpha1.ObjectReference{APIVersion: "v1", Kind: "ConfigMap", Name: "a", Namespace: "pp"},
				Patch:  runtime.RawExtension{Raw: []byte(`{"data":{"v":"excepted"}}`)},
			},
		}))
	}, func(s *ship, when string) {
		s.life(immortal, false)
		cm := &corev1.ConfigMap{}
		s.must(s.client.Get(s.Context(), types.NamespacedName{Namespace: "pp", Name: "a"}, cm))
		if cm.Data["v"] != "excepted" {
			s.Errorf("%s: the override is not in force: %v", when, cm.Data)
		}
		if r := s.records(reconciler.ReasonOverride); len(r) != 1 || r[0].Changed != 1 {
			s.Errorf("%s: the override is recorded as %+v", when, r)
		}
	})
}
