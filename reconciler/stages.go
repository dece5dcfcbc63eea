package reconciler

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/reconciler/health"
)

// The annotations that put an object into a wave of its stage; Argo CD's counts, too. Waves
// are whole numbers, applied in their order; default 0.
const (
	WaveAnnotation     = "slipway.dev/wave"
	argoWaveAnnotation = "argocd.argoproj.io/sync-wave"
)

// turn is the place of an object in an apply: everything of a turn is healthy before the
// next begins.
type turn struct {
	stage api.Stage
	wave  int
}

func (t turn) compare(o turn) int {
	return cmp.Or(cmp.Compare(t.stage, o.stage), cmp.Compare(t.wave, o.wave))
}

func (t turn) String() string {
	s := map[api.Stage]string{api.StagePolicy: "policy", api.StageConfig: "configuration", api.StageWorkload: "workload"}[t.stage]
	if t.wave != 0 {
		s += " wave " + strconv.Itoa(t.wave)
	}
	return s
}

// waveOf reads an object's wave. What is not a number is reported by addWaves.
func waveOf(o *unstructured.Unstructured) (int, string, error) {
	a := o.GetAnnotations()
	for _, name := range []string{WaveAnnotation, argoWaveAnnotation} {
		if text, ok := a[name]; ok {
			n, err := strconv.Atoi(strings.TrimSpace(text))
			return n, name, err
		}
	}
	return 0, "", nil
}

func turnOf(o *unstructured.Unstructured) turn {
	wave, _, _ := waveOf(o)
	return turn{stageOf(o), wave}
}

// addWaves notes the waves of the objects that are not in wave 0, and the mistakes in them.
func (p *Plan) addWaves(objects []api.DesiredObject) {
	for _, o := range objects {
		wave, annotation, err := waveOf(o.Unstructured)
		if err != nil {
			p.Problems = append(p.Problems, problem(o, "metadata.annotations["+annotation+"]", "is not a whole number, such as 2 or -1"))
			continue
		}
		if wave == 0 {
			continue
		}
		if p.waves == nil {
			p.waves = map[inventoryRef]int{}
		}
		p.waves[refOf(o.Unstructured)] = wave
	}
}

// turns are the plan's steps that create and change, by turn, in order.
func (p *Plan) turns() []stepsOfTurn {
	return byTurn(p.Steps, func(s Step) bool { return s.Action != Prune }, turn.compare)
}

// pruneTurns are the plan's deletions by turn, the last to have been made first.
func (p *Plan) pruneTurns() []stepsOfTurn {
	return byTurn(p.Steps, func(s Step) bool { return s.Action == Prune }, func(a, b turn) int { return b.compare(a) })
}

// only is the plan with some of its steps.
func (p *Plan) only(steps []Step) *Plan {
	some := *p
	some.Steps = steps
	return &some
}

type stepsOfTurn struct {
	turn
	steps []Step
}

func byTurn(steps []Step, include func(Step) bool, order func(a, b turn) int) []stepsOfTurn {
	var out []stepsOfTurn
	for _, s := range steps {
		if !include(s) {
			continue
		}
		t := turnOf(s.desired)
		i := slices.IndexFunc(out, func(x stepsOfTurn) bool { return x.turn == t })
		if i < 0 {
			i, out = len(out), append(out, stepsOfTurn{turn: t})
		}
		out[i].steps = append(out[i].steps, s)
	}
	slices.SortStableFunc(out, func(a, b stepsOfTurn) int { return order(a.turn, b.turn) })
	return out
}

// advance is how far a plan was carried out.
type advance struct {
	// done are the steps that were carried out.
	done []Step
	// waits says what the rest waits for; empty: nothing is left.
	waits string
	// failed: what it waits for was given up.
	failed bool
}

// carry carries a plan out: drift is repaired at once, a commit is rolled out.
func (r *Reconciler) carry(ctx context.Context, app *v1alpha1.Application, plan *Plan, drifted bool) (advance, error) {
	if drifted {
		return advance{done: plan.Steps}, r.planner.apply(ctx, plan)
	}
	return r.rollOut(ctx, app, plan)
}

