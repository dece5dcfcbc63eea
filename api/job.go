package api

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

var errZoneInSchedule = errors.New("names a time zone: use the field timeZone")

// JobUIDLabel is the label by which a Job selects its pods; its value is the Job's uid.
const JobUIDLabel = batchv1.ControllerUidLabel

// defaultJob also does what Kubernetes' server does when it takes a Job in: from the uid
// come the selector and the labels by which the Job's pods are found. What has no uid, such
// as an object of a repository, gets neither.
func defaultJob(j *batchv1.Job) {
	defaultJobSpec(&j.Spec)
	labels := j.Spec.Template.Labels
	if len(j.Labels) == 0 && labels[JobUIDLabel] == "" && len(labels) > 0 {
		j.Labels = maps.Clone(labels)
	}
	if j.UID == "" {
		return
	}
	uid := string(j.UID)
	if j.Spec.Selector == nil {
		j.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{JobUIDLabel: uid}}
	}
	if labels == nil {
		labels = map[string]string{}
		j.Spec.Template.Labels = labels
	}
	for k, v := range map[string]string{
		JobUIDLabel: uid, batchv1.JobNameLabel: j.Name, "controller-uid": uid, "job-name": j.Name,
	} {
		labels[k] = v
	}
}

func defaultJobSpec(s *batchv1.JobSpec) {
	if s.Completions == nil && s.Parallelism == nil {
		setPointer(&s.Completions, 1)
	}
	setPointer(&s.Parallelism, 1)
	setPointer(&s.BackoffLimit, 6)
	setPointer(&s.Suspend, false)
	setPointer(&s.CompletionMode, batchv1.NonIndexedCompletion)
	replacement := batchv1.TerminatingOrFailed
	if f := s.PodFailurePolicy; f != nil {
		replacement = batchv1.Failed
		for i := range f.Rules {
			for j := range f.Rules[i].OnPodConditions {
				setDefault(&f.Rules[i].OnPodConditions[j].Status, corev1.ConditionTrue)
			}
		}
	}
	setPointer(&s.PodReplacementPolicy, replacement)
	defaultPodSpec(&s.Template.Spec)
}

func validateJob(j *batchv1.Job) field.ErrorList {
	p := field.NewPath("spec")
	errs := validateJobSpec(&j.Spec, p)
	if limit := validation.LabelValueMaxLength; len(j.Name) > limit {
		errs = append(errs, field.TooLong(field.NewPath("metadata", "name"), j.Name, limit))
	}
	if n := j.Spec.Completions; n != nil && *n > 0 && j.Spec.CompletionMode != nil && *j.Spec.CompletionMode == batchv1.IndexedCompletion {
		// The name of the last pod's host.
		host := fmt.Sprintf("%s-%d", j.Name, *n-1)
		errs = append(errs, invalid(field.NewPath("metadata", "name"), j.Name, validation.IsDNS1123Label(host))...)
	}
	if own, ok := j.Spec.Selector, j.UID != ""; own != nil && (!ok || !equality.Semantic.DeepEqual(own.MatchLabels, map[string]string{JobUIDLabel: string(j.UID)}) || len(own.MatchExpressions) > 0) {
		errs = append(errs, field.Forbidden(p.Child("selector"), "is made from the Job's uid: leave it out"))
	}
	return errs
}

func validateJobSpec(s *batchv1.JobSpec, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	for name, n := range map[string]*int32{
		"parallelism": s.Parallelism, "completions": s.Completions, "backoffLimit": s.BackoffLimit,
		"ttlSecondsAfterFinished": s.TTLSecondsAfterFinished,
	} {
		if n != nil {
			errs = append(errs, nonNegative(p.Child(name), *n)...)
		}
	}
	if d := s.ActiveDeadlineSeconds; d != nil {
		errs = append(errs, positive(p.Child("activeDeadlineSeconds"), *d)...)
	}
	errs = append(errs, validateCompletions(s, p)...)
	errs = append(errs, unservedOfJob(s, p)...)
	if m := s.PodReplacementPolicy; m != nil {
		errs = append(errs, oneOf(p.Child("podReplacementPolicy"), *m, batchv1.TerminatingOrFailed, batchv1.Failed)...)
		if s.PodFailurePolicy != nil && *m == batchv1.TerminatingOrFailed {
			errs = append(errs, field.NotSupported(p.Child("podReplacementPolicy"), *m, []batchv1.PodReplacementPolicy{batchv1.Failed}))
		}
	}
	if s.PodFailurePolicy != nil {
		errs = append(errs, validatePodFailurePolicy(s, p.Child("podFailurePolicy"))...)
	}
	errs = append(errs, validatePodTemplate(&s.Template, nil, p.Child("template"))...)
	if s.Template.Spec.RestartPolicy == corev1.RestartPolicyAlways {
		errs = append(errs, field.NotSupported(p.Child("template", "spec", "restartPolicy"), corev1.RestartPolicyAlways,
			[]corev1.RestartPolicy{corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever}))
	}
	return errs
}

// The bounds of Indexed Jobs, as Kubernetes has them.
const (
	maxIndexedCompletions = 100_000
	maxIndexedParallelism = 100_000
)

