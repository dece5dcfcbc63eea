package job

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slipway.dev/slipway/api"
)

// CronDecision is what to do about a CronJob, in the order of its fields.
type CronDecision struct {
	// Stop are runs that the next one replaces.
	Stop []*batchv1.Job
	// Start is the time for which a run is to be started; zero: none is.
	Start time.Time
	// Status to write when Start was started.
	Status batchv1.CronJobStatus
	// Remove are runs beyond the history limits, to go when Status is written.
	Remove []*batchv1.Job
	// After says when time alone may change the answer.
	After time.Duration

	notes []note
}

// DecideCron compares a CronJob with the Jobs that it started.
func DecideCron(c *batchv1.CronJob, runs []*batchv1.Job, now time.Time) CronDecision {
	d := CronDecision{Status: *c.Status.DeepCopy()}
	d.observe(runs)
	d.Remove = beyond(c, runs)
	if c.DeletionTimestamp != nil || c.Spec.Suspend != nil && *c.Spec.Suspend {
		return d
	}
	schedule, err := api.ParseSchedule(c.Spec.Schedule)
	if err != nil {
		d.tell("UnparseableSchedule", fmt.Sprintf("unparseable schedule %q: %v", c.Spec.Schedule, err))
		return d
	}
	zone := time.UTC
	if c.Spec.TimeZone != nil {
		if zone, err = time.LoadLocation(*c.Spec.TimeZone); err != nil {
			d.tell("UnknownTimeZone", fmt.Sprintf("invalid timeZone: %q: %v", *c.Spec.TimeZone, err))
			return d
		}
	}
	since, local := earliest(c, now).In(zone), now.In(zone)
	if next := schedule.Next(local); !next.IsZero() {
		// A moment later, so that the time is over when it is looked at.
		d.After = next.Sub(local) + time.Millisecond
	}
	at, missed := due(schedule, since, local)
	if missed > manyMissed {
		d.tell("TooManyMissedTimes", "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew")
	}
	if !at.IsZero() {
		d.start(c, runs, at)
	}
	return d
}

// start starts the run of a time, if those that run allow.
func (d *CronDecision) start(c *batchv1.CronJob, runs []*batchv1.Job, at time.Time) {
	name := runName(c, at)
	var others []*batchv1.Job
	for _, r := range runs {
		if r.Name == name { // It was started, but not noted.
			d.Start = at
			return
		}
		if over(r) == nil && r.DeletionTimestamp == nil {
			others = append(others, r)
		}
	}
	if len(others) > 0 {
		switch c.Spec.ConcurrencyPolicy {
		case batchv1.ForbidConcurrent:
			d.notes = append(d.notes, note{corev1.EventTypeNormal, "JobAlreadyActive", "Not starting job because prior execution is running and concurrency policy is Forbid"})
			return
		case batchv1.ReplaceConcurrent:
			d.Stop = others
		}
	}
	d.Start = at
}

// earliest is after when runs may be due: the last that was started or, if that is later, the
// time whose deadline is just over.
func earliest(c *batchv1.CronJob, now time.Time) time.Time {
	since := c.CreationTimestamp.Time
	if t := c.Status.LastScheduleTime; t != nil {
		since = t.Time
	}
	if s := c.Spec.StartingDeadlineSeconds; s != nil {
		// A time that is exactly as old as the deadline is still in time.
		if limit := now.Add(-time.Duration(*s)*time.Second - time.Nanosecond); limit.After(since) {
			return limit
		}
	}
	return since
}

// observe brings the status up to date with the runs.
func (d *CronDecision) observe(runs []*batchv1.Job) {
	var all []corev1.ObjectReference
	for _, r := range runs {
		if over(r) == nil && r.DeletionTimestamp == nil {
			all = append(all, reference(r))
		}
		if t := r.Status.CompletionTime; t != nil && holds(&r.Status, batchv1.JobComplete) != nil && (d.Status.LastSuccessfulTime == nil || d.Status.LastSuccessfulTime.Before(t)) {
			d.Status.LastSuccessfulTime = t.DeepCopy()
		}
	}
	slices.SortFunc(all, func(a, b corev1.ObjectReference) int { return cmp.Compare(a.Name, b.Name) })
	if !equality.Semantic.DeepEqual(withoutVersions(d.Status.Active), withoutVersions(all)) {
		d.Status.Active = all
	}
}

func withoutVersions(all []corev1.ObjectReference) []corev1.ObjectReference {
	all = slices.Clone(all)
	for i := range all {
		all[i].ResourceVersion = ""
	}
	return all
}

func reference(j *batchv1.Job) corev1.ObjectReference {
	return corev1.ObjectReference{APIVersion: batchv1.SchemeGroupVersion.String(), Kind: "Job", Namespace: j.Namespace, Name: j.Name, UID: j.UID, ResourceVersion: j.ResourceVersion}
}

// beyond are the runs beyond the history limits: the oldest of those that succeeded, and of those
// that failed.
func beyond(c *batchv1.CronJob, runs []*batchv1.Job) []*batchv1.Job {
	var remove []*batchv1.Job
	for kind, limit := range map[batchv1.JobConditionType]*int32{
		batchv1.JobComplete: c.Spec.SuccessfulJobsHistoryLimit, batchv1.JobFailed: c.Spec.FailedJobsHistoryLimit,
	} {
		if limit == nil {
			continue
		}
		var done []*batchv1.Job
		for _, r := range runs {
			if holds(&r.Status, kind) != nil && r.DeletionTimestamp == nil {
				done = append(done, r)
			}
		}
		slices.SortFunc(done, func(a, b *batchv1.Job) int {
			return api.Older(a, b)
		})
		remove = append(remove, done[:max(len(done)-int(*limit), 0)]...)
	}
	slices.SortFunc(remove, func(a, b *batchv1.Job) int { return cmp.Compare(a.Name, b.Name) })
	return remove
}

func (d *CronDecision) tell(reason, message string) {
	d.notes = append(d.notes, note{corev1.EventTypeWarning, reason, message})
}

// runName is the name of the run of a minute.
func runName(c *batchv1.CronJob, at time.Time) string {
	return c.Name + "-" + strconv.FormatInt(at.Unix()/60, 10)
}

// newRun is the Job for a time.
func newRun(c *batchv1.CronJob, at time.Time) *batchv1.Job {
	t := c.Spec.JobTemplate.DeepCopy()
	annotations := maps.Clone(t.Annotations)
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[batchv1.CronJobScheduledTimestampAnnotation] = at.Format(time.RFC3339)
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: c.Namespace, Name: runName(c, at), Labels: t.Labels, Annotations: annotations,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(c, batchv1.SchemeGroupVersion.WithKind("CronJob"))},
		},
		Spec: t.Spec,
	}
}

// scheduledFor is the time for which a run was started; false: it is nobody's run.
func scheduledFor(j *batchv1.Job) (time.Time, bool) {
	at, err := time.Parse(time.RFC3339, j.Annotations[batchv1.CronJobScheduledTimestampAnnotation])
	return at, err == nil
}
