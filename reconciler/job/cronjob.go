package job

import (
	"context"
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/state/loop"
)

type cronJobs struct{ Deps }

func (c cronJobs) reconcile(ctx context.Context, key loop.Key) (loop.Result, error) {
	var cron batchv1.CronJob
	if err := c.Client.Get(ctx, key, &cron); err != nil {
		return loop.Result{}, client.IgnoreNotFound(err)
	}
	var list batchv1.JobList
	if err := c.Client.List(ctx, &list, client.InNamespace(key.Namespace)); err != nil {
		return loop.Result{}, err
	}
	var runs []*batchv1.Job
	for i := range list.Items {
		if metav1.IsControlledBy(&list.Items[i], &cron) {
			runs = append(runs, &list.Items[i])
		}
	}
	d := DecideCron(&cron, runs, c.Clock())
	for _, n := range d.notes {
		c.Events.Event(&cron, n.eventtype, n.reason, "%s", n.message)
	}
	for _, r := range d.Stop {
		if err := c.delete(ctx, &cron, r); err != nil {
			return loop.Result{}, err
		}
	}
	if !d.Start.IsZero() {
		if err := c.start(ctx, &cron, d.Start, &d.Status); err != nil {
			return loop.Result{}, err
		}
	}
	if !equality.Semantic.DeepEqual(d.Status, cron.Status) {
		cron.Status = d.Status
		if err := c.Client.Status().Update(ctx, &cron); err != nil {
			return loop.Result{}, client.IgnoreNotFound(err)
		}
	}
	for _, r := range d.Remove {
		if err := c.delete(ctx, &cron, r); err != nil {
			return loop.Result{}, err
		}
	}
	return loop.Result{After: d.After}, nil
}

// start starts the run of a time, or finds it started, and notes that in status.
func (c cronJobs) start(ctx context.Context, cron *batchv1.CronJob, at time.Time, status *batchv1.CronJobStatus) error {
	run := newRun(cron, at)
	err := c.Client.Create(ctx, run)
	switch {
	case apierrors.IsAlreadyExists(err):
		var there batchv1.Job
		if err := c.Client.Get(ctx, client.ObjectKeyFromObject(run), &there); err != nil {
			return fmt.Errorf("cronjob %s/%s: read its run %s: %w", cron.Namespace, cron.Name, run.Name, err)
		}
		if !metav1.IsControlledBy(&there, cron) {
			c.Events.Event(cron, corev1.EventTypeWarning, "FailedCreate", "Error creating job: there is a job %s that is not of this CronJob", run.Name)
			return fmt.Errorf("cronjob %s/%s: there is a job %s that is not its own", cron.Namespace, cron.Name, run.Name)
		}
	case err != nil:
		c.Events.Event(cron, corev1.EventTypeWarning, "FailedCreate", "Error creating job: %v", err)
		return fmt.Errorf("cronjob %s/%s: create job: %w", cron.Namespace, cron.Name, err)
	default:
		c.Events.Event(cron, corev1.EventTypeNormal, "SuccessfulCreate", "Created job %s", run.Name)
		status.Active = append(status.Active, reference(run))
	}
	scheduled := metav1.NewTime(at)
	status.LastScheduleTime = &scheduled
	return nil
}

// delete deletes a run; its pods follow.
func (c cronJobs) delete(ctx context.Context, cron *batchv1.CronJob, r *batchv1.Job) error {
	uid := r.UID
	err := c.Client.Delete(ctx, r, client.Preconditions{UID: &uid}, client.PropagationPolicy(metav1.DeletePropagationBackground))
	switch {
	case apierrors.IsNotFound(err), apierrors.IsConflict(err):
		return nil
	case err != nil:
		c.Events.Event(cron, corev1.EventTypeWarning, "FailedDelete", "Error deleting job %s: %v", r.Name, err)
		return fmt.Errorf("cronjob %s/%s: delete job %s: %w", cron.Namespace, cron.Name, r.Name, err)
	}
	c.Events.Event(cron, corev1.EventTypeNormal, "SuccessfulDelete", "Deleted job %s", r.Name)
	return nil
}
