package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/bench/workload"
)

// diffDrifted compares one application's objects with live state, of which one in a
// hundred was changed by hand.
func diffDrifted(ctx context.Context, e *Env) error {
	n := e.size(2500, 25)
	dir, err := e.folder("diff")
	if err != nil {
		return err
	}
	files, err := manifests(n, 0)
	if err != nil {
		return err
	}
	s, err := openSystem(ctx, dir, files, gitOnly)
	if err != nil {
		return err
	}
	defer s.close()
	app := application("all", "apps")
	if err := s.client.Create(ctx, app); err != nil {
		return err
	}
	if err := s.applied(ctx, s.git.head, 1); err != nil {
		return err
	}
	if err := s.settle(ctx, 0); err != nil {
		return err
	}
	atRest, err := e.planDrift(ctx, s, nil)
	if err != nil {
		return err
	}
	e.add(Line{What: "plan of " + objectsOf(n) + " objects, nothing changed", Ours: secs(atRest), Same: "the plan is empty",
		Note: "One application: its render is looked up by content, and every object's hash compared."})
	drifted, err := s.driftSuspended(ctx, app, n)
	if err != nil {
		return err
	}
	ours, err := e.planDrift(ctx, s, drifted)
	if err != nil {
		return err
	}
	line := Line{What: "diff of " + objectsOf(n) + " objects, 1 % drifted", Ours: secs(ours), PeerName: "gitops-engine",
		Same: "both name the same objects, " + strconv.Itoa(len(drifted)) + " of them",
		Note: "Ours is a whole plan: render from the cache, prune and consequences included. gitops-engine's DiffArray gets both sides parsed."}
	if !e.Short {
		line.Times, line.AtMost = 20, secs(0.240)
	}
	theirs, err := e.diffArray(ctx, s, n, dir, drifted)
	switch {
	case errors.Is(err, errNotBuilt):
		line.Note += " " + err.Error()
	case err != nil:
		return err
	}
	line.Peer = secs(theirs)
	e.add(line)
	return nil
}

// driftSuspended suspends an application and changes one object in a hundred by hand; it
// answers which.
func (s *system) driftSuspended(ctx context.Context, app client.Object, n int) ([]string, error) {
	patch := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"suspend":true}}`))
	if err := s.client.Patch(ctx, app, patch); err != nil {
		return nil, err
	}
	time.Sleep(200 * time.Millisecond)
	var drifted []string
	for i := 0; i < n; i += 25 {
		cm := &corev1.ConfigMap{}
		cm.Namespace, cm.Name = workload.Namespace, workload.App(i)
		if err := s.client.Patch(ctx, cm, client.RawPatch(types.MergePatchType, []byte(`{"data":{"LISTEN":"changed by hand"}}`)), client.FieldOwner("kubectl")); err != nil {
			return nil, err
		}
		drifted = append(drifted, "ConfigMap/"+cm.Name)
	}
	return drifted, nil
}

func (e *Env) planDrift(ctx context.Context, s *system, drifted []string) (float64, error) {
	var app v1alpha1.Application
	if err := s.client.Get(ctx, types.NamespacedName{Namespace: home, Name: "all"}, &app); err != nil {
		return 0, err
	}
	rev, err := s.sources.Revision(ctx, repository)
	if err != nil {
		return 0, err
	}
	var times []float64
	for range e.runs(5) {
		began := time.Now()
		plan, err := s.reconciler.Plan(ctx, &app, rev, true)
		if err != nil {
			return 0, err
		}
		times = append(times, time.Since(began).Seconds())
		var named []string
		for _, step := range plan.Steps {
			if step.Action == "change" {
				named = append(named, "ConfigMap/"+filepath.Base(step.Object))
			}
		}
		slices.Sort(named)
		if len(plan.Steps) != len(drifted) || !slices.Equal(named, drifted) {
			return 0, fmt.Errorf("%d objects drifted, the plan has %d steps: %.200s", len(drifted), len(plan.Steps), plan)
		}
	}
	return median(times), nil
}

// diffArray gives gitops-engine what git declares and what is live.
func (e *Env) diffArray(ctx context.Context, s *system, n int, dir string, drifted []string) (float64, error) {
	bin, err := gitopsEngine.find(ctx, e)
	if err != nil {
		return 0, err
	}
	live, err := s.live(ctx)
	if err != nil {
		return 0, err
	}
	var declared, found []map[string]any
	for i := range n {
		objects, err := workload.Objects(i, 0)
		if err != nil {
			return 0, err
		}
		for _, o := range objects {
			u := unstructured.Unstructured{Object: o}
			declared = append(declared, o)
			found = append(found, live[u.GetKind()+"/"+u.GetName()])
		}
	}
	names := [2]string{filepath.Join(dir, "declared.json"), filepath.Join(dir, "live.json")}
	for i, list := range [][]map[string]any{declared, found} {
		raw, err := json.Marshal(list)
		if err != nil {
			return 0, err
		}
		if err := os.WriteFile(names[i], raw, 0o600); err != nil {
			return 0, err
		}
	}
	r, err := runProcess(ctx, dir, bin, names[0], names[1], strconv.Itoa(e.runs(3)))
	if err != nil {
		return 0, err
	}
	var answer struct {
		Seconds []float64
		Differ  []string
	}
	if err := json.Unmarshal(r.Stdout, &answer); err != nil {
		return 0, err
	}
	slices.Sort(answer.Differ)
	if !slices.Equal(answer.Differ, drifted) {
		return 0, fmt.Errorf("gitops-engine says that %d objects differ, not %d: %.200v", len(answer.Differ), len(drifted), answer.Differ)
	}
	return median(answer.Seconds), nil
}

// live reads every object of the workload, by kind and name.
func (s *system) live(ctx context.Context) (map[string]map[string]any, error) {
	out := map[string]map[string]any{}
	for _, kind := range []string{"ConfigMap", "ServiceAccount", "Service", "ReplicationController"} {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(schema.GroupVersionKind{Version: "v1", Kind: kind + "List"})
		if err := s.client.List(ctx, list, client.InNamespace(workload.Namespace)); err != nil {
			return nil, err
		}
		for _, o := range list.Items {
			o.SetGroupVersionKind(schema.GroupVersionKind{Version: "v1", Kind: kind})
			out[kind+"/"+o.GetName()] = o.Object
		}
	}
	return out, nil
}
