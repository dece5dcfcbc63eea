package reconciler

import (
	"context"
	"fmt"
	"reflect"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/reconciler/health"
	"slipway.dev/slipway/state/loop"
)

// Healthy is the condition that follows the health of an Application's objects at any time.
// Ready, in contrast, tells how the last commit went: it becomes true when the commit is
// applied and everything is healthy, and stays so when a pod crashes later on.
const Healthy = "Healthy"

// vitals is the loop that follows the health of what Applications own. It ends the wait of
// an Application that is applied, and wakes the other loop for one that waits between stages.
type vitals struct {
	*Reconciler
	wake  chan loop.Key
	pulse pulse

	mu    sync.Mutex
	looks map[loop.Key]look // guarded by mu
	// searched is when each Application's project was last searched for orphans; guarded by mu.
	searched map[loop.Key]time.Time
	orphans  *orphanage
}

// look is when an Application was last looked at, and for how long.
type look struct {
	ended time.Time
	took  time.Duration
}

func (r *Reconciler) vitals(wake chan loop.Key) loop.Controller {
	v := &vitals{Reconciler: r, wake: wake, pulse: pulse{}, looks: map[loop.Key]look{}, searched: map[loop.Key]time.Time{},
		orphans: &orphanage{client: r.Client, index: r.planner.index, found: map[string]finding{}}}
	watches := []loop.Watch{{List: &v1alpha1.ApplicationList{}, Skip: sameProgress()}}
	for _, k := range api.Kinds() {
		if health.Immediate(k.GroupKind()) || k.Runtime {
			continue
		}
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(k.GroupVersionKind.GroupVersion().WithKind(k.Kind + "List"))
		seen := &beat{}
		v.pulse[k.GroupKind()] = seen
		watches = append(watches, loop.Watch{List: list, Keys: ownerKeys, Observer: seen, Skip: seen.skip})
	}
	return loop.Controller{Name: "health", Workers: 4, Watches: watches, Reconcile: v.reconcile}
}

// sameProgress skips the events of an Application that did not move on.
func sameProgress() func(watch.EventType, client.Object) bool {
	type progress struct {
		generation int64
		commit     string
		objects    int
		ready      metav1.ConditionStatus
		reason     string
	}
	seen := map[types.UID]progress{}
	return func(event watch.EventType, o client.Object) bool {
		app, ok := o.(*v1alpha1.Application)
		if !ok || event == watch.Deleted {
			delete(seen, o.GetUID())
			return ok
		}
		now := progress{generation: app.Generation, commit: app.Status.LastAppliedCommit, objects: len(app.Status.Inventory) + len(app.Status.PackedInventory)}
		if c := meta.FindStatusCondition(app.Status.Conditions, Ready); c != nil {
			now.ready, now.reason = c.Status, c.Reason
		}
		last, known := seen[app.UID]
		seen[app.UID] = now
		return known && last == now
	}
}

// share bounds what following the health of one Application may take of a core's time: after
// a look it waits this many times as long as the look took, and at most maxRest.
const (
	share   = 4
	maxRest = time.Second
)

func (v *vitals) reconcile(ctx context.Context, key loop.Key) (loop.Result, error) {
	if rest := v.rest(key); rest > 0 {
		return loop.Result{After: rest}, nil
	}
	began := v.Now()
	after, err := v.look(ctx, key)
	v.mu.Lock()
	v.looks[key] = look{v.Now(), v.Now().Sub(began)}
	v.mu.Unlock()
	return loop.Result{After: after}, err
}

func (v *vitals) rest(key loop.Key) time.Duration {
	v.mu.Lock()
	defer v.mu.Unlock()
	l, ok := v.looks[key]
	if !ok || l.took < 5*time.Millisecond {
		return 0
	}
	return l.ended.Add(min(share*l.took, maxRest)).Sub(v.Now())
}

func (v *vitals) look(ctx context.Context, key loop.Key) (time.Duration, error) {
	app, err := v.application(ctx, key)
	if err != nil || app == nil || app.DeletionTimestamp != nil || app.Status.LastAttemptedCommit == "" {
		if err == nil && app == nil {
			v.mu.Lock()
			delete(v.looks, key)
			delete(v.searched, key)
			v.mu.Unlock()
		}
		return 0, err
	}
	e, err := v.examine(ctx, app)
	if err != nil {
		return 0, err
	}
	before := app.Status.DeepCopy()
	after := judge(&app.Status, app, e, v.Now())
	if e.polled {
		after = sooner(after, pollHealth)
	}
	if meta.IsStatusConditionTrue(app.Status.Conditions, Ready) {
		next, err := v.searchOrphans(ctx, app)
		if err != nil {
			return 0, err
		}
		after = sooner(after, next)
	}
	if !reflect.DeepEqual(before, &app.Status) {
		// On top of the very state that was read before the objects were: what was applied
		// since has to be looked at again.
		err := v.Client.Status().Update(ctx, app)
		if err != nil {
			// What was found is not written: it is looked for again.
			v.mu.Lock()
			delete(v.searched, key)
			v.mu.Unlock()
		}
		if apierrors.IsConflict(err) {
			return time.Millisecond, nil
		}
		if err != nil {
			return 0, client.IgnoreNotFound(err)
		}
		v.tell(app, before)
	}
	if waitsForHealth(app) {
		select {
		case v.wake <- key:
		case <-ctx.Done():
		}
	}
	return after, nil
}

