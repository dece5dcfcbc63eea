package job

import (
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// count takes stock of the pods. A pod that has ended is first noted by its uid, then let go,
// and becomes a number when it is seen to be let go: wherever a process dies in between, the
// next one finds out how far it got.
func (v *view) count(d *Decision) {
	s := &d.Status
	held := map[types.UID]bool{}
	for _, p := range v.pods {
		held[p.UID] = tracked(p)
	}
	if s.UncountedTerminatedPods == nil {
		s.UncountedTerminatedPods = &batchv1.UncountedTerminatedPods{}
	}
	u := s.UncountedTerminatedPods
	if v.indexed() {
		v.completed = parseIndexes(s.CompletedIndexes, int(*v.job.Spec.Completions))
	}
	u.Succeeded = keep(u.Succeeded, held, &s.Succeeded)
	u.Failed = keep(u.Failed, held, &s.Failed)
	readyPods := int32(0)
	for _, p := range v.pods {
		switch {
		case active(p):
			v.active = append(v.active, p)
			if ready(p) {
				readyPods++
			}
			continue
		case !ended(p):
			v.terminating++
		}
		v.note(d, p)
	}
	if v.indexed() {
		s.CompletedIndexes, s.Succeeded = v.completed.String(), int32(len(v.completed))
	}
	s.Active, s.Ready, s.Terminating = int32(len(v.active)), &readyPods, &v.terminating
	v.succeeded, v.failed = s.Succeeded+int32(len(u.Succeeded)), s.Failed+int32(len(u.Failed))
}

// keep leaves the uids that are still held, and counts the others.
func keep(uids []types.UID, held map[types.UID]bool, counted *int32) []types.UID {
	var kept []types.UID
	for _, uid := range uids {
		if held[uid] {
			kept = append(kept, uid)
		} else {
			*counted++
		}
	}
	return kept
}

// note takes note of one pod that has ended or is on its way out.
func (v *view) note(d *Decision, p *corev1.Pod) {
	if !tracked(p) {
		return
	}
	early := !ended(p) && *v.job.Spec.PodReplacementPolicy == batchv1.Failed
	u := d.Status.UncountedTerminatedPods
	switch {
	case early: // It counts when it has ended.
		return
	case slices.Contains(u.Succeeded, p.UID), slices.Contains(u.Failed, p.UID):
	case succeeded(p) && v.indexed():
		if i, ok := indexOf(p); ok && i < int(*v.job.Spec.Completions) {
			v.completed[i] = true
		}
	case succeeded(p):
		u.Succeeded = append(u.Succeeded, p.UID)
	default:
		action, why := verdict(v.job.Spec.PodFailurePolicy, p)
		if action == batchv1.PodFailurePolicyActionFailJob && v.refusal == "" {
			v.refusal = why
		}
		if action != batchv1.PodFailurePolicyActionIgnore {
			u.Failed = append(u.Failed, p.UID)
		}
	}
	d.Release = append(d.Release, p)
}

// set makes a condition true.
func (d *Decision) set(kind batchv1.JobConditionType, reason, message string, now time.Time) {
	d.condition(batchv1.JobCondition{Type: kind, Status: corev1.ConditionTrue, Reason: reason, Message: message}, now)
}

func (d *Decision) condition(c batchv1.JobCondition, now time.Time) {
	at := metav1.NewTime(now).Rfc3339Copy()
	c.LastProbeTime, c.LastTransitionTime = at, at
	s := &d.Status
	s.Conditions = append(slices.DeleteFunc(s.Conditions, func(o batchv1.JobCondition) bool { return o.Type == c.Type }), c)
}

func (d *Decision) tell(eventtype, reason, message string) {
	d.notes = append(d.notes, note{eventtype, reason, message})
}

func (d *Decision) suspend(now time.Time) {
	if holds(&d.Status, batchv1.JobSuspended) == nil {
		d.set(batchv1.JobSuspended, "JobSuspended", "Job suspended", now)
		d.tell(corev1.EventTypeNormal, "Suspended", "Job suspended")
	}
}

// resume starts the Job's clock, anew where it was suspended.
func (d *Decision) resume(now time.Time) {
	at := metav1.NewTime(now).Rfc3339Copy()
	if holds(&d.Status, batchv1.JobSuspended) != nil {
		d.condition(batchv1.JobCondition{Type: batchv1.JobSuspended, Status: corev1.ConditionFalse, Reason: "JobResumed", Message: "Job resumed"}, now)
		d.tell(corev1.EventTypeNormal, "Resumed", "Job resumed")
		d.Status.StartTime = &at
	}
	if d.Status.StartTime == nil {
		d.Status.StartTime = &at
	}
}
