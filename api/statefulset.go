package api

import (
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// AnnotationSet names, on a PersistentVolumeClaim, the StatefulSet that made it. A claim
// outlives its pod and, unless the set says otherwise, the set: no owner reference says so.
const AnnotationSet = "slipway.dev/statefulset"

func defaultStatefulSet(set *appsv1.StatefulSet) {
	s := &set.Spec
	setPointer(&s.Replicas, 1)
	setPointer(&s.RevisionHistoryLimit, defaultRevisionHistory)
	setDefault(&s.PodManagementPolicy, appsv1.OrderedReadyPodManagement)
	setDefault(&s.UpdateStrategy.Type, appsv1.RollingUpdateStatefulSetStrategyType)
	if s.UpdateStrategy.Type == appsv1.RollingUpdateStatefulSetStrategyType {
		setPointer(&s.UpdateStrategy.RollingUpdate, appsv1.RollingUpdateStatefulSetStrategy{})
		setPointer(&s.UpdateStrategy.RollingUpdate.Partition, 0)
		setPointer(&s.UpdateStrategy.RollingUpdate.MaxUnavailable, intstr.FromInt32(1))
	}
	setPointer(&s.PersistentVolumeClaimRetentionPolicy, appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy{})
	setDefault(&s.PersistentVolumeClaimRetentionPolicy.WhenDeleted, appsv1.RetainPersistentVolumeClaimRetentionPolicyType)
	setDefault(&s.PersistentVolumeClaimRetentionPolicy.WhenScaled, appsv1.RetainPersistentVolumeClaimRetentionPolicyType)
	for i := range s.VolumeClaimTemplates {
		defaultPersistentVolumeClaim(&s.VolumeClaimTemplates[i])
	}
	defaultPodSpec(&s.Template.Spec)
}

func validateStatefulSet(set *appsv1.StatefulSet) field.ErrorList {
	s, p := &set.Spec, field.NewPath("spec")
	errs := validateCounts(s.Replicas, s.MinReadySeconds, s.RevisionHistoryLimit, p)
	errs = append(errs, oneOf(p.Child("podManagementPolicy"), s.PodManagementPolicy, appsv1.OrderedReadyPodManagement, appsv1.ParallelPodManagement)...)
	errs = append(errs, validateStatefulUpdate(&s.UpdateStrategy, p.Child("updateStrategy"))...)
	if r := s.PersistentVolumeClaimRetentionPolicy; r != nil {
		at := p.Child("persistentVolumeClaimRetentionPolicy")
		errs = append(errs, retention(at.Child("whenDeleted"), r.WhenDeleted)...)
		errs = append(errs, retention(at.Child("whenScaled"), r.WhenScaled)...)
	}
	if s.Ordinals != nil {
		errs = append(errs, nonNegative(p.Child("ordinals", "start"), s.Ordinals.Start)...)
	}
	if s.ServiceName != "" {
		errs = append(errs, invalid(p.Child("serviceName"), s.ServiceName, validation.IsDNS1123Label(s.ServiceName))...)
	}
	for i := range s.VolumeClaimTemplates {
		errs = append(errs, validateClaimTemplate(&s.VolumeClaimTemplates[i], p.Child("volumeClaimTemplates").Index(i))...)
	}
	return append(errs, validateSelected(s.Selector, claimed(s), p)...)
}

func retention(p *field.Path, v appsv1.PersistentVolumeClaimRetentionPolicyType) field.ErrorList {
	return oneOf(p, v, appsv1.RetainPersistentVolumeClaimRetentionPolicyType, appsv1.DeletePersistentVolumeClaimRetentionPolicyType)
}

func validateStatefulUpdate(u *appsv1.StatefulSetUpdateStrategy, p *field.Path) field.ErrorList {
	errs := oneOf(p.Child("type"), u.Type, appsv1.RollingUpdateStatefulSetStrategyType, appsv1.OnDeleteStatefulSetStrategyType)
	r, at := u.RollingUpdate, p.Child("rollingUpdate")
	if r == nil {
		return errs
	}
	if u.Type == appsv1.OnDeleteStatefulSetStrategyType {
		return append(errs, field.Invalid(at, "", "only allowed for updateStrategy 'RollingUpdate'"))
	}
	if r.Partition != nil {
		errs = append(errs, nonNegative(at.Child("partition"), *r.Partition)...)
	}
	if r.MaxUnavailable != nil {
		most, found := share(r.MaxUnavailable, at.Child("maxUnavailable"))
		errs = append(errs, found...)
		if len(found) == 0 && (most == 0 || r.MaxUnavailable.Type == intstr.String && most > 100) {
			errs = append(errs, field.Invalid(at.Child("maxUnavailable"), r.MaxUnavailable.String(), "must be more than 0, and not more than 100%"))
		}
	}
	return errs
}

func validateClaimTemplate(c *corev1.PersistentVolumeClaim, p *field.Path) field.ErrorList {
	errs := named(p.Child("metadata", "name"), c.Name, validation.IsDNS1123Label)
	for _, e := range validatePersistentVolumeClaim(c) {
		e.Field = p.String() + "." + e.Field
		errs = append(errs, e)
	}
	return errs
}

// claimed is a set's template with the volumes that it gets from the set's claims. Its
// hostname and subdomain are the set's own, whatever the template says.
func claimed(s *appsv1.StatefulSetSpec) *corev1.PodTemplateSpec {
	t := s.Template.DeepCopy()
	t.Spec.Hostname, t.Spec.Subdomain = "", ""
	for _, c := range s.VolumeClaimTemplates {
		t.Spec.Volumes = slices.DeleteFunc(t.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == c.Name })
		t.Spec.Volumes = append(t.Spec.Volumes, corev1.Volume{Name: c.Name, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: fmt.Sprintf("%s-0", c.Name)}}})
	}
	return t
}

func updateStatefulSet(n, old *appsv1.StatefulSet) field.ErrorList {
	a := n.Spec.DeepCopy()
	b := &old.Spec
	a.Replicas, a.Template, a.UpdateStrategy, a.MinReadySeconds, a.Ordinals = b.Replicas, b.Template, b.UpdateStrategy, b.MinReadySeconds, b.Ordinals
	a.RevisionHistoryLimit, a.PersistentVolumeClaimRetentionPolicy = b.RevisionHistoryLimit, b.PersistentVolumeClaimRetentionPolicy
	if equality.Semantic.DeepEqual(a, b) {
		return nil
	}
	return field.ErrorList{field.Forbidden(field.NewPath("spec"), "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "+
		"'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden")}
}
