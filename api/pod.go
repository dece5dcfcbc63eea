package api

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func defaultPod(p *corev1.Pod) {
	setDefault(&p.Spec.ServiceAccountName, p.Spec.DeprecatedServiceAccount)
	setDefault(&p.Spec.ServiceAccountName, "default")
	defaultPodSpec(&p.Spec)
}

func defaultPodSpec(s *corev1.PodSpec) {
	setDefault(&s.RestartPolicy, corev1.RestartPolicyAlways)
	setDefault(&s.DNSPolicy, corev1.DNSClusterFirst)
	setDefault(&s.SchedulerName, corev1.DefaultSchedulerName)
	setPointer(&s.TerminationGracePeriodSeconds, corev1.DefaultTerminationGracePeriodSeconds)
	setPointer(&s.SecurityContext, corev1.PodSecurityContext{})
	setPointer(&s.EnableServiceLinks, corev1.DefaultEnableServiceLinks)
	setDefault(&s.ServiceAccountName, s.DeprecatedServiceAccount)
	s.DeprecatedServiceAccount = s.ServiceAccountName
	for i := range s.InitContainers {
		defaultContainer(&s.InitContainers[i])
	}
	for i := range s.Containers {
		defaultContainer(&s.Containers[i])
	}
	for i := range s.Volumes {
		defaultVolume(&s.Volumes[i])
	}
	if s.HostNetwork {
		defaultHostPorts(s.InitContainers)
		defaultHostPorts(s.Containers)
	}
}

func validatePod(p *corev1.Pod) field.ErrorList {
	return append(validatePodSpec(&p.Spec, nil, field.NewPath("spec")), validateLinks(p.Annotations, &p.Spec, field.NewPath("metadata"))...)
}

// validatePodSpec checks a pod, or the pod of a template. Containers in imageless may
// leave their image open: an image trigger fills it in.
func validatePodSpec(s *corev1.PodSpec, imageless map[string]bool, p *field.Path) field.ErrorList {
	errs, volumes := validateVolumes(s.Volumes, p.Child("volumes"))
	errs = append(errs, validateContainers(s, imageless, volumes, p)...)
	errs = append(errs, oneOf(p.Child("restartPolicy"), s.RestartPolicy, corev1.RestartPolicyAlways, corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever)...)
	errs = append(errs, oneOf(p.Child("dnsPolicy"), s.DNSPolicy, corev1.DNSClusterFirst, corev1.DNSClusterFirstWithHostNet, corev1.DNSDefault, corev1.DNSNone)...)
	if s.DNSPolicy == corev1.DNSNone && (s.DNSConfig == nil || len(s.DNSConfig.Nameservers) == 0) {
		errs = append(errs, field.Required(p.Child("dnsConfig", "nameservers"), "must provide at least one DNS nameserver when dnsPolicy is None"))
	}
	errs = append(errs, validateDNSConfig(s.DNSConfig, p.Child("dnsConfig"))...)
	if g := s.TerminationGracePeriodSeconds; g != nil {
		errs = append(errs, nonNegative(p.Child("terminationGracePeriodSeconds"), *g)...)
	}
	if d := s.ActiveDeadlineSeconds; d != nil {
		errs = append(errs, positive(p.Child("activeDeadlineSeconds"), *d)...)
	}
	errs = append(errs, metav1validation.ValidateLabels(s.NodeSelector, p.Child("nodeSelector"))...)
	for name, value := range map[string]string{"serviceAccountName": s.ServiceAccountName, "nodeName": s.NodeName} {
		if value != "" {
			errs = append(errs, invalid(p.Child(name), value, validation.IsDNS1123Subdomain(value))...)
		}
	}
	for name, value := range map[string]string{"hostname": s.Hostname, "subdomain": s.Subdomain} {
		if value != "" {
			errs = append(errs, invalid(p.Child(name), value, validation.IsDNS1123Label(value))...)
		}
	}
	for i, secret := range s.ImagePullSecrets {
		errs = append(errs, named(p.Child("imagePullSecrets").Index(i).Child("name"), secret.Name, validation.IsDNS1123Subdomain)...)
	}
	for i, a := range s.HostAliases {
		at := p.Child("hostAliases").Index(i)
		errs = append(errs, validation.IsValidIP(at.Child("ip"), a.IP)...)
		for j, h := range a.Hostnames {
			errs = append(errs, invalid(at.Child("hostnames").Index(j), h, validation.IsDNS1123Subdomain(h))...)
		}
	}
	errs = append(errs, validatePlacement(s, p)...)
	errs = append(errs, validatePodIsolation(s, p)...)
	return append(errs, validateServed(s, p)...)
}

