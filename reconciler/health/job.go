package health

import (
	"cmp"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
)

// job is Current when it is complete: unlike kstatus' rule, not as soon as it has begun. One that
// is suspended is Current as it stands: nobody waits for anything.
func job(j *batchv1.Job) Health {
	for _, c := range j.Status.Conditions {
		if c.Status != corev1.ConditionTrue {
			continue
		}
		switch c.Type {
		case batchv1.JobComplete:
			return Health{State: Current}
		case batchv1.JobFailed, batchv1.JobFailureTarget:
			return failed("%s", cmp.Or(c.Message, c.Reason))
		}
	}
	if j.Spec.Suspend != nil && *j.Spec.Suspend {
		return current("is suspended")
	}
	if c := j.Spec.Completions; c != nil {
		return progress("%d of %d completions, %d pods run, %d failed", j.Status.Succeeded, *c, j.Status.Active, j.Status.Failed)
	}
	return progress("%d pods run, %d succeeded, %d failed", j.Status.Active, j.Status.Succeeded, j.Status.Failed)
}
