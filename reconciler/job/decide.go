package job

import (
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// burst bounds the pods made in one pass.
const burst = 100

// Decision is what to do about a Job, in the order of its fields.
type Decision struct {
	// Status to write before anything else is done.
	Status batchv1.JobStatus
	// Release are pods that Status takes note of: they no longer need to be kept for that.
	Release []*corev1.Pod
	// Dismiss are pods to delete without ever counting them, Delete those that count as failed.
	Dismiss, Delete []*corev1.Pod
	// Create are the pods to make.
	Create []slot
	// Expire: the Job's time to live is over.
	Expire bool
	// After says when time alone may change the answer.
	After time.Duration

	notes []note
}

// Decide compares a Job with its pods.
func Decide(j *batchv1.Job, pods []*corev1.Pod, now time.Time) Decision {
	d := Decision{Status: *j.Status.DeepCopy()}
	if j.DeletionTimestamp != nil || over(j) != nil {
		d.wrapUp(j, pods, now)
		return d
	}
	v := &view{job: j, pods: pods, now: now}
	v.count(&d)
	v.settle(&d)
	switch target := reached(&d.Status); {
	case target != nil:
		v.finish(&d, target)
	case suspended(j):
		d.suspend(now)
		d.Dismiss = v.active
	default:
		d.resume(now)
		v.manage(&d)
	}
	return d
}

// wrapUp looks after a Job that is over, or is being deleted: its pods are kept, but what may
// still run is not.
func (d *Decision) wrapUp(j *batchv1.Job, pods []*corev1.Pod, now time.Time) {
	for _, p := range pods {
		switch {
		case active(p):
			d.Dismiss = append(d.Dismiss, p)
		case tracked(p):
			d.Release = append(d.Release, p)
		}
	}
	c := over(j)
	if ttl := j.Spec.TTLSecondsAfterFinished; c != nil && ttl != nil && j.DeletionTimestamp == nil {
		left := c.LastTransitionTime.Add(time.Duration(*ttl) * time.Second).Sub(now)
		d.Expire, d.After = left <= 0, max(left, 0)
	}
}

// view is what a decision looks at.
type view struct {
	job  *batchv1.Job
	pods []*corev1.Pod
	now  time.Time

	// active and terminating are the pods that have not ended.
	active      []*corev1.Pod
	terminating int32
	// completed are the indexes that an Indexed Job is done with.
	completed indexes
	// succeeded and failed count what the status knows and what it is about to know.
	succeeded, failed int32
	// refusal is why the podFailurePolicy fails the Job.
	refusal string
}

func (v *view) indexed() bool {
	m := v.job.Spec.CompletionMode
	return m != nil && *m == batchv1.IndexedCompletion
}

// settle decides whether the Job has come to an end: FailureTarget or SuccessCriteriaMet. The
// Job is over when its last pod is.
func (v *view) settle(d *Decision) {
	s := &d.Status
	if reached(s) != nil {
		return
	}
	spec := &v.job.Spec
	switch left, bounded := v.deadline(s); {
	case v.refusal != "":
		d.set(batchv1.JobFailureTarget, batchv1.JobReasonPodFailurePolicy, v.refusal, v.now)
	case v.failed > *spec.BackoffLimit || v.restartedTooOften():
		d.set(batchv1.JobFailureTarget, batchv1.JobReasonBackoffLimitExceeded, "Job has reached the specified backoff limit", v.now)
	case bounded && left <= 0:
		d.set(batchv1.JobFailureTarget, batchv1.JobReasonDeadlineExceeded, "Job was active longer than specified deadline", v.now)
	case v.complete():
		d.set(batchv1.JobSuccessCriteriaMet, batchv1.JobReasonCompletionsReached, "Reached expected number of succeeded pods", v.now)
	case bounded:
		d.After = sooner(d.After, left)
	}
}

func (v *view) complete() bool {
	if c := v.job.Spec.Completions; c != nil {
		return v.succeeded >= *c
	}
	return v.succeeded > 0 && len(v.active) == 0 && v.terminating == 0
}

// deadline is how long the Job may still take; false: as long as it likes.
func (v *view) deadline(s *batchv1.JobStatus) (time.Duration, bool) {
	limit := v.job.Spec.ActiveDeadlineSeconds
	if limit == nil || s.StartTime == nil || suspended(v.job) {
		return 0, false
	}
	return s.StartTime.Add(time.Duration(*limit) * time.Second).Sub(v.now), true
}

// restartedTooOften: where pods restart their containers themselves, restarts count against the
// limit of the pods that have not ended.
func (v *view) restartedTooOften() bool {
	if v.job.Spec.Template.Spec.RestartPolicy != corev1.RestartPolicyOnFailure {
		return false
	}
	n := int32(0)
	for _, p := range v.active {
		n += restarts(p)
	}
	return n > 0 && n >= *v.job.Spec.BackoffLimit
}

// finish ends what still runs, and says that the Job is over when nothing does.
func (v *view) finish(d *Decision, target *batchv1.JobCondition) {
	failure := target.Type == batchv1.JobFailureTarget
	if failure {
		d.Delete = v.active
	} else {
		d.Dismiss = v.active
	}
	u := d.Status.UncountedTerminatedPods
	if len(v.active)+len(d.Release)+int(v.terminating) > 0 || u != nil && len(u.Succeeded)+len(u.Failed) > 0 {
		return
	}
	d.Status.UncountedTerminatedPods = nil
	if failure {
		d.set(batchv1.JobFailed, target.Reason, target.Message, v.now)
		d.tell(corev1.EventTypeWarning, target.Reason, target.Message)
		return
	}
	d.set(batchv1.JobComplete, target.Reason, target.Message, v.now)
	at := metav1.NewTime(v.now).Rfc3339Copy()
	d.Status.CompletionTime = &at
	d.tell(corev1.EventTypeNormal, "Completed", "Job completed")
}

// manage makes or ends pods so that as many run as should.
func (v *view) manage(d *Decision) {
	parallelism := int(*v.job.Spec.Parallelism)
	want := parallelism
	if c := v.job.Spec.Completions; c != nil {
		want = min(int(*c-v.succeeded), parallelism)
	} else if v.succeeded > 0 {
		want = min(len(v.active), parallelism)
	}
	if extra := len(v.active) - max(want, 0); extra > 0 {
		byWorth(v.active)
		d.Dismiss = v.active[:extra]
		return
	}
	room := want - len(v.active)
	if v.job.Spec.PodReplacementPolicy != nil && *v.job.Spec.PodReplacementPolicy == batchv1.Failed {
		room -= int(v.terminating)
	}
	if room <= 0 {
		return
	}
	if left := backOff(v.pods, v.now); left > 0 {
		d.After = sooner(d.After, left)
		return
	}
	d.Create = v.slots(min(room, burst))
}

func (v *view) slots(n int) []slot {
	taken := map[string]bool{}
	for _, p := range v.pods {
		taken[p.Name] = true
	}
	var all []slot
	if !v.indexed() {
		for range n {
			all = append(all, slotFor(v.job, -1, taken))
		}
		return all
	}
	busy := indexes{}
	for _, p := range v.pods {
		waits := leaving(p) && !ended(p) && *v.job.Spec.PodReplacementPolicy == batchv1.Failed
		if i, ok := indexOf(p); ok && (active(p) || waits) {
			busy[i] = true
		}
	}
	for i := 0; i < int(*v.job.Spec.Completions) && len(all) < n; i++ {
		if !v.completed[i] && !busy[i] {
			all = append(all, slotFor(v.job, i, taken))
		}
	}
	return all
}

func suspended(j *batchv1.Job) bool { return j.Spec.Suspend != nil && *j.Spec.Suspend }

// over is the condition by which a Job has ended; nil: it has not.
func over(j *batchv1.Job) *batchv1.JobCondition {
	return holds(&j.Status, batchv1.JobComplete, batchv1.JobFailed)
}

// reached is the condition that decided a Job's end; nil: it goes on.
func reached(s *batchv1.JobStatus) *batchv1.JobCondition {
	return holds(s, batchv1.JobFailureTarget, batchv1.JobSuccessCriteriaMet)
}

func holds(s *batchv1.JobStatus, types ...batchv1.JobConditionType) *batchv1.JobCondition {
	for i, c := range s.Conditions {
		if c.Status == corev1.ConditionTrue && slices.Contains(types, c.Type) {
			return &s.Conditions[i]
		}
	}
	return nil
}
