package reconciler

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/reconciler/live"
)

// apply carries a plan out: stage by stage, creations and changes first, then what is
// pruned, in reverse. It may be repeated at any point; what is already as planned is
// left alone.
func (p *planner) apply(ctx context.Context, plan *Plan) error {
	for _, stage := range []api.Stage{api.StagePolicy, api.StageConfig, api.StageWorkload} {
		var steps []Step
		for _, s := range plan.Steps {
			if s.Action != Prune && s.stage == stage {
				steps = append(steps, s)
			}
		}
		if err := p.applySteps(ctx, steps); err != nil {
			return err
		}
	}
	for _, s := range plan.Steps {
		if s.Action != Prune {
			continue
		}
		if err := p.prune(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// applyTries is how often an object is applied on top of a state that keeps moving.
const applyTries = 10

// applySteps applies creations and changes. What fails touches no other of them.
func (p *planner) applySteps(ctx context.Context, steps []Step) error {
	var failed []error
	for try := 0; len(steps) > 0; try++ {
		pieces := make([]piece, len(steps))
		for i, s := range steps {
			var err error
			if pieces[i].object, err = p.onto(ctx, s, try > 0); err != nil {
				return fmt.Errorf("apply %s: %w", s.Object, err)
			}
			if try == 0 && pieces[i].object == s.desired {
				pieces[i].prepared = s.prepared
			}
		}
		var again []Step
		for i, got := range p.target.apply(ctx, pieces) {
			switch s := steps[i]; {
			case apierrors.IsConflict(got.err) && try+1 < applyTries:
				again = append(again, s)
			case got.err != nil:
				failed = append(failed, fmt.Errorf("apply %s: %w", s.Object, got.err))
			default:
				p.applied(s, got)
			}
		}
		steps = again
	}
	if n := len(failed); n > maxErrors {
		failed = append(failed[:maxErrors], fmt.Errorf("and %d more", n-maxErrors))
	}
	return errors.Join(failed...)
}

// maxErrors is how many objects' errors are told.
const maxErrors = 20

// onto is what is applied for a step. What the triggers wrote is carried over from the very
// state that is applied to: a trigger may have fired since the plan was made.
func (p *planner) onto(ctx context.Context, s Step, moved bool) (*unstructured.Unstructured, error) {
	if s.Action == Replace && !moved {
		return s.desired, p.makeWay(ctx, s)
	}
	if s.Action != Change || !carries(s.desired) && len(s.policy.ignore) == 0 {
		return s.desired, nil
	}
	base := s.live
	if moved {
		var err error
		if base, err = p.live(ctx, s.ref); err != nil {
			return nil, err
		}
	}
	if base == nil {
		return s.desired, nil
	}
	o := s.desired.DeepCopy()
	carry(o, base)
	s.policy.onto(o, base)
	o.SetResourceVersion(base.GetResourceVersion())
	return o, nil
}

// applied remembers that an object is as planned.
func (p *planner) applied(s Step, got outcome) {
	if s.app.Name == "" {
		return
	}
	p.memory.of(s.app).equal(s.ref, s.hash, got.version)
	if version, ok := live.Version(got.version); ok {
		p.index.Wrote(s.ref.GroupKind(), s.ref.key(), version)
	}
}

// prune deletes the very object that was planned: one that was made anew under the
// same name since then stays.
func (p *planner) prune(ctx context.Context, s Step) error {
	uid := s.live.GetUID()
	err := p.client.Delete(ctx, s.live,
		client.Preconditions{UID: &uid}, client.PropagationPolicy(metav1.DeletePropagationBackground))
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("prune %s: %w", s.Object, err)
	}
	return nil
}