// sooner is the smaller of two durations, of which 0 means never.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// pollHealth is how often objects are looked at whose changes wake nobody: those of other
// owners, and those of kinds that only an expression tells the health of.
const pollHealth = 2 * time.Second

func (v *vitals) tell(app *v1alpha1.Application, before *v1alpha1.ApplicationStatus) {
	was, now := meta.FindStatusCondition(before.Conditions, Ready), meta.FindStatusCondition(app.Status.Conditions, Ready)
	if now == nil || was != nil && was.Status == now.Status {
		return
	}
	kind := corev1.EventTypeNormal
	if now.Status != metav1.ConditionTrue {
		kind = corev1.EventTypeWarning
	}
	v.Events.Event(app, kind, now.Reason, "%s", cut(now.Message, 900))
}

// examination is the health of all that an Application waits for.
type examination struct {
	// sick are the objects that are not Current, with why.
	sick []string
	// failed: at least one was given up.
	failed bool
	// polled: some changes wake nobody.
	polled bool
}

func (v *vitals) examine(ctx context.Context, app *v1alpha1.Application) (examination, error) {
	var e examination
	checker, err := health.NewChecker(client.ObjectKeyFromObject(app).String(), app.Spec.HealthCheckExprs)
	if err != nil {
		return examination{sick: []string{err.Error()}, failed: true}, nil
	}
	refs, err := watchedRefs(app, checker)
	if err != nil {
		return e, err
	}
	e.polled = v.Target != nil || len(app.Spec.HealthChecks) > 0 || len(app.Spec.HealthCheckExprs) > 0
	if !e.polled {
		if seen, ok := v.pulse.progress(refs); ok {
			return seen, nil
		}
	}
	found := make([]health.Health, len(refs))
	var g errgroup.Group
	g.SetLimit(reading)
	for i, ref := range refs {
		g.Go(func() error {
			o, err := v.planner.live(ctx, ref)
			if meta.IsNoMatchError(err) {
				o, err = nil, nil
			}
			if err == nil {
				found[i] = checker.Of(o)
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return e, err
	}
	for i, ref := range refs {
		e.add(ref, found[i])
	}
	return e, nil
}

// reading is how many objects are read side by side: a read waits for the writes before it.
const reading = 16

func (e *examination) add(ref inventoryRef, h health.Health) {
	if h.State == health.Current {
		return
	}
	e.failed = e.failed || h.State == health.Failed
	e.sick = append(e.sick, nameOf(ref)+" "+h.Message)
}

// watchedRefs are the objects whose health has to be looked at: of the Application's own
// those whose kind can be anything but healthy, and the further ones that it names.
func watchedRefs(app *v1alpha1.Application, checker *health.Checker) ([]inventoryRef, error) {
	var refs []inventoryRef
	inventory, err := api.Inventory(&app.Status)
	if err != nil {
		return nil, fmt.Errorf("inventory of application %s: %w", app.Name, err)
	}
	for _, entry := range inventory {
		ref, err := parseEntry(entry)
		if err != nil {
			return nil, fmt.Errorf("inventory of application %s: %w", app.Name, err)
		}
		if !checker.Immediate(ref.GroupVersionKind) {
			refs = append(refs, ref)
		}
	}
	for i, h := range app.Spec.HealthChecks {
		gv, err := schema.ParseGroupVersion(h.APIVersion)
		if err != nil {
			return nil, fmt.Errorf("application %s: spec.healthChecks[%d].apiVersion: %w", app.Name, i, err)
		}
		ref := inventoryRef{GroupVersionKind: gv.WithKind(h.Kind), Namespace: h.Namespace, Name: h.Name}
		if k, known := api.KindFor(ref.GroupKind()); ref.Namespace == "" && (!known || k.Namespaced) {
			ref.Namespace = app.Spec.Project
		}
		refs = append(refs, ref)
	}
	return refs, nil
}
