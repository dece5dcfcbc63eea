package constraints

import (
	"slices"

	securityv1 "github.com/openshift/api/security/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"slipway.dev/slipway/api"
)

// container fills in and checks one container.
func (a *application) container(c *corev1.Container, p *field.Path) {
	sc := &corev1.SecurityContext{}
	if c.SecurityContext != nil {
		sc = c.SecurityContext
	}
	at := p.Child("securityContext")
	a.user(sc, at)
	a.capabilities(sc, at.Child("capabilities"))
	if a.ReadOnlyRootFilesystem {
		if sc.ReadOnlyRootFilesystem == nil {
			sc.ReadOnlyRootFilesystem = &a.ReadOnlyRootFilesystem
		}
		if !*sc.ReadOnlyRootFilesystem {
			a.refuse(at.Child("readOnlyRootFilesystem"), false, "ReadOnlyRootFilesystem must be set to true")
		}
	}
	privileged := is(sc.Privileged)
	if privileged && !a.AllowPrivilegedContainer {
		a.refuse(at.Child("privileged"), true, "Privileged containers are not allowed")
	}
	if d := a.DefaultAllowPrivilegeEscalation; d != nil && sc.AllowPrivilegeEscalation == nil && !privileged {
		sc.AllowPrivilegeEscalation = d
	}
	if is(sc.AllowPrivilegeEscalation) && !is(a.AllowPrivilegeEscalation) {
		a.refuse(at.Child("allowPrivilegeEscalation"), true, "Allowing privilege escalation for containers is not allowed")
	}
	for i, port := range c.Ports {
		if port.HostPort != 0 && !a.AllowHostPorts {
			a.refuse(p.Child("ports").Index(i).Child("hostPort"), port.HostPort, "Host ports are not allowed to be used")
		}
	}
	if c.SecurityContext == nil && *sc != (corev1.SecurityContext{}) {
		c.SecurityContext = sc
	}
}

func is(b *bool) bool { return b != nil && *b }

// user fills in and checks who the container's processes are.
func (a *application) user(sc *corev1.SecurityContext, p *field.Path) {
	psc := a.pod.Spec.SecurityContext
	uid, nonRoot := either(sc.RunAsUser, psc.RunAsUser), either(sc.RunAsNonRoot, psc.RunAsNonRoot)
	at, o := p.Child("runAsUser"), a.RunAsUser
	switch o.Type {
	case securityv1.RunAsUserStrategyMustRunAs:
		if o.UID == nil {
			return
		}
		if uid == nil {
			uid, sc.RunAsUser = o.UID, o.UID
		}
		if *uid != *o.UID {
			a.refuse(at, *uid, "must be: %d", *o.UID)
		}
	case securityv1.RunAsUserStrategyMustRunAsRange:
		r := securityv1.IDRange{}
		if o.UIDRangeMin != nil && o.UIDRangeMax != nil {
			r.Min, r.Max = *o.UIDRangeMin, *o.UIDRangeMax
		} else {
			text, ok := a.project[api.UIDRangeAnnotation], false
			if r, ok = parseBlock(text); !ok {
				a.refuse(at, text, "the project has no range of users yet")
				return
			}
		}
		if uid == nil {
			uid, sc.RunAsUser = &r.Min, &r.Min
		}
		a.within(*uid, []securityv1.IDRange{r}, at)
	case securityv1.RunAsUserStrategyMustRunAsNonRoot:
		if uid == nil && nonRoot == nil {
			yes := true
			nonRoot, sc.RunAsNonRoot = &yes, &yes
		}
		switch {
		case uid != nil && *uid == 0:
			a.refuse(at, *uid, "running with the root UID is forbidden")
		case uid == nil && !*nonRoot:
			a.refuse(p.Child("runAsNonRoot"), false, "RunAsNonRoot must be true")
		}
	}
}

func either[T any](a, b *T) *T {
	if a != nil {
		return a
	}
	return b
}

// capabilities adds those that are given by default, drops those that have to be, and checks those that are asked
// for. What a container does not have anyway need not be dropped.
func (a *application) capabilities(sc *corev1.SecurityContext, p *field.Path) {
	var add, drop []corev1.Capability
	if sc.Capabilities != nil {
		add, drop = sc.Capabilities.Add, sc.Capabilities.Drop
	}
	dropped := func(c corev1.Capability) bool { return slices.Contains(drop, c) || slices.Contains(drop, "ALL") }
	var more, less []corev1.Capability
	for _, c := range a.DefaultAddCapabilities {
		if !slices.Contains(drop, c) && !slices.Contains(add, c) && !slices.Contains(Capabilities(), string(c)) {
			more = append(more, c)
		}
	}
	for _, c := range a.RequiredDropCapabilities {
		if (c == "ALL" || slices.Contains(Capabilities(), string(c))) && !dropped(c) {
			less = append(less, c)
		}
	}
	if !allCapabilities(a.AllowedCapabilities) {
		for i, c := range add {
			if !slices.Contains(a.AllowedCapabilities, c) && !slices.Contains(a.DefaultAddCapabilities, c) {
				a.refuse(p.Child("add").Index(i), string(c), "capability may not be added")
			}
		}
	}
	if len(more)+len(less) > 0 {
		sc.Capabilities = &corev1.Capabilities{Add: slices.Concat(add, more), Drop: slices.Concat(drop, less)}
	}
}
