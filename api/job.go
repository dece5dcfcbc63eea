package api

import (
	"errors"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

var errZoneInSchedule = errors.New("names a time zone: use the field timeZone")

func defaultJob(j *batchv1.Job) { defaultJobSpec(&j.Spec) }

func defaultJobSpec(s *batchv1.JobSpec) {
	if s.Completions == nil && s.Parallelism == nil {
		setPointer(&s.Completions, 1)
	}
	setPointer(&s.Parallelism, 1)
	setPointer(&s.BackoffLimit, 6)
	setPointer(&s.Suspend, false)
	setPointer(&s.CompletionMode, batchv1.NonIndexedCompletion)
	defaultPodSpec(&s.Template.Spec)
}

func validateJob(j *batchv1.Job) field.ErrorList {
	return validateJobSpec(&j.Spec, field.NewPath("spec"))
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
	if m := s.CompletionMode; m != nil {
		errs = append(errs, oneOf(p.Child("completionMode"), *m, batchv1.NonIndexedCompletion, batchv1.IndexedCompletion)...)
		if *m == batchv1.IndexedCompletion && s.Completions == nil {
			errs = append(errs, field.Required(p.Child("completions"), "when completionMode is Indexed"))
		}
	}
	errs = append(errs, validatePodTemplate(&s.Template, nil, p.Child("template"))...)
	if s.Template.Spec.RestartPolicy == corev1.RestartPolicyAlways {
		errs = append(errs, field.NotSupported(p.Child("template", "spec", "restartPolicy"), corev1.RestartPolicyAlways,
			[]corev1.RestartPolicy{corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever}))
	}
	return errs
}

func updateJob(n, old *batchv1.Job) field.ErrorList {
	p := field.NewPath("spec")
	errs := immutable(n.Spec.Template, old.Spec.Template, p.Child("template"))
	errs = append(errs, immutable(n.Spec.Completions, old.Spec.Completions, p.Child("completions"))...)
	errs = append(errs, immutable(n.Spec.CompletionMode, old.Spec.CompletionMode, p.Child("completionMode"))...)
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
	return append(errs, validateJobSpec(&c.Spec.JobTemplate.Spec, p.Child("jobTemplate", "spec"))...)
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
