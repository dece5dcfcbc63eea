package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/bench/workload"
	"slipway.dev/slipway/render"
)

// steady measures, with everything applied and at rest, what one change costs, a look
// that finds nothing, and a foreign write; at three sizes, to show that the cost follows
// what changed and not what there is.
func steady(ctx context.Context, e *Env) error {
	for _, n := range []int{e.size(250, 10), e.size(2500, 20)} {
		if err := e.steadyAt(ctx, n); err != nil {
			return fmt.Errorf("%d applications: %w", n, err)
		}
	}
	return nil
}

// hundredThousand is steady at the largest size; a short run has none.
func hundredThousand(ctx context.Context, e *Env) error {
	if e.Short {
		return nil
	}
	return e.steadyAt(ctx, 25000)
}

func (e *Env) steadyAt(ctx context.Context, n int) error {
	dir, err := e.folder("steady")
	if err != nil {
		return err
	}
	s, err := openSystem(ctx, dir, workload.Jsonnet(n), workloads)
	if err != nil {
		return err
	}
	defer s.close()
	began := time.Now()
	if err := s.applications(ctx, n); err != nil {
		return err
	}
	fmt.Fprintf(e.Progress, "  %d applications ready after %.1f s\n", n, time.Since(began).Seconds())
	// Ready is said before the last look that finds nothing more to do.
	if err := s.settle(ctx, n); err != nil {
		return err
	}
	targets := n == 2500
	for _, measure := range []func(context.Context, *system, int, bool) error{e.push, e.look, e.edit, e.drift} {
		if err := measure(ctx, s, n, targets); err != nil {
			return err
		}
	}
	return nil
}

func objectsOf(n int) string { return thousands(n * workload.PerApplication) }

// editions counts the changes that were pushed, so that each is another.
var editions int

// push measures from the end of `git push`, where a hook comes in, to the application's
// status saying that the commit is applied.
func (e *Env) push(ctx context.Context, s *system, n int, targets bool) error {
	var applied []float64
	for range e.runs(9) * 3 {
		i := editions % n
		took, err := s.pushEdit(ctx, i)
		if err != nil {
			return err
		}
		applied = append(applied, took)
	}
	l := Line{What: "push to applied, one application of " + objectsOf(n) + " objects changed", Ours: secs(median(applied)),
		Same: "the live object holds what was pushed, and the application's status names the commit",
		Note: "From the end of `git push` over HTTP: fetch, render, plan, apply, record."}
	if targets {
		l.AtMost = secs(0.150)
	}
	e.add(l)
	return nil
}

func (s *system) pushEdit(ctx context.Context, i int) (float64, error) {
	editions++
	if err := s.git.push("edit", map[string]string{workload.Main(i): workload.Source(i, editions)}); err != nil {
		return 0, err
	}
	key := types.NamespacedName{Namespace: home, Name: workload.App(i)}
	began, err := s.followOne(ctx, &v1alpha1.ApplicationList{}, key, func() error {
		s.sources.Refresh(repository)
		return nil
	}, func(o client.Object) bool { return isApplied(o, s.git.head) })
	took := time.Since(began).Seconds()
	if err != nil {
		return 0, err
	}
	var cm corev1.ConfigMap
	if err := s.client.Get(ctx, client.ObjectKey{Namespace: workload.Namespace, Name: key.Name}, &cm); err != nil {
		return 0, err
	}
	if cm.Data["EDITION"] != strconv.Itoa(editions) {
		return 0, fmt.Errorf("%s is said to be applied, and its ConfigMap holds edition %s instead of %d", key, cm.Data["EDITION"], editions)
	}
	return took, nil
}

