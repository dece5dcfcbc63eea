package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/bench/workload"
)

// applied is what the applies of one application took, in seconds.
type applied struct {
	First, Nothing, OnePercent float64
}

// The figures that stand in where a peer cannot be run: measured earlier on a machine of
// two processors, with less in a rendered object.
var (
	statedKustomize = map[int]applied{250: {First: 6.9, Nothing: 3.6, OnePercent: 3.6}, 2500: {First: 222}}
	statedSSA       = map[int]applied{250: {First: 1000.0 / 245, Nothing: 1000.0 / 650}, 2500: {First: 10000.0 / 245, Nothing: 10000.0 / 650}}
)

// applyOne measures one application that holds everything, as YAML: its first apply, a
// revision that changes nothing, and one that changes one object in a hundred.
func applyOne(ctx context.Context, e *Env) error {
	return e.applyAt(ctx, e.size(250, 25))
}

// applyLarge is the same at 10,000 objects; a short run has none.
func applyLarge(ctx context.Context, e *Env) error {
	if e.Short {
		return nil
	}
	return e.applyAt(ctx, 2500)
}

func (e *Env) applyAt(ctx context.Context, n int) error {
	files, err := manifests(n, 0)
	if err != nil {
		return err
	}
	ours, err := e.applyOurs(ctx, n, files)
	if err != nil {
		return err
	}
	fmt.Fprintf(e.Progress, "  ours: first %s, nothing %s, 1 %% %s\n", secs(ours.First), secs(ours.Nothing), secs(ours.OnePercent))
	return e.compareApply(ctx, n, files, ours)
}

// manifests are the YAML files of n applications; every hundredth object is of another
// edition.
func manifests(n, edition int) (map[string]string, error) {
	objects := map[string][]map[string]any{}
	for i := range n {
		of := 0
		if i%25 == 0 {
			of = edition
		}
		var err error
		if objects[workload.App(i)], err = workload.Objects(i, 0); err != nil {
			return nil, err
		}
		if of != 0 {
			config, ok := objects[workload.App(i)][0]["data"].(map[string]any)
			if !ok {
				return nil, fmt.Errorf("%s has no data", workload.App(i))
			}
			config["EDITION"] = strconv.Itoa(of)
		}
	}
	return workload.Manifests(objects)
}

// commented are the files that a revision changes in which no object differs.
func commented(files map[string]string) map[string]string {
	name := workload.Folder(0) + "/objects.yaml"
	return map[string]string{name: "# The same objects.\n" + files[name]}
}

func (e *Env) applyOurs(ctx context.Context, n int, files map[string]string) (applied, error) {
	var first, nothing, onePercent []float64
	for range e.runs(3) {
		a, err := e.applyOnce(ctx, n, files)
		if err != nil {
			return a, err
		}
		first, nothing, onePercent = append(first, a.First), append(nothing, a.Nothing), append(onePercent, a.OnePercent)
	}
	return applied{median(first), median(nothing), median(onePercent)}, nil
}

func (e *Env) applyOnce(ctx context.Context, n int, files map[string]string) (applied, error) {
	var out applied
	dir, err := e.folder("apply")
	if err != nil {
		return out, err
	}
	s, err := openSystem(ctx, dir, files, gitOnly)
	if err != nil {
		return out, err
	}
	defer s.close()
	began := time.Now()
	if err := s.client.Create(ctx, application("all", "apps")); err != nil {
		return out, err
	}
	if err := s.applied(ctx, s.git.head, 1); err != nil {
		return out, err
	}
	out.First = time.Since(began).Seconds()
	if err := s.holds(ctx, n, 0); err != nil {
		return out, err
	}
	if out.Nothing, err = s.revise(ctx, commented(files)); err != nil {
		return out, err
	}
	changed, err := manifests(n, 7)
	if err != nil {
		return out, err
	}
	if out.OnePercent, err = s.revise(ctx, changed); err != nil {
		return out, err
	}
	return out, s.holds(ctx, n, 7)
}

