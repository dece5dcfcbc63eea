package state_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/state"
	"slipway.dev/slipway/state/statetest"
)

// What is prepared is what a dry run says, and what is committed is what an apply writes: also where
// somebody else changed or removed some of the objects between the two.
func TestCommitIsApplyOfEach(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		prepared, plain := statetest.New(t), statetest.New(t)
		g := generator{rand.New(rand.NewPCG(seed, 2))}
		for round := range 10 {
			var objects []*unstructured.Unstructured
			for range 1 + g.IntN(60) {
				objects = append(objects, g.manifest(t))
			}
			o := client.ApplyOptions{FieldManager: g.pick("git", "git", "other", ""), Force: new(g.IntN(2) == 0)}
			what := fmt.Sprintf("seed %d, round %d by %q", seed, round, o.FieldManager)
			todo := prepared.Prepare(t.Context(), objects, o)
			o.DryRun = []string{"All"}
			sameResults(t, what+", prepared", objects, asResults(t, todo), plain.ApplyMany(t.Context(), objects, o))
			o.DryRun = nil
			if g.IntN(2) == 0 {
				for _, c := range []*state.Client{prepared, plain} {
					patch := fmt.Appendf(nil, `{"data":{"k1":"by hand %d","own":"1"}}`, round)
					_ = c.Patch(t.Context(), configMap("a", "n1"), client.RawPatch(types.MergePatchType, patch), client.FieldOwner("hand"))
					_ = c.Delete(t.Context(), configMap("a", "n2"))
				}
			}
			// What could not be prepared stays undone, whatever happened since.
			var good []*unstructured.Unstructured
			for i, p := range todo {
				if p.Err == nil {
					good = append(good, objects[i])
				}
			}
			want := plain.ApplyMany(t.Context(), good, o)
			for i, got := range prepared.Commit(t.Context(), todo) {
				if todo[i].Err != nil {
					if got.Err != todo[i].Err {
						t.Errorf("%s: %s: commit says %v, and was prepared with %v", what, objects[i].GetName(), got.Err, todo[i].Err)
					}
					continue
				}
				if g, w := masked(got.Err), masked(want[0].Err); g != w || (g == "") != (got.ResourceVersion != "") {
					t.Errorf("%s: %s: commit says %q at %q, apply %q", what, objects[i].GetName(), g, got.ResourceVersion, w)
				}
				want = want[1:]
			}
			if t.Failed() {
				return
			}
			sameStored(t, what, prepared, plain)
		}
	}
}

func masked(err error) string {
	if err == nil {
		return ""
	}
	return volatile.ReplaceAllString(err.Error(), "*")
}

func asResults(t *testing.T, prepared []*state.Prepared) []state.ApplyResult {
	out := make([]state.ApplyResult, len(prepared))
	for i, p := range prepared {
		out[i] = state.ApplyResult{Before: p.Before, Changed: p.Changed, Err: p.Err}
		if p.Err == nil {
			var err error
			out[i].Object, err = p.After()
			must(t, err)
		}
	}
	return out
}

// A commit writes exactly what was prepared, says at which revision, and twice is not twice.
func TestCommitWritesWhatWasPrepared(t *testing.T) {
	everywhere(t, commitWritesWhatWasPrepared)
}

func commitWritesWhatWasPrepared(t *testing.T, c *state.Client) {
	ctx := t.Context()
	todo := c.Prepare(ctx, manifests(250), client.ApplyOptions{FieldManager: "git"})
	var none corev1.ConfigMapList
	must(t, c.List(ctx, &none))
	if len(none.Items) > 0 {
		t.Fatalf("preparing made %d objects", len(none.Items))
	}
	first := c.Commit(ctx, todo)
	for i, got := range first {
		must(t, got.Err)
		after, err := todo[i].After()
		must(t, err)
		live := after.DeepCopy()
		must(t, c.Get(ctx, client.ObjectKeyFromObject(after), live))
		if live.GetUID() != after.GetUID() || live.GetResourceVersion() != got.ResourceVersion {
			t.Fatalf("%s is %s at %s, and was to be %s at %s", live.GetName(), live.GetUID(), live.GetResourceVersion(), after.GetUID(), got.ResourceVersion)
		}
	}
	for i, got := range c.Commit(ctx, todo) {
		if got != first[i] {
			t.Errorf("the second commit answers %v, the first %v", got, first[i])
		}
	}
}

// An apply with a precondition that no longer holds is refused at the commit, too.
func TestCommitKeepsPreconditions(t *testing.T) {
	everywhere(t, commitKeepsPreconditions)
}

func commitKeepsPreconditions(t *testing.T, c *state.Client) {
	ctx := t.Context()
	cm := configMap("a", "one")
	must(t, c.Create(ctx, cm))
	u := manifest(t, `{apiVersion: v1, kind: ConfigMap, metadata: {namespace: a, name: one}, data: {git: "%d"}}`, 1)
	u.SetResourceVersion(cm.ResourceVersion)
	todo := c.Prepare(ctx, []*unstructured.Unstructured{u}, client.ApplyOptions{FieldManager: "git"})
	must(t, todo[0].Err)
	must(t, c.Patch(ctx, configMap("a", "one"), client.RawPatch(types.MergePatchType, []byte(`{"data":{"own":"1"}}`))))
	if err := c.Commit(ctx, todo)[0].Err; !apierrors.IsConflict(err) {
		t.Errorf("got %v", err)
	}
}
