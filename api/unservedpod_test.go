package api

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func TestWhatNoNodeWouldActOnIsRefused(t *testing.T) {
	t.Parallel()
	yes, no, text := true, false, "x"
	for at, change := range map[string]func(*corev1.PodSpec, *corev1.Container){
		"spec.runtimeClassName":  func(s *corev1.PodSpec, _ *corev1.Container) { s.RuntimeClassName = &text },
		"spec.hostUsers":         func(s *corev1.PodSpec, _ *corev1.Container) { s.HostUsers = &no },
		"spec.setHostnameAsFQDN": func(s *corev1.PodSpec, _ *corev1.Container) { s.SetHostnameAsFQDN = &yes },
		"spec.hostnameOverride":  func(s *corev1.PodSpec, _ *corev1.Container) { s.HostnameOverride = &text },
		"spec.resourceClaims":    func(s *corev1.PodSpec, _ *corev1.Container) { s.ResourceClaims = make([]corev1.PodResourceClaim, 1) },
		"spec.resources":         func(s *corev1.PodSpec, _ *corev1.Container) { s.Resources = &corev1.ResourceRequirements{} },
		"spec.os.name":           func(s *corev1.PodSpec, _ *corev1.Container) { s.OS = &corev1.PodOS{Name: corev1.Windows} },
		"spec.securityContext.seccompProfile.type": func(s *corev1.PodSpec, _ *corev1.Container) {
			s.SecurityContext = &corev1.PodSecurityContext{SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeUnconfined}}
		},
		"spec.containers[0].securityContext.appArmorProfile.type": func(_ *corev1.PodSpec, c *corev1.Container) {
			c.SecurityContext = &corev1.SecurityContext{AppArmorProfile: &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeUnconfined}}
		},
		"spec.containers[0].securityContext.seLinuxOptions": func(_ *corev1.PodSpec, c *corev1.Container) {
			c.SecurityContext = &corev1.SecurityContext{SELinuxOptions: &corev1.SELinuxOptions{}}
		},
		"spec.containers[0].restartPolicyRules": func(_ *corev1.PodSpec, c *corev1.Container) {
			c.RestartPolicyRules = make([]corev1.ContainerRestartRule, 1)
		},
		"spec.containers[0].lifecycle.stopSignal": func(_ *corev1.PodSpec, c *corev1.Container) {
			signal := corev1.SIGUSR1
			c.Lifecycle = &corev1.Lifecycle{StopSignal: &signal}
		},
	} {
		s := corev1.PodSpec{Containers: []corev1.Container{{Name: "main"}}}
		change(&s, &s.Containers[0])
		if errs := validateServed(&s, field.NewPath("spec")); len(errs) != 1 || errs[0].Field != at {
			t.Errorf("%s: %v", at, errs)
		}
	}
	plain := corev1.PodSpec{
		HostUsers: &yes, SetHostnameAsFQDN: &no, OS: &corev1.PodOS{Name: corev1.Linux},
		SecurityContext: &corev1.PodSecurityContext{SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
		Containers:      []corev1.Container{{Ports: []corev1.ContainerPort{{ContainerPort: 80}}}},
	}
	if errs := validateServed(&plain, field.NewPath("spec")); len(errs) > 0 {
		t.Errorf("what every pod has is refused: %v", errs)
	}
}

func TestATokenOfAServiceAccountIsRefused(t *testing.T) {
	t.Parallel()
	v := corev1.Volume{Name: "token", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
		Sources: []corev1.VolumeProjection{{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token"}}},
	}}}
	errs, _ := validateVolumes([]corev1.Volume{v}, field.NewPath("volumes"))
	if len(errs) != 1 || errs[0].Field != "volumes[0].projected.sources[0].serviceAccountToken" || errs[0].Type != field.ErrorTypeForbidden {
		t.Errorf("%v", errs)
	}
}
