package api

import (
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"slipway.dev/slipway/api/v1alpha1"
)

func defaultPromotion(m *v1alpha1.Promotion) {
	setDefault(&m.Spec.Tag, "live")
	setDefault(&m.Spec.On.SemVer, ">=0.0.0")
	for _, r := range []*v1alpha1.SourceReference{&m.Spec.On.SourceRef, &m.Spec.Write.SourceRef} {
		if r.Name != "" {
			setDefault(&r.Namespace, m.Namespace)
		}
	}
	if m.Namespace != "" {
		setDefault(&m.Spec.Write.Path, "projects/"+m.Namespace+"/images.lock.json")
	}
}

func validatePromotion(m *v1alpha1.Promotion) field.ErrorList {
	p := field.NewPath("spec")
	errs := named(p.Child("from"), m.Spec.From, validation.IsDNS1123Label)
	if m.Spec.From == m.Namespace && m.Namespace != "" {
		errs = append(errs, field.Invalid(p.Child("from"), m.Spec.From, "must be another project than the Promotion's own"))
	}
	names := sets.New[string]()
	for i, s := range m.Spec.Streams {
		at := p.Child("streams").Index(i)
		errs = append(errs, named(at, s, func(s string) []string { return imageStreamName(s, false) })...)
		if names.Has(s) {
			errs = append(errs, field.Duplicate(at, s))
		}
		names.Insert(s)
	}
	if !IsTag(m.Spec.Tag) {
		errs = append(errs, field.Invalid(p.Child("tag"), m.Spec.Tag, "must be an image tag: "+imageTag.String()))
	}
	errs = append(errs, sourceRef(p.Child("on", "sourceRef"), m.Spec.On.SourceRef, true)...)
	errs = append(errs, semverRange(p.Child("on", "semver"), m.Spec.On.SemVer)...)
	errs = append(errs, sourceRef(p.Child("write", "sourceRef"), m.Spec.Write.SourceRef, true)...)
	errs = append(errs, gitRef(p.Child("write", "branch"), m.Spec.Write.Branch)...)
	return append(errs, inTree(p.Child("write", "path"), m.Spec.Write.Path)...)
}

func validateRecord(r *v1alpha1.Record) field.ErrorList {
	errs := named(field.NewPath("spec", "application"), r.Spec.Application, func(string) []string { return nil })
	return append(errs, named(field.NewPath("spec", "commit"), r.Spec.Commit, func(string) []string { return nil })...)
}

func updateRecord(n, old *v1alpha1.Record) field.ErrorList {
	return immutable(n.Spec, old.Spec, field.NewPath("spec"))
}