// rollOut carries a plan out as far as health allows: what is of a later turn waits until
// everything of the earlier ones is Current, and deletions go the other way round, each turn
// once the one before is gone. It never blocks: the next look goes on from what is live.
func (r *Reconciler) rollOut(ctx context.Context, app *v1alpha1.Application, plan *Plan) (advance, error) {
	var a advance
	checker, err := health.NewChecker(client.ObjectKeyFromObject(app).String(), app.Spec.HealthCheckExprs)
	if err != nil {
		return a, err
	}
	turns := plan.turns()
	for _, t := range turns {
		if waits, failed, err := r.before(ctx, plan, t.turn, checker); err != nil || waits != "" {
			a.waits, a.failed = waits, failed
			return a, err
		}
		if err := r.planner.apply(ctx, plan.only(t.steps)); err != nil {
			return a, err
		}
		a.done = append(a.done, t.steps...)
	}
	return a, r.pruneInTurn(ctx, plan, &a)
}

// before says what of the turns before t is not healthy yet.
func (r *Reconciler) before(ctx context.Context, plan *Plan, t turn, checker *health.Checker) (waits string, failed bool, err error) {
	var sick []string
	first := t
	for _, ref := range plan.inventory {
		own := turn{stageOfKind(ref.GroupKind()), plan.waves[ref]}
		if own.compare(t) >= 0 || checker.Immediate(ref.GroupVersionKind) || own.stage != t.stage && waitsItself[ref.Kind] {
			continue
		}
		o, err := r.planner.live(ctx, ref)
		if err != nil {
			return "", false, err
		}
		h := checker.Of(o)
		if h.State == health.Current {
			continue
		}
		failed = failed || h.State == health.Failed
		if own.compare(first) < 0 {
			first = own
		}
		sick = append(sick, nameOf(ref)+" "+h.Message)
	}
	if len(sick) == 0 {
		return "", false, nil
	}
	return fmt.Sprintf("%s waits for the health of %s: %s", t, first, list(sick)), failed, nil
}

// waitsItself are kinds that no later stage waits for: whoever uses one waits for it alone.
// A repository that cannot be reached holds up its own applications and no other, and a
// claim may be bound only when the first pod wants it.
var waitsItself = map[string]bool{"GitRepository": true, "PersistentVolumeClaim": true}

// pruneInTurn deletes turn by turn. Nobody waits for the end of the last one.
func (r *Reconciler) pruneInTurn(ctx context.Context, plan *Plan, a *advance) error {
	for _, t := range plan.pruneTurns() {
		if waits := plan.stillGoing(t.turn); waits != "" {
			a.waits = waits
			return nil
		}
		for _, s := range t.steps {
			if err := r.planner.prune(ctx, s); err != nil {
				return err
			}
			live, err := r.planner.live(ctx, refOf(s.live))
			if err != nil {
				return err
			}
			if live != nil && live.GetUID() == s.live.GetUID() {
				plan.going = append(plan.going, live)
			}
		}
		a.done = append(a.done, t.steps...)
	}
	return nil
}

// stillGoing says what must be gone before a turn's objects are deleted.
func (p *Plan) stillGoing(t turn) string {
	var names []string
	for _, o := range p.going {
		if turnOf(o).compare(t) > 0 {
			names = append(names, api.ObjectName(o))
		}
	}
	if len(names) == 0 {
		return ""
	}
	return "waits until these are gone: " + list(names)
}

// nameOf is how api.ObjectName would name the object.
func nameOf(ref inventoryRef) string {
	name := strings.ToLower(ref.Kind) + "/" + ref.Name
	if ref.Namespace != "" {
		name = ref.Namespace + "/" + name
	}
	return name
}

// maxListed is how many objects a message names.
const maxListed = 5

func list(names []string) string {
	if n := len(names) - maxListed; n > 0 {
		names = append(slices.Clone(names[:maxListed]), fmt.Sprintf("and %d more", n))
	}
	return strings.Join(names, "; ")
}
