package deploy

import (
	"fmt"
	"time"

	appsv1 "github.com/openshift/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"slipway.dev/slipway/reconciler/pods"
)

// Defaults of a rollout, OpenShift's own.
const (
	defaultTimeout      = 600 * time.Second
	defaultUpdatePeriod = time.Second
	defaultDeadline     = 21600 * time.Second
)

// Rollout is what Step looks at: the versions that take part and their pods, at one
// moment.
type Rollout struct {
	// Strategy is that of the config that To was made from.
	Strategy appsv1.DeploymentStrategy
	// To is the version that is rolled out.
	To *corev1.ReplicationController
	// From is the newest version that was rolled out completely; nil: there is none.
	From *corev1.ReplicationController
	// Others are all other versions, oldest first: what cancelled or failed rollouts left.
	Others []*corev1.ReplicationController
	// Pods counts each version's pods, by the version's name.
	Pods map[string]pods.Count
	// Hooks holds what became of hook pods that exist.
	Hooks map[Moment]PodResult
	// Deployer is what became of a Custom strategy's pod; empty: there is none.
	Deployer PodResult
	// Watched is since when somebody has been looking after the rollout without a lapse:
	// what was before does not count against its timeout and its deadline.
	Watched time.Time
	Now     time.Time
}

// PodResult is how far a pod that runs to its end is.
type PodResult struct {
	Phase   corev1.PodPhase
	Message string
}

// Move is the one next thing that a rollout needs. It is a value; the zero Move: nothing.
type Move struct {
	// Phase to note, and why.
	Phase  appsv1.DeploymentStatus
	Reason string
	// Scale changes replicas of versions that take part.
	Scale []Scale
	// Hook to start, at its moment: a pod, or tags to set.
	Hook   *appsv1.LifecycleHook
	Moment Moment
	// Retry says that the hook's failed pod is removed first.
	Retry bool
	// Over notes that the hook of Moment is over.
	Over bool
	// Ignored is why that hook failed, where its policy is to go on.
	Ignored string
	// Deploy starts a Custom strategy's pod.
	Deploy bool
	// After says when to look again, where nothing else is asked and time alone may change the answer.
	After time.Duration
}

// waiting says that the move changes nothing.
func (m Move) waiting() bool {
	return m.Phase == "" && len(m.Scale) == 0 && m.Hook == nil && !m.Over && !m.Deploy
}

// Step says what a rollout needs next. It is a pure function of what is there, so
// that whoever is handed the rollout may go on with it.
func Step(r Rollout) Move {
	phase, custom := PhaseOf(r.To), r.Strategy.Type == appsv1.DeploymentStrategyTypeCustom
	switch {
	case terminated(r.To):
		return Move{}
	case cancelled(r.To):
		reason := r.To.Annotations[appsv1.DeploymentStatusReasonAnnotation]
		if reason == "" {
			reason = "cancelled by the user"
		}
		return fail("%s", reason)
	case (custom || phase == appsv1.DeploymentStatusRunning) && r.left() <= 0:
		return fail("the rollout took longer than its deadline of %v", r.deadline())
	}
	var m Move
	switch {
	case custom:
		m = r.custom(phase)
	case phase == appsv1.DeploymentStatusNew:
		return Move{Phase: appsv1.DeploymentStatusPending}
	case phase == appsv1.DeploymentStatusPending:
		return Move{Phase: appsv1.DeploymentStatusRunning}
	case r.Strategy.Type == appsv1.DeploymentStrategyTypeRecreate:
		p := r.Strategy.RecreateParams
		if p == nil {
			p = &appsv1.RecreateDeploymentStrategyParams{}
		}
		m = r.around(p.Pre, p.Post, func() Move { return r.recreate(p.Mid, seconds(p.TimeoutSeconds, defaultTimeout)) })
	default:
		p := r.Strategy.RollingParams
		if p == nil {
			p = &appsv1.RollingDeploymentStrategyParams{}
		}
		timeout := seconds(p.TimeoutSeconds, defaultTimeout)
		m = r.around(p.Pre, p.Post, func() Move {
			if r.From == nil {
				return r.recreate(nil, timeout)
			}
			return r.rolling(p, timeout)
		})
	}
	if m.waiting() {
		m.After = pods.Sooner(m.After, r.left())
	}
	return m
}

// around runs the hooks before and after the middle, then completes the rollout.
// The middle is done when its move is the zero Move.
func (r Rollout) around(pre, post *appsv1.LifecycleHook, middle func() Move) Move {
	if m, over := r.hook(Pre, pre); !over {
		return m
	}
	// Once the post hook's turn came, the middle is not looked at again: a pod that
	// fails meanwhile is the ReplicationController's affair.
	if _, begun := r.Hooks[Post]; !begun && r.hookOver(Post).IsZero() {
		if m := middle(); !m.waiting() || m.After > 0 {
			return m
		}
	}
	if m, over := r.hook(Post, post); !over {
		return m
	}
	return Move{Phase: appsv1.DeploymentStatusComplete}
}

// old are the versions that make room, in the order in which they do.
func (r Rollout) old() []*corev1.ReplicationController {
	if r.From == nil {
		return r.Others
	}
	return append(r.Others[:len(r.Others):len(r.Others)], r.From)
}

func (r Rollout) started() time.Time {
	if t := timeAt(r.To, annotationStarted); !t.IsZero() {
		return t
	}
	return r.To.CreationTimestamp.Time
}

func (r Rollout) deadline() time.Duration {
	return seconds(r.Strategy.ActiveDeadlineSeconds, defaultDeadline)
}

// left is how long the rollout may still last.
func (r Rollout) left() time.Duration {
	return later(r.started(), r.Watched).Add(r.deadline()).Sub(r.Now)
}

func (r Rollout) hookOver(m Moment) time.Time { return timeAt(r.To, m.annotation()) }

// progressed is when the rollout last got on: it began, scaled, or a hook was over.
func (r Rollout) progressed() time.Time {
	last := r.started()
	for _, m := range []Moment{Pre, Mid, Post, deployed} {
		last = later(last, r.hookOver(m))
	}
	for _, rc := range append(r.old(), r.To) {
		last = later(last, timeAt(rc, annotationScaled))
	}
	return last
}

// wait waits for what is said, and fails the rollout when there was no progress for timeout.
func (r Rollout) wait(timeout time.Duration, soonest time.Duration, forWhat string) Move {
	left := later(r.progressed(), r.Watched).Add(timeout).Sub(r.Now)
	if left <= 0 {
		return fail("timed out after %v without progress, waiting for %s", timeout, forWhat)
	}
	if soonest > 0 && soonest < left {
		left = soonest
	}
	return Move{After: left}
}

func fail(format string, args ...any) Move {
	return Move{Phase: appsv1.DeploymentStatusFailed, Reason: fmt.Sprintf(format, args...)}
}

func seconds(s *int64, otherwise time.Duration) time.Duration {
	if s == nil {
		return otherwise
	}
	return time.Duration(*s) * time.Second
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
