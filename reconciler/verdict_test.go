package reconciler

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/state"
	"slipway.dev/slipway/state/loop"
	"slipway.dev/slipway/state/statetest"
)

type inBatches struct{ *state.Client }

func (b inBatches) ApplyMany(ctx context.Context, objects []*unstructured.Unstructured, o client.ApplyOptions) []Applied {
	var out []Applied
	for _, r := range b.Client.ApplyMany(ctx, objects, o) {
		out = append(out, Applied(r))
	}
	return out
}

func (b inBatches) Prepare(ctx context.Context, objects []*unstructured.Unstructured, o client.ApplyOptions) []Prepared {
	var out []Prepared
	for _, p := range b.Client.Prepare(ctx, objects, o) {
		out = append(out, Prepared{Before: p.Before, Changed: p.Changed, Err: p.Err, After: p.After, Handle: p})
	}
	return out
}

func (b inBatches) Commit(ctx context.Context, handles []any) []Committed {
	var out []Committed
	for _, h := range handles {
		for _, r := range b.Client.Commit(ctx, []*state.Prepared{h.(*state.Prepared)}) {
			out = append(out, Committed(r))
		}
	}
	return out
}

// rig holds the planner that remembers against one that asks fluxcd/pkg/ssa about everything.
type rig struct {
	*testing.T
	*rand.Rand
	client  *state.Client
	fast    *planner
	app     *v1alpha1.Application
	desired map[string]*unstructured.Unstructured
	said    []string
}

// TestRememberedVerdictsAreThoseOfAFullDryRun changes git, live state and who owns which
// fields at random. What the planner says from memory is what asking about everything says.
func TestRememberedVerdictsAreThoseOfAFullDryRun(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			c := statetest.New(t)
			r := &rig{T: t, Rand: rand.New(rand.NewPCG(seed, 7)), client: c, fast: newPlanner(c, inBatches{c}, time.Now), desired: map[string]*unstructured.Unstructured{}}
			r.app = &v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Namespace: "slipway", Name: "app"}}
			var done sync.WaitGroup
			ctx, stop := context.WithCancel(context.Background())
			done.Go(func() {
				loop.Run(ctx, c, slog.New(slog.DiscardHandler), loop.Controller{Name: "index", Watches: driftWatches(r.fast.index),
					Reconcile: func(context.Context, loop.Key) (loop.Result, error) { return loop.Result{}, nil }})
			})
			t.Cleanup(func() { stop(); done.Wait() })
			for range 40 {
				for range 1 + r.IntN(4) {
					r.step()
				}
				r.compare()
			}
		})
	}
}

var sorts = []string{"ConfigMap", "Secret", "Service", "Route", "DeploymentConfig"}

// object is what git may say.
func (r *rig) object() *unstructured.Unstructured {
	kind, name, v := sorts[r.IntN(len(sorts))], fmt.Sprint("o", r.IntN(3)), fmt.Sprint("v", r.IntN(3))
	o := map[string]any{"apiVersion": "v1", "kind": kind, "metadata": map[string]any{"namespace": "pp", "name": name}}
	meta := o["metadata"].(map[string]any)
	if r.IntN(2) == 0 {
		meta["annotations"] = map[string]any{"a" + v: v}
	}
	if r.IntN(2) == 0 {
		meta["labels"] = map[string]any{"l": v}
	}
	switch kind {
	case "ConfigMap":
		o["data"] = map[string]any{"k" + v: v, "same": v}
	case "Secret":
		o[[]string{"data", "stringData"}[r.IntN(2)]] = map[string]any{"k" + v: "dmFsdWU="}
	case "Service":
		o["spec"] = map[string]any{"selector": map[string]any{"app": v}, "ports": []any{map[string]any{"port": int64(80 + r.IntN(2)), "name": "http"}}}
	case "Route":
		o["apiVersion"] = "route.openshift.io/v1"
		o["spec"] = map[string]any{"host": v + ".example.com", "to": map[string]any{"kind": "Service", "name": name}}
	case "DeploymentConfig":
		o["apiVersion"] = "apps.openshift.io/v1"
		container := map[string]any{"name": "web", "image": "example.com/web:" + v}
		if r.IntN(2) == 0 {
			container["env"] = []any{map[string]any{"name": v, "value": v}}
		}
		triggers := []any{map[string]any{"type": "ConfigChange"}}
		if r.IntN(2) == 0 {
			triggers = append(triggers, map[string]any{"type": "ImageChange", "imageChangeParams": map[string]any{
				"automatic": true, "containerNames": []any{"web"}, "from": map[string]any{"kind": "ImageStreamTag", "name": "web:" + v}}})
		}
		o["spec"] = map[string]any{"replicas": int64(r.IntN(3)), "selector": map[string]any{"app": "web"}, "triggers": triggers, "template": map[string]any{
			"metadata": map[string]any{"labels": map[string]any{"app": "web"}}, "spec": map[string]any{"containers": []any{container}}}}
	}
	return &unstructured.Unstructured{Object: o}
}

func (r *rig) did(format string, args ...any) { r.said = append(r.said, fmt.Sprintf(format, args...)) }

