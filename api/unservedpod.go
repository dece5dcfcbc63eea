package api

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// validateServed refuses what Kubernetes knows and nothing here acts on. A pod that
// asks for it and ran without it would not be what its author tested elsewhere.
func validateServed(s *corev1.PodSpec, p *field.Path) field.ErrorList {
	asked := map[*field.Path]string{}
	ask := func(set bool, at *field.Path, why string) {
		if set {
			asked[at] = why
		}
	}
	ask(s.RuntimeClassName != nil, p.Child("runtimeClassName"), "every pod is run by the engine's own runtime")
	ask(s.HostUsers != nil && !*s.HostUsers, p.Child("hostUsers"), "user namespaces are not supported")
	ask(s.SetHostnameAsFQDN != nil && *s.SetHostnameAsFQDN, p.Child("setHostnameAsFQDN"), "a pod's host name is the short one")
	ask(s.HostnameOverride != nil, p.Child("hostnameOverride"), "use hostname and subdomain")
	ask(len(s.ResourceClaims) > 0, p.Child("resourceClaims"), "devices are not handed out")
	ask(s.Resources != nil, p.Child("resources"), "resources are those of the containers")
	ask(s.OS != nil && s.OS.Name != corev1.Linux, p.Child("os", "name"), "nodes run Linux")
	if c := s.SecurityContext; c != nil {
		at := p.Child("securityContext")
		ask(c.WindowsOptions != nil, at.Child("windowsOptions"), "nodes run Linux")
		ask(c.SELinuxOptions != nil, at.Child("seLinuxOptions"), "labels are the engine's")
		askProfiles(ask, c.SeccompProfile, c.AppArmorProfile, at)
	}
	for _, l := range []struct {
		name       string
		containers []corev1.Container
	}{{"initContainers", s.InitContainers}, {"containers", s.Containers}} {
		for i := range l.containers {
			askContainer(ask, &l.containers[i], p.Child(l.name).Index(i))
		}
	}
	var errs field.ErrorList
	for _, at := range slices.SortedFunc(maps.Keys(asked), func(a, b *field.Path) int { return slices.Compare([]byte(a.String()), []byte(b.String())) }) {
		errs = append(errs, field.Forbidden(at, "is not served: "+asked[at]))
	}
	return errs
}

func askContainer(ask func(bool, *field.Path, string), c *corev1.Container, p *field.Path) {
	ask(len(c.RestartPolicyRules) > 0, p.Child("restartPolicyRules"), "what is restarted is up to restartPolicy")
	ask(len(c.Resources.Claims) > 0, p.Child("resources", "claims"), "devices are not handed out")
	ask(c.Lifecycle != nil && c.Lifecycle.StopSignal != nil, p.Child("lifecycle", "stopSignal"), "the image's STOPSIGNAL is sent")
	for i, m := range c.VolumeMounts {
		ask(m.RecursiveReadOnly != nil && *m.RecursiveReadOnly == corev1.RecursiveReadOnlyEnabled,
			p.Child("volumeMounts").Index(i).Child("recursiveReadOnly"), "nothing is mounted below a volume")
	}
	if s := c.SecurityContext; s != nil {
		at := p.Child("securityContext")
		ask(s.WindowsOptions != nil, at.Child("windowsOptions"), "nodes run Linux")
		ask(s.SELinuxOptions != nil, at.Child("seLinuxOptions"), "labels are the engine's")
		askProfiles(ask, s.SeccompProfile, s.AppArmorProfile, at)
	}
}

// askProfiles: the engine's own profiles are what every container has.
func askProfiles(ask func(bool, *field.Path, string), seccomp *corev1.SeccompProfile, armor *corev1.AppArmorProfile, p *field.Path) {
	ask(seccomp != nil && seccomp.Type != corev1.SeccompProfileTypeRuntimeDefault, p.Child("seccompProfile", "type"), "every container has the engine's profile: RuntimeDefault")
	ask(armor != nil && armor.Type != corev1.AppArmorProfileTypeRuntimeDefault, p.Child("appArmorProfile", "type"), "every container has the engine's profile: RuntimeDefault")
}
