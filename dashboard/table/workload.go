package table

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	appsv1 "github.com/openshift/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
)

func replicationControllerCells(r *corev1.ReplicationController, now time.Time) []any {
	desired := int32(1)
	if r.Spec.Replicas != nil {
		desired = *r.Spec.Replicas
	}
	names, images := "", ""
	if r.Spec.Template != nil {
		names, images = containers(&r.Spec.Template.Spec)
	}
	return []any{
		r.Name, desired, r.Status.Replicas, r.Status.ReadyReplicas, age(r.CreationTimestamp, now),
		names, images, pairs(r.Spec.Selector),
	}
}

func deploymentConfigCells(d *appsv1.DeploymentConfig, now time.Time) []any {
	var triggers []string
	for _, t := range d.Spec.Triggers {
		switch t.Type {
		case appsv1.DeploymentTriggerOnConfigChange:
			triggers = append(triggers, "config")
		case appsv1.DeploymentTriggerOnImageChange:
			if p := t.ImageChangeParams; p != nil {
				triggers = append(triggers, "image("+p.From.Name+")")
			}
		default:
			triggers = append(triggers, string(t.Type))
		}
	}
	images := ""
	if d.Spec.Template != nil {
		_, images = containers(&d.Spec.Template.Spec)
	}
	return []any{
		d.Name, d.Status.LatestVersion, d.Spec.Replicas, d.Status.UpdatedReplicas, strings.Join(triggers, ","),
		d.Status.ReadyReplicas, images, age(d.CreationTimestamp, now),
	}
}

func containers(s *corev1.PodSpec) (names, images string) {
	var n, i []string
	for _, c := range s.Containers {
		n, i = append(n, c.Name), append(i, c.Image)
	}
	return strings.Join(n, ","), strings.Join(i, ",")
}

func jobCells(j *batchv1.Job, now time.Time) []any {
	completions := fmt.Sprintf("%d/1", j.Status.Succeeded)
	switch {
	case j.Spec.Completions != nil:
		completions = fmt.Sprintf("%d/%d", j.Status.Succeeded, *j.Spec.Completions)
	case j.Spec.Parallelism != nil && *j.Spec.Parallelism > 1:
		completions = fmt.Sprintf("%d/1 of %d", j.Status.Succeeded, *j.Spec.Parallelism)
	}
	took := ""
	if start := j.Status.StartTime; start != nil {
		end := now
		if j.Status.CompletionTime != nil {
			end = j.Status.CompletionTime.Time
		}
		took = duration.HumanDuration(end.Sub(start.Time))
	}
	names, images := containers(&j.Spec.Template.Spec)
	selector := "<none>"
	if j.Spec.Selector != nil {
		selector = metav1.FormatLabelSelector(j.Spec.Selector)
	}
	return []any{j.Name, jobStatus(j), completions, took, age(j.CreationTimestamp, now), names, images, selector}
}

func jobStatus(j *batchv1.Job) string {
	for _, c := range j.Status.Conditions {
		if c.Status == corev1.ConditionTrue && (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed || c.Type == batchv1.JobSuspended) {
			return string(c.Type)
		}
	}
	if j.DeletionTimestamp != nil {
		return "Terminating"
	}
	return "Running"
}

func cronJobCells(c *batchv1.CronJob, now time.Time) []any {
	last, zone := "<none>", "<none>"
	if t := c.Status.LastScheduleTime; t != nil {
		last = age(*t, now)
	}
	if c.Spec.TimeZone != nil {
		zone = cmp.Or(*c.Spec.TimeZone, zone)
	}
	suspended := "False"
	if c.Spec.Suspend != nil && *c.Spec.Suspend {
		suspended = "True"
	}
	names, images := containers(&c.Spec.JobTemplate.Spec.Template.Spec)
	return []any{c.Name, c.Spec.Schedule, zone, suspended, len(c.Status.Active), last, age(c.CreationTimestamp, now), names, images}
}
