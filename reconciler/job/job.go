package job

import (
	"context"
	"fmt"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/state/loop"
)

type jobs struct{ Deps }

func (c jobs) reconcile(ctx context.Context, key loop.Key) (loop.Result, error) {
	var j batchv1.Job
	err := c.Client.Get(ctx, key, &j)
	if client.IgnoreNotFound(err) != nil {
		return loop.Result{}, err
	}
	there := err == nil
	pods, strays, err := c.pods(ctx, key, &j)
	if err != nil {
		return loop.Result{}, err
	}
	for _, p := range strays {
		if err := c.release(ctx, p); err != nil {
			return loop.Result{}, err
		}
	}
	if !there {
		return loop.Result{}, nil
	}
	d := Decide(&j, pods, c.Clock())
	if !equality.Semantic.DeepEqual(d.Status, j.Status) {
		j.Status = d.Status
		if err := c.Client.Status().Update(ctx, &j); err != nil {
			return loop.Result{}, client.IgnoreNotFound(err)
		}
	}
	for _, n := range d.notes {
		c.Events.Event(&j, n.eventtype, n.reason, "%s", n.message)
	}
	if err := c.carryOut(ctx, &j, d); err != nil {
		return loop.Result{}, err
	}
	if d.Expire {
		return c.expire(ctx, &j, pods)
	}
	return loop.Result{After: d.After}, nil
}

// pods lists those of a Job. Strays carry its name, but belong to a Job that is no more.
func (c jobs) pods(ctx context.Context, key loop.Key, j *batchv1.Job) (mine, strays []*corev1.Pod, err error) {
	var list corev1.PodList
	if err := c.Client.List(ctx, &list, client.InNamespace(key.Namespace), client.MatchingLabels{batchv1.JobNameLabel: key.Name}); err != nil {
		return nil, nil, err
	}
	for i := range list.Items {
		p := &list.Items[i]
		ref := metav1.GetControllerOf(p)
		switch {
		case ref == nil || ref.Kind != "Job" || ref.Name != key.Name:
		case j.UID != "" && ref.UID == j.UID:
			mine = append(mine, p)
		case tracked(p):
			strays = append(strays, p)
		}
	}
	return mine, strays, nil
}

func (c jobs) carryOut(ctx context.Context, j *batchv1.Job, d Decision) error {
	for _, p := range d.Release {
		if err := c.release(ctx, p); err != nil {
			return err
		}
	}
	for _, p := range d.Dismiss {
		if err := c.release(ctx, p); err != nil {
			return err
		}
		if err := c.delete(ctx, j, p); err != nil {
			return err
		}
	}
	for _, p := range d.Delete {
		if err := c.delete(ctx, j, p); err != nil {
			return err
		}
	}
	for _, s := range d.Create {
		pod := newPod(j, s)
		switch err := c.Client.Create(ctx, pod); {
		case apierrors.IsAlreadyExists(err):
			return c.taken(ctx, j, pod, err)
		case err != nil:
			c.Events.Event(j, corev1.EventTypeWarning, "FailedCreate", "Error creating: %v", err)
			return fmt.Errorf("job %s/%s: create pod: %w", j.Namespace, j.Name, err)
		}
		c.Events.Event(j, corev1.EventTypeNormal, "SuccessfulCreate", "Created pod: %s", pod.Name)
	}
	return nil
}

// taken: another server was faster, so that it is time to look again, or a pod that is not the
// Job's has the name.
func (c jobs) taken(ctx context.Context, j *batchv1.Job, pod *corev1.Pod, exists error) error {
	var there corev1.Pod
	if err := c.Client.Get(ctx, client.ObjectKeyFromObject(pod), &there); client.IgnoreNotFound(err) != nil {
		return err
	} else if err == nil && !metav1.IsControlledBy(&there, j) {
		c.Events.Event(j, corev1.EventTypeWarning, "FailedCreate", "Error creating: there is a pod %s that is not of this Job", pod.Name)
		return fmt.Errorf("job %s/%s: there is a pod %s that is not its own", j.Namespace, j.Name, pod.Name)
	}
	return apierrors.NewConflict(corev1.Resource("pods"), pod.Name, exists)
}

// release takes the finalizer off a pod.
func (c jobs) release(ctx context.Context, p *corev1.Pod) error {
	if !tracked(p) {
		return nil
	}
	p.Finalizers = slices.DeleteFunc(p.Finalizers, func(f string) bool { return f == batchv1.JobTrackingFinalizer })
	if err := c.Client.Update(ctx, p); client.IgnoreNotFound(err) != nil {
		return err
	}
	return nil
}

func (c jobs) delete(ctx context.Context, j *batchv1.Job, p *corev1.Pod) error {
	uid := p.UID
	err := c.Client.Delete(ctx, p, client.Preconditions{UID: &uid})
	switch {
	case apierrors.IsNotFound(err), apierrors.IsConflict(err):
		return nil
	case err != nil:
		c.Events.Event(j, corev1.EventTypeWarning, "FailedDelete", "Error deleting: %v", err)
		return fmt.Errorf("job %s/%s: delete pod %s: %w", j.Namespace, j.Name, p.Name, err)
	}
	c.Events.Event(j, corev1.EventTypeNormal, "SuccessfulDelete", "Deleted pod: %s", p.Name)
	return nil
}

// noted is how long to wait for a CronJob to note that it started a run.
const noted = time.Second

// expire removes a Job whose time to live is over. One of a CronJob goes when that has noted the
// run. One of a repository stays, without its pods: were it gone, git would have it run again.
func (c jobs) expire(ctx context.Context, j *batchv1.Job, pods []*corev1.Pod) (loop.Result, error) {
	ref := metav1.GetControllerOf(j)
	if ref == nil {
		for _, p := range pods {
			if !leaving(p) {
				if err := c.delete(ctx, j, p); err != nil {
					return loop.Result{}, err
				}
			}
		}
		return loop.Result{}, nil
	}
	if ref.Kind == "CronJob" {
		var cron batchv1.CronJob
		err := c.Client.Get(ctx, client.ObjectKey{Namespace: j.Namespace, Name: ref.Name}, &cron)
		if client.IgnoreNotFound(err) != nil {
			return loop.Result{}, err
		}
		if at, ok := scheduledFor(j); err == nil && cron.UID == ref.UID && ok && (cron.Status.LastScheduleTime == nil || cron.Status.LastScheduleTime.Time.Before(at)) {
			return loop.Result{After: noted}, nil
		}
	}
	uid := j.UID
	err := c.Client.Delete(ctx, j, client.Preconditions{UID: &uid}, client.PropagationPolicy(metav1.DeletePropagationBackground))
	if client.IgnoreNotFound(err) != nil {
		return loop.Result{}, fmt.Errorf("job %s/%s, whose time to live is over: %w", j.Namespace, j.Name, err)
	}
	return loop.Result{}, nil
}