// followOne does something and waits until an object is as wanted; began is when it was
// done. The watch has told the object before, so that its own begin, which reads live state,
// is not in the measure.
func (s *system) followOne(ctx context.Context, list client.ObjectList, key types.NamespacedName, do func() error, wanted func(client.Object) bool) (began time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	events, err := s.client.Watch(ctx, list, client.InNamespace(key.Namespace), client.MatchingFields{"metadata.name": key.Name})
	if err != nil {
		return began, err
	}
	defer events.Stop()
	for {
		select {
		case <-ctx.Done():
			return began, fmt.Errorf("%T %s does not become as wanted: %w", list, key, ctx.Err())
		case ev, ok := <-events.ResultChan():
			if !ok || ev.Type == apiwatch.Error {
				return began, errors.New("the watch ended")
			}
			o, isObject := ev.Object.(client.Object)
			if !isObject || ev.Type == apiwatch.Bookmark {
				continue
			}
			if began.IsZero() {
				began = time.Now()
				if err := do(); err != nil {
					return began, err
				}
			} else if wanted(o) {
				return began, nil
			}
		}
	}
}

// look measures a reconcile of every application where nothing changed.
func (e *Env) look(ctx context.Context, s *system, n int, targets bool) error {
	if err := s.settle(ctx, n); err != nil {
		return err
	}
	before, err := s.revision(ctx)
	if err != nil {
		return err
	}
	var times []float64
	for range e.runs(5) {
		began := time.Now()
		if err := s.reconcileAll(ctx, n); err != nil {
			return err
		}
		times = append(times, time.Since(began).Seconds())
	}
	after, err := s.revision(ctx)
	if err != nil {
		return err
	}
	if before != after {
		return fmt.Errorf("a look at nothing new wrote: revision %s became %s", before, after)
	}
	l := Line{What: "full look at " + objectsOf(n) + " objects, nothing changed", Ours: secs(median(times)),
		Same: "nothing was written: live state's revision stayed the same",
		Note: fmt.Sprintf("Reconcile of each of the %s applications: each object's version is compared with the one at which it was last found equal. What a plan of everything costs is a line of its own.", thousands(n))}
	if targets {
		l.AtMost = secs(0.050)
	}
	e.add(l)
	return nil
}

// settle waits until live state moves no more.
func (s *system) settle(ctx context.Context, n int) error {
	if err := s.reconcileAll(ctx, n); err != nil {
		return err
	}
	for range 600 {
		before, err := s.revision(ctx)
		if err != nil {
			return err
		}
		time.Sleep(500 * time.Millisecond)
		if after, err := s.revision(ctx); err != nil || before == after {
			return err
		}
	}
	return errors.New("live state does not come to rest within 5 min")
}

func (s *system) revision(ctx context.Context) (string, error) {
	var list v1alpha1.GitRepositoryList
	err := s.client.List(ctx, &list)
	return list.ResourceVersion, err
}

func (s *system) reconcileAll(ctx context.Context, n int) error {
	return forEach(n, 32, func(i int) error {
		_, err := s.reconciler.Reconcile(ctx, types.NamespacedName{Namespace: home, Name: workload.App(i)})
		return err
	})
}