const refused = "is refused: pods may not reach the host"

// validatePodIsolation refuses what no pod may have of its host. The host's namespaces are up to
// SecurityContextConstraints.
func validatePodIsolation(s *corev1.PodSpec, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if share := s.ShareProcessNamespace; share != nil && *share && s.HostPID {
		errs = append(errs, field.Invalid(p.Child("shareProcessNamespace"), true, "ShareProcessNamespace and HostPID cannot both be enabled"))
	}
	if s.HostNetwork {
		errs = append(errs, validateHostNetworkPorts(s.InitContainers, p.Child("initContainers"))...)
		errs = append(errs, validateHostNetworkPorts(s.Containers, p.Child("containers"))...)
	}
	if s.SecurityContext != nil && len(s.SecurityContext.Sysctls) > 0 {
		errs = append(errs, field.Forbidden(p.Child("securityContext", "sysctls"), "setting sysctls "+refused))
	}
	if len(s.EphemeralContainers) > 0 {
		errs = append(errs, field.Forbidden(p.Child("ephemeralContainers"), "cannot be set: every container is described in git"))
	}
	return errs
}

// validateTemplate of pods: its metadata and its spec. A template of a controller that
// keeps a number of pods running must restart them always.
func validatePodTemplate(t *corev1.PodTemplateSpec, imageless map[string]bool, p *field.Path) field.ErrorList {
	errs := metav1validation.ValidateLabels(t.Labels, p.Child("metadata", "labels"))
	errs = append(errs, validateAnnotations(t.Annotations, p.Child("metadata", "annotations"))...)
	errs = append(errs, validateLinks(t.Annotations, &t.Spec, p.Child("metadata"))...)
	return append(errs, validatePodSpec(&t.Spec, imageless, p.Child("spec"))...)
}

// validateReplicated checks the template and the selector of a controller that keeps
// a number of equal pods running.
func validateReplicated(t *corev1.PodTemplateSpec, selector map[string]string, imageless map[string]bool, spec *field.Path) field.ErrorList {
	errs := metav1validation.ValidateLabels(selector, spec.Child("selector"))
	if len(selector) == 0 {
		errs = append(errs, field.Required(spec.Child("selector"), "or labels in the template"))
	}
	p := spec.Child("template")
	if t == nil {
		return append(errs, field.Required(p, ""))
	}
	for _, k := range slices.Sorted(maps.Keys(selector)) {
		if t.Labels[k] != selector[k] {
			errs = append(errs, field.Invalid(p.Child("metadata", "labels"), t.Labels, "`selector` does not match template `labels`"))
			break
		}
	}
	errs = append(errs, validatePodTemplate(t, imageless, p)...)
	if r := t.Spec.RestartPolicy; r != corev1.RestartPolicyAlways && (r == corev1.RestartPolicyNever || r == corev1.RestartPolicyOnFailure) {
		errs = append(errs, field.NotSupported(p.Child("spec", "restartPolicy"), r, []corev1.RestartPolicy{corev1.RestartPolicyAlways}))
	}
	if t.Spec.ActiveDeadlineSeconds != nil {
		errs = append(errs, field.Forbidden(p.Child("spec", "activeDeadlineSeconds"), "activeDeadlineSeconds in pods of a controller is not supported"))
	}
	return errs
}

// updatePod lets change what Kubernetes lets change: images, the deadline, tolerations,
// and the node's name once, from empty.
func updatePod(n, old *corev1.Pod) field.ErrorList {
	if now, before := n.Annotations[ConstraintsAnnotation], old.Annotations[ConstraintsAnnotation]; now != before {
		return field.ErrorList{field.Invalid(field.NewPath("metadata", "annotations").Key(ConstraintsAnnotation), now, "field is immutable")}
	}
	a, b := n.Spec.DeepCopy(), old.Spec.DeepCopy()
	if b.NodeName == "" {
		a.NodeName = ""
	}
	for _, c := range [][2][]corev1.Container{{a.Containers, b.Containers}, {a.InitContainers, b.InitContainers}} {
		for i := range min(len(c[0]), len(c[1])) {
			c[0][i].Image = c[1][i].Image
		}
	}
	a.ActiveDeadlineSeconds, a.Tolerations, a.TerminationGracePeriodSeconds = b.ActiveDeadlineSeconds, b.Tolerations, b.TerminationGracePeriodSeconds
	if equality.Semantic.DeepEqual(a, b) {
		return nil
	}
	return field.ErrorList{field.Forbidden(field.NewPath("spec"), "a pod's spec may not change, except for images, activeDeadlineSeconds, tolerations, and nodeName once")}
}
