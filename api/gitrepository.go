package api

import (
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"slipway.dev/slipway/api/v1alpha1"
)

func defaultGitRepository(r *v1alpha1.GitRepository) {
	if r.Spec.Schedule == "" {
		setPointer(&r.Spec.Interval, metav1.Duration{Duration: time.Minute})
	}
	setPointer(&r.Spec.Timeout, metav1.Duration{Duration: time.Minute})
	if r.Spec.Verify != nil {
		setDefault(&r.Spec.Verify.Mode, v1alpha1.VerifyHEAD)
	}
}

func validateGitRepository(r *v1alpha1.GitRepository) field.ErrorList {
	p := field.NewPath("spec")
	errs := gitURL(p.Child("url"), r.Spec.URL)
	errs = append(errs, positiveDuration(p.Child("interval"), r.Spec.Interval)...)
	errs = append(errs, positiveDuration(p.Child("timeout"), r.Spec.Timeout)...)
	errs = append(errs, validateSchedule(r.Spec.Schedule, false, p.Child("schedule"))...)
	if r.Spec.Schedule != "" && r.Spec.Interval != nil {
		errs = append(errs, field.Forbidden(p.Child("schedule"), "may not be set together with interval"))
	}
	if s := r.Spec.SecretRef; s != nil {
		errs = append(errs, named(p.Child("secretRef", "name"), s.Name, validation.IsDNS1123Subdomain)...)
	}
	if r.Spec.Depth < 0 {
		errs = append(errs, field.Invalid(p.Child("depth"), r.Spec.Depth, "must not be negative"))
	}
	if r.Spec.LFS && !strings.HasPrefix(r.Spec.URL, "https://") && !strings.HasPrefix(r.Spec.URL, "http://") {
		errs = append(errs, field.Invalid(p.Child("lfs"), true, "content in git LFS is read over https only"))
	}
	for i, name := range r.Spec.Projects {
		errs = append(errs, named(p.Child("projects").Index(i), name, validation.IsDNS1123Label)...)
	}
	errs = append(errs, validateVerification(r.Spec, p.Child("verify"))...)
	if ref := r.Spec.Reference; ref != nil {
		at := p.Child("ref")
		errs = append(errs, gitRef(at.Child("branch"), ref.Branch)...)
		errs = append(errs, gitRef(at.Child("tag"), ref.Tag)...)
		errs = append(errs, gitRef(at.Child("name"), ref.Name)...)
		if ref.Name != "" && !strings.HasPrefix(ref.Name, "refs/") {
			errs = append(errs, field.Invalid(at.Child("name"), ref.Name, "must begin with refs/"))
		}
		errs = append(errs, gitCommit(at.Child("commit"), ref.Commit)...)
		errs = append(errs, semverRange(at.Child("semver"), ref.SemVer)...)
	}
	return errs
}

func validateVerification(s v1alpha1.GitRepositorySpec, p *field.Path) field.ErrorList {
	v := s.Verify
	if v == nil {
		return nil
	}
	errs := oneOf(p.Child("mode"), v.Mode, v1alpha1.VerifyHEAD, v1alpha1.VerifyTag, v1alpha1.VerifyTagAndHEAD)
	errs = append(errs, named(p.Child("secretRef", "name"), v.SecretRef.Name, validation.IsDNS1123Subdomain)...)
	if v.Mode != v1alpha1.VerifyHEAD && (s.Reference == nil || s.Reference.Tag == "" && s.Reference.SemVer == "" && s.Reference.Name == "") {
		errs = append(errs, field.Invalid(p.Child("mode"), v.Mode, "needs a reference to a tag: set ref.tag, ref.semver or ref.name"))
	}
	return errs
}

func semverRange(p *field.Path, value string) field.ErrorList {
	if value == "" {
		return nil
	}
	if _, err := semver.NewConstraint(value); err != nil {
		return field.ErrorList{field.Invalid(p, value, "is not a range of versions: "+err.Error())}
	}
	return nil
}

// sourceRef checks a reference to a GitRepository.
func sourceRef(p *field.Path, r v1alpha1.SourceReference, required bool) field.ErrorList {
	var errs field.ErrorList
	if r.Name != "" || required {
		errs = append(errs, named(p.Child("name"), r.Name, validation.IsDNS1123Subdomain)...)
	}
	if r.Namespace != "" {
		errs = append(errs, invalid(p.Child("namespace"), r.Namespace, validation.IsDNS1123Label(r.Namespace))...)
	}
	return errs
}