// revise pushes, and measures from the new revision in live state to the application
// that says it is applied.
func (s *system) revise(ctx context.Context, files map[string]string) (float64, error) {
	if err := s.git.push("revise", files); err != nil {
		return 0, err
	}
	var known time.Time
	seen := make(chan error, 1)
	go func() {
		err := s.source(ctx, s.git.head)
		known = time.Now()
		seen <- err
	}()
	s.sources.Refresh(repository)
	if err := s.applied(ctx, s.git.head, 1); err != nil {
		return 0, err
	}
	done := time.Now()
	if err := <-seen; err != nil {
		return 0, err
	}
	return max(done.Sub(known).Seconds(), 1e-6), nil
}

// holds checks that live state has every object, with the right edition.
func (s *system) holds(ctx context.Context, n, edition int) error {
	var accounts corev1.ServiceAccountList
	var services corev1.ServiceList
	var controllers corev1.ReplicationControllerList
	for _, list := range []client.ObjectList{&accounts, &services, &controllers} {
		if err := s.client.List(ctx, list, client.InNamespace(workload.Namespace), client.MatchingLabels{"app.kubernetes.io/managed-by": "bench"}); err != nil {
			return err
		}
	}
	if len(accounts.Items) != n || len(services.Items) != n || len(controllers.Items) != n {
		return fmt.Errorf("%d ServiceAccounts, %d Services, %d ReplicationControllers instead of %d each", len(accounts.Items), len(services.Items), len(controllers.Items), n)
	}
	var configs corev1.ConfigMapList
	if err := s.client.List(ctx, &configs, client.InNamespace(workload.Namespace)); err != nil {
		return err
	}
	return editions100(configs.Items, n, edition)
}

// editions100 checks that every 25th application's ConfigMap, one object in a hundred, is
// of an edition.
func editions100(items []corev1.ConfigMap, n, edition int) error {
	changed := 0
	for _, cm := range items {
		if cm.Data["EDITION"] == strconv.Itoa(edition) {
			changed++
		}
	}
	want := (n + 24) / 25
	if edition == 0 {
		want = n
	}
	if len(items) != n || changed != want {
		return fmt.Errorf("%d ConfigMaps of which %d are of edition %d, instead of %d and %d", len(items), changed, edition, n, want)
	}
	return nil
}

// compareApply runs the peers on the same files and makes the lines.
func (e *Env) compareApply(ctx context.Context, n int, files map[string]string, ours applied) error {
	objects := objectsOf(n) + " objects"
	same := "all objects are live with the same data"
	flux, fluxNote, err := e.peerApply(ctx, n, files, kustomizePeer, statedKustomize)
	if err != nil {
		return err
	}
	ssa, ssaNote, err := e.peerApply(ctx, n, files, ssaPeer, statedSSA)
	if err != nil {
		return err
	}
	lines := []Line{
		{What: "first apply of " + objects, Ours: secs(ours.First), PeerName: "pkg/ssa over HTTP", Peer: secs(ssa.First), Note: ssaNote},
		{What: "first apply of " + objects, Ours: secs(ours.First), PeerName: "kustomize-controller", Peer: secs(flux.First), Note: fluxNote},
		{What: objects + ", a new revision with nothing changed", Ours: secs(ours.Nothing), PeerName: "kustomize-controller", Peer: secs(flux.Nothing), Note: fluxNote},
		{What: objects + ", a new revision with 1 % changed", Ours: secs(ours.OnePercent), PeerName: "kustomize-controller", Peer: secs(flux.OnePercent), Note: fluxNote},
	}
	switch n {
	case 250:
		lines[0].Times = 20
		lines[2].Times, lines[2].AtMost = 50, secs(0.072)
		lines[3].Times, lines[3].AtMost = 50, secs(0.072)
	case 2500:
		lines[1].Times, lines[1].AtMost = 80, secs(2.8)
	}
	for i, l := range lines {
		l.Same, l.Stated = same, i > 0 && fluxNote != "" || i == 0 && ssaNote != ""
		l.Note = "One application; from the revision in live state to its status, durable and recorded. " + l.Note
		e.add(l)
	}
	return nil
}
