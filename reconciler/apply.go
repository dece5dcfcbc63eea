package reconciler

import (
	"context"
	"fmt"

	"github.com/fluxcd/pkg/ssa"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
)

// apply carries a plan out: stage by stage, creations and changes first, then what is
// pruned, in reverse. It may be repeated at any point; what is already as planned is
// left alone.
func (p *planner) apply(ctx context.Context, plan *Plan) error {
	for _, stage := range []api.Stage{api.StagePolicy, api.StageConfig, api.StageWorkload} {
		for _, s := range plan.Steps {
			if s.Action == Prune || s.stage != stage {
				continue
			}
			if err := p.applyStep(ctx, s); err != nil {
				return fmt.Errorf("apply %s: %w", s.Object, err)
			}
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

// applyStep applies one object. What the triggers wrote is carried over again, from the
// very state that is applied to: a trigger may have fired since the plan was made.
func (p *planner) applyStep(ctx context.Context, s Step) (err error) {
	for range applyTries {
		o := s.desired.DeepCopy()
		if s.Action == Change && carries(o) {
			live, err := p.live(ctx, refOf(o))
			if err != nil {
				return err
			}
			if live != nil {
				carry(o, live)
				o.SetResourceVersion(live.GetResourceVersion())
			}
		}
		if _, err = p.rm.Apply(ctx, o, ssa.DefaultApplyOptions()); !apierrors.IsConflict(err) {
			return err
		}
	}
	return err
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