func validateCompletions(s *batchv1.JobSpec, p *field.Path) field.ErrorList {
	if s.CompletionMode == nil {
		return nil
	}
	errs := oneOf(p.Child("completionMode"), *s.CompletionMode, batchv1.NonIndexedCompletion, batchv1.IndexedCompletion)
	if *s.CompletionMode != batchv1.IndexedCompletion {
		return errs
	}
	if s.Completions == nil {
		errs = append(errs, field.Required(p.Child("completions"), "when completionMode is Indexed"))
	} else if *s.Completions > maxIndexedCompletions {
		errs = append(errs, field.Invalid(p.Child("completions"), *s.Completions, fmt.Sprintf("must be at most %d when completionMode is Indexed", maxIndexedCompletions)))
	}
	if s.Parallelism != nil && *s.Parallelism > maxIndexedParallelism {
		errs = append(errs, field.Invalid(p.Child("parallelism"), *s.Parallelism, fmt.Sprintf("must be at most %d when completionMode is Indexed", maxIndexedParallelism)))
	}
	return errs
}

// unservedOfJob refuses what is Kubernetes' and would have no effect here.
func unservedOfJob(s *batchv1.JobSpec, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	for name, set := range map[string]bool{
		"backoffLimitPerIndex": s.BackoffLimitPerIndex != nil, "maxFailedIndexes": s.MaxFailedIndexes != nil,
		"successPolicy": s.SuccessPolicy != nil, "scheduling": s.Scheduling != nil,
		"managedBy":      s.ManagedBy != nil && *s.ManagedBy != batchv1.JobControllerName,
		"manualSelector": s.ManualSelector != nil && *s.ManualSelector,
	} {
		if set {
			errs = append(errs, field.Forbidden(p.Child(name), "is not served"))
		}
	}
	return errs
}

func updateJob(n, old *batchv1.Job) field.ErrorList {
	p := field.NewPath("spec")
	errs := immutable(n.Spec.Template, old.Spec.Template, p.Child("template"))
	errs = append(errs, immutable(n.Spec.Completions, old.Spec.Completions, p.Child("completions"))...)
	errs = append(errs, immutable(n.Spec.CompletionMode, old.Spec.CompletionMode, p.Child("completionMode"))...)
	errs = append(errs, immutable(n.Spec.PodFailurePolicy, old.Spec.PodFailurePolicy, p.Child("podFailurePolicy"))...)
	if old.Spec.Selector != nil {
		errs = append(errs, immutable(n.Spec.Selector, old.Spec.Selector, p.Child("selector"))...)
	}
	return errs
}

func defaultCronJob(c *batchv1.CronJob) {
	setDefault(&c.Spec.ConcurrencyPolicy, batchv1.AllowConcurrent)
	setPointer(&c.Spec.Suspend, false)
	setPointer(&c.Spec.SuccessfulJobsHistoryLimit, 3)
	setPointer(&c.Spec.FailedJobsHistoryLimit, 1)
	defaultJobSpec(&c.Spec.JobTemplate.Spec)
}

// cronJobName leaves room for the 11 characters that a Job's name has behind it.
func cronJobName(name string, prefix bool) []string {
	if prefix {
		name = strings.TrimSuffix(name, "-")
	}
	msgs := validation.IsDNS1123Subdomain(name)
	if limit := validation.DNS1035LabelMaxLength - 11; len(name) > limit {
		msgs = append(msgs, validation.MaxLenError(limit))
	}
	return msgs
}

func validateCronJob(c *batchv1.CronJob) field.ErrorList {
	p := field.NewPath("spec")
	errs := validateSchedule(c.Spec.Schedule, true, p.Child("schedule"))
	if z := c.Spec.TimeZone; z != nil {
		if _, err := time.LoadLocation(*z); err != nil || *z == "" || strings.EqualFold(*z, "local") {
			errs = append(errs, field.Invalid(p.Child("timeZone"), *z, "is not a name of the IANA time zone database, such as Europe/Berlin"))
		}
	}
	errs = append(errs, oneOf(p.Child("concurrencyPolicy"), c.Spec.ConcurrencyPolicy, batchv1.AllowConcurrent, batchv1.ForbidConcurrent, batchv1.ReplaceConcurrent)...)
	for name, n := range map[string]*int32{"successfulJobsHistoryLimit": c.Spec.SuccessfulJobsHistoryLimit, "failedJobsHistoryLimit": c.Spec.FailedJobsHistoryLimit} {
		if n != nil {
			errs = append(errs, nonNegative(p.Child(name), *n)...)
		}
	}
	if d := c.Spec.StartingDeadlineSeconds; d != nil {
		errs = append(errs, nonNegative(p.Child("startingDeadlineSeconds"), *d)...)
	}
	t := &c.Spec.JobTemplate
	errs = append(errs, metav1validation.ValidateLabels(t.Labels, p.Child("jobTemplate", "metadata", "labels"))...)
	errs = append(errs, validateAnnotations(t.Annotations, p.Child("jobTemplate", "metadata", "annotations"))...)
	if t.Spec.Selector != nil {
		errs = append(errs, field.Forbidden(p.Child("jobTemplate", "spec", "selector"), "is made from each Job's uid: leave it out"))
	}
	return append(errs, validateJobSpec(&t.Spec, p.Child("jobTemplate", "spec"))...)
}

// ParseSchedule reads a cron expression: five fields, or a descriptor such as @hourly
// or @every 5m. A time zone inside of the expression is refused, since CronJobs have a
// field for it.
func ParseSchedule(expression string) (cron.Schedule, error) {
	if strings.Contains(expression, "TZ") {
		return nil, errZoneInSchedule
	}
	return cron.ParseStandard(expression)
}

func validateSchedule(expression string, required bool, p *field.Path) field.ErrorList {
	if expression == "" {
		if required {
			return field.ErrorList{field.Required(p, "")}
		}
		return nil
	}
	if _, err := ParseSchedule(expression); err != nil {
		return field.ErrorList{field.Invalid(p, expression, err.Error())}
	}
	return nil
}