// forEach calls do for 0 to n-1, several side by side.
func forEach(n, workers int, do func(int) error) error {
	errs := make([]error, n)
	next := make(chan int)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := range next {
				errs[i] = do(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
	return errors.Join(errs...)
}

// edit measures from a new commit in the mirror to the changed application's new objects:
// which files differ, whom they concern, and the render.
func (e *Env) edit(ctx context.Context, s *system, n int, targets bool) error {
	from := s.git.head
	rev, err := s.sources.RevisionAt(ctx, repository, from)
	if err != nil {
		return err
	}
	known := make([]api.Desired, n)
	if err := forEach(n, 2, func(i int) (err error) {
		known[i], err = s.renderOne(ctx, rev, i)
		return err
	}); err != nil {
		return err
	}
	var times []float64
	for range e.runs(9) * 3 {
		i := (editions + 7) % n
		editions++
		if err := s.git.push("edit", map[string]string{workload.Main(i): workload.Source(i, editions)}); err != nil {
			return err
		}
		s.sources.Refresh(repository)
		if err := s.source(ctx, s.git.head); err != nil {
			return err
		}
		began := time.Now()
		changed, err := s.sources.Changes(ctx, repository, from, s.git.head)
		if err != nil {
			return err
		}
		affected := concerned(known, changed)
		rev, err := s.sources.RevisionAt(ctx, repository, s.git.head)
		if err != nil {
			return err
		}
		for _, a := range affected {
			if known[a], err = s.renderOne(ctx, rev, a); err != nil {
				return err
			}
		}
		times = append(times, time.Since(began).Seconds())
		if !slices.Equal(affected, []int{i}) {
			return fmt.Errorf("application %d changed, and the import graph says %v", i, affected)
		}
		if err := s.sameAsJsonnet(known[i], i); err != nil {
			return err
		}
		from = s.git.head
	}
	l := Line{What: "edit to new objects, one application of " + objectsOf(n) + " changed", Ours: secs(median(times)),
		Same: "the import graph names that application alone, and its objects are go-jsonnet's, byte for byte",
		Note: "tk show renders the whole environment."}
	if targets {
		l.AtMost, l.Times, l.PeerName = secs(0.030), 1000, "tk show"
		l.Peer = e.tkTook
	}
	e.add(l)
	return nil
}

func (s *system) renderOne(ctx context.Context, rev api.Revision, i int) (api.Desired, error) {
	return s.renderer.Render(ctx, render.Request{
		Tree: rev.Tree, Path: workload.Folder(i), Project: workload.Namespace, Application: home + "/" + workload.App(i),
	})
}

// concerned are the applications that a set of changed files may change.
func concerned(known []api.Desired, changed []string) []int {
	var out []int
	for i, d := range known {
		if slices.ContainsFunc(changed, d.Depends.On) {
			out = append(out, i)
		}
	}
	return out
}

func (s *system) sameAsJsonnet(d api.Desired, i int) error {
	want, err := plainJsonnet(s.git.work, workload.Main(i))
	if err != nil {
		return err
	}
	var got []map[string]any
	for _, o := range d.Objects {
		got = append(got, o.Object)
	}
	if w, g := digest(want, 0), digest(got, 0); w != g {
		a, _ := json.Marshal(want)
		b, _ := json.Marshal(got)
		return fmt.Errorf("%s: go-jsonnet renders %s, we %s", filepath.Base(workload.Main(i)), a, b)
	}
	return nil
}

// drift measures from a foreign write to the corrected object.
func (e *Env) drift(ctx context.Context, s *system, n int, targets bool) error {
	if err := s.settle(ctx, n); err != nil {
		return err
	}
	var times []float64
	for k := range e.runs(9) * 3 {
		took, err := s.foreignWrite(ctx, k*37%n)
		if err != nil {
			return err
		}
		times = append(times, took)
	}
	l := Line{What: "drift corrected, " + objectsOf(n) + " objects live", Ours: secs(median(times)),
		Same: "the object's data is again as git has it", Note: "From the foreign write's begin to the corrected object at a watcher."}
	if targets {
		l.AtMost = secs(0.100)
	}
	e.add(l)
	return nil
}

func (s *system) foreignWrite(ctx context.Context, i int) (float64, error) {
	patch := client.RawPatch(types.MergePatchType, []byte(`{"data":{"LISTEN":"changed by hand"}}`))
	cm := &corev1.ConfigMap{}
	cm.Namespace, cm.Name = workload.Namespace, workload.App(i)
	drifted := false
	began, err := s.followOne(ctx, &corev1.ConfigMapList{}, client.ObjectKeyFromObject(cm), func() error {
		return s.client.Patch(ctx, cm, patch, client.FieldOwner("kubectl"))
	}, func(o client.Object) bool {
		now := o.(*corev1.ConfigMap).Data["LISTEN"]
		drifted = drifted || now == "changed by hand"
		return drifted && now == "0.0.0.0"
	})
	return time.Since(began).Seconds(), err
}