// step does something that may or may not make a difference.
func (r *rig) step() {
	o := r.object()
	id := refOf(o).id().String()
	live, err := r.fast.live(r.Context(), refOf(o))
	if err != nil {
		r.Fatal(err)
	}
	switch r.IntN(9) {
	case 0, 1, 2:
		r.desired[id] = o
		r.did("git says %v", o.Object)
	case 3:
		delete(r.desired, id)
		r.did("git drops %s", id)
	case 4:
		if live != nil {
			r.did("delete %s: %v", id, r.client.Delete(r.Context(), live))
		}
	case 5: // a person with an editor
		o.SetLabels(map[string]string{"l": "hand", OwnerName: "app", OwnerNamespace: "slipway"})
		if live != nil {
			r.did("update %s: %v", id, r.client.Update(r.Context(), o, client.FieldOwner("hand")))
		}
	case 6: // another manager of fields, which takes them or gives them back
		opts := []client.PatchOption{client.FieldOwner("other"), client.ForceOwnership}
		if r.IntN(2) == 0 {
			o = &unstructured.Unstructured{Object: map[string]any{"apiVersion": o.GetAPIVersion(), "kind": o.GetKind(), "metadata": map[string]any{"namespace": "pp", "name": o.GetName()}}}
		}
		if live != nil {
			r.did("other applies %v: %v", o.Object, r.client.Patch(r.Context(), o, client.Apply, opts...))
		}
	case 7: // a controller with a status
		if live != nil && (o.GetKind() == "DeploymentConfig" || o.GetKind() == "Service") {
			live.Object["status"] = map[string]any{"observedGeneration": r.Int64N(9)}
			if o.GetKind() == "Service" {
				live.Object["status"] = map[string]any{"loadBalancer": map[string]any{"ingress": []any{map[string]any{"hostname": fmt.Sprint("h", r.IntN(9))}}}}
			}
			r.did("status of %s: %v", id, r.client.Status().Update(r.Context(), live))
		}
	case 8: // a trigger
		if live != nil && o.GetKind() == "DeploymentConfig" {
			list := triggers(live)
			var out []any
			for _, one := range list {
				if p, ok := one["imageChangeParams"].(map[string]any); ok {
					p["lastTriggeredImage"] = fmt.Sprint("example.com/web@sha256:", r.IntN(3))
				}
				out = append(out, one)
			}
			_ = unstructured.SetNestedSlice(live.Object, out, "spec", "triggers")
			r.did("trigger of %s: %v", id, r.client.Update(r.Context(), live, client.FieldOwner("trigger")))
		}
	}
}

func (r *rig) compare() {
	r.Helper()
	var want api.Desired
	for _, id := range slices.Sorted(maps.Keys(r.desired)) {
		want.Objects = append(want.Objects, api.DesiredObject{Unstructured: r.desired[id]})
	}
	r.settleIndex()
	full := newPlanner(r.client, nil, time.Now)
	a, err := r.fast.plan(r.Context(), r.app, api.Revision{}, want)
	if err != nil {
		r.Fatal(err)
	}
	b, err := full.plan(r.Context(), r.app, api.Revision{}, want)
	if err != nil {
		r.Fatal(err)
	}
	if x, y := verdictsOf(a), verdictsOf(b); x != y {
		r.Fatalf("from memory:\n%s\nfull:\n%s\nafter\n%s", x, y, strings.Join(r.said, "\n"))
	}
	if len(a.Problems) > 0 || r.IntN(2) == 0 {
		return
	}
	r.did("applied")
	if err := r.fast.apply(r.Context(), a); err != nil {
		r.Fatal(err)
	}
	api.SetInventory(&r.app.Status, entries(a.inventory...))
	again, err := full.plan(r.Context(), r.app, api.Revision{}, want)
	if err != nil || !again.Empty() {
		r.Fatalf("after the apply: %v\n%s\nafter\n%s", err, again, strings.Join(r.said, "\n"))
	}
}

func verdictsOf(p *Plan) string {
	lines := []string{fmt.Sprint(p.Unchanged, " unchanged, digest ", p.Digest())}
	for _, s := range p.Steps {
		lines = append(lines, fmt.Sprint(s.Action, " ", s.Object, " ", s.Fields))
	}
	for _, x := range p.Problems {
		lines = append(lines, api.ProblemString(x))
	}
	slices.Sort(lines[1:])
	return strings.Join(lines, "\n")
}

// settleIndex waits until the watches have told what was done.
func (r *rig) settleIndex() {
	r.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		behind := ""
		for _, kind := range sorts {
			for i := range 3 {
				k, _ := api.KindNamed(kind)
				ref := inventoryRef{GroupVersionKind: k.GroupVersionKind, Namespace: "pp", Name: fmt.Sprint("o", i)}
				live, err := r.fast.live(r.Context(), ref)
				if err != nil {
					r.Fatal(err)
				}
				s := r.fast.index.Of(ref.GroupKind(), ref.key())
				if s.Known != (live != nil) || live != nil && fmt.Sprint(s.Version) != live.GetResourceVersion() {
					behind = ref.Kind
				}
			}
		}
		if behind == "" {
			return
		}
		if time.Now().After(end) {
			r.Fatalf("the index of %s stays behind", behind)
		}
	}
}
