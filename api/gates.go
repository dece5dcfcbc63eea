package api

import (
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"slipway.dev/slipway/api/v1alpha1"
)

// What a plan may take away without an approval, where its Application does not say.
const (
	DefaultBrakePercent = 30
	DefaultBrakeObjects = 3
)

// validateGates checks what keeps a plan from being carried out: brakes, windows, holds.
func validateGates(s v1alpha1.ApplicationSpec, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if b := s.Brakes; b != nil {
		at := p.Child("brakes")
		if b.Percent != nil && (*b.Percent < 0 || *b.Percent > 100) {
			errs = append(errs, field.Invalid(at.Child("percent"), *b.Percent, "must be from 0 to 100"))
		}
		if b.Objects != nil && *b.Objects < 0 {
			errs = append(errs, field.Invalid(at.Child("objects"), *b.Objects, "must not be negative"))
		}
	}
	for i, w := range s.Windows {
		errs = append(errs, validateWindow(p.Child("windows").Index(i), w)...)
	}
	errs = append(errs, validateHolds(s.Holds, p.Child("holds"))...)
	return errs
}

func validateHolds(holds []v1alpha1.Hold, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, h := range holds {
		at := p.Index(i)
		if h.At == "" && h.Commit == "" && h.Digest == "" {
			errs = append(errs, field.Required(at, "must name what is held: at, commit or digest"))
		}
		errs = append(errs, gitCommit(at.Child("at"), h.At)...)
		errs = append(errs, gitCommit(at.Child("commit"), h.Commit)...)
		if h.Digest != "" && !IsDigest(h.Digest) {
			errs = append(errs, field.Invalid(at.Child("digest"), h.Digest, "must be sha256: and 64 hexadecimal digits"))
		}
	}
	return errs
}

// maxWindow bounds a window's span: a longer one is a suspension.
const maxWindow = 366 * 24 * time.Hour

func validateWindow(p *field.Path, w v1alpha1.Window) field.ErrorList {
	errs := oneOf(p.Child("kind"), w.Kind, v1alpha1.WindowAllow, v1alpha1.WindowDeny)
	errs = append(errs, required(p.Child("schedule"), w.Schedule)...)
	errs = append(errs, validateSchedule(w.Schedule, true, p.Child("schedule"))...)
	if strings.HasPrefix(w.Schedule, "@every") {
		errs = append(errs, field.Invalid(p.Child("schedule"), w.Schedule, "has no times of day; use five fields"))
	}
	if d := w.Duration.Duration; d <= 0 || d > maxWindow {
		errs = append(errs, field.Invalid(p.Child("duration"), d.String(), "must be longer than 0 and no longer than a year"))
	}
	if w.TimeZone != "" {
		if _, err := time.LoadLocation(w.TimeZone); err != nil || w.TimeZone == "Local" {
			errs = append(errs, field.Invalid(p.Child("timeZone"), w.TimeZone, "is not the name of a time zone, such as Europe/Zurich"))
		}
	}
	return errs
}
