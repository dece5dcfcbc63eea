package api

import (
	"fmt"
	"path"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func defaultContainer(c *corev1.Container) {
	setDefault(&c.TerminationMessagePath, corev1.TerminationMessagePathDefault)
	setDefault(&c.TerminationMessagePolicy, corev1.TerminationMessageReadFile)
	setDefault(&c.ImagePullPolicy, PullPolicy(c.Image))
	for i := range c.Ports {
		setDefault(&c.Ports[i].Protocol, corev1.ProtocolTCP)
	}
	for i := range c.Env {
		if f := c.Env[i].ValueFrom; f != nil && f.FieldRef != nil {
			setDefault(&f.FieldRef.APIVersion, "v1")
		}
	}
	for _, p := range []*corev1.Probe{c.LivenessProbe, c.ReadinessProbe, c.StartupProbe} {
		defaultProbe(p)
	}
	if l := c.Lifecycle; l != nil {
		for _, h := range []*corev1.LifecycleHandler{l.PostStart, l.PreStop} {
			if h != nil {
				defaultHTTPGet(h.HTTPGet)
			}
		}
	}
	for name, limit := range c.Resources.Limits {
		if _, ok := c.Resources.Requests[name]; !ok {
			if c.Resources.Requests == nil {
				c.Resources.Requests = corev1.ResourceList{}
			}
			c.Resources.Requests[name] = limit.DeepCopy()
		}
	}
}

// PullPolicy is the default of imagePullPolicy: Always for an image whose tag is
// `latest`, written or left out, else IfNotPresent. An image that a trigger will fill
// in arrives as a digest and thus is IfNotPresent.
func PullPolicy(image string) corev1.PullPolicy {
	image = strings.TrimSpace(image)
	if image == "" || strings.Contains(image, "@") {
		return corev1.PullIfNotPresent
	}
	last := image[strings.LastIndex(image, "/")+1:]
	if _, tag, ok := strings.Cut(last, ":"); ok && tag != "latest" {
		return corev1.PullIfNotPresent
	}
	return corev1.PullAlways
}

func validateContainers(s *corev1.PodSpec, imageless map[string]bool, volumes sets.Set[string], p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(s.Containers) == 0 {
		errs = append(errs, field.Required(p.Child("containers"), ""))
	}
	names, hostPorts := sets.New[string](), sets.New[string]()
	for _, list := range []struct {
		path       *field.Path
		containers []corev1.Container
		init       bool
	}{{p.Child("initContainers"), s.InitContainers, true}, {p.Child("containers"), s.Containers, false}} {
		for i := range list.containers {
			c, at := &list.containers[i], list.path.Index(i)
			if names.Has(c.Name) && c.Name != "" {
				errs = append(errs, field.Duplicate(at.Child("name"), c.Name))
			}
			names.Insert(c.Name)
			errs = append(errs, validateContainer(c, imageless[c.Name], volumes, at)...)
			errs = append(errs, validateContainerPorts(c.Ports, hostPorts, at.Child("ports"))...)
			if list.init {
				errs = append(errs, validateInitContainer(c, at)...)
			} else if c.RestartPolicy != nil {
				errs = append(errs, field.Forbidden(at.Child("restartPolicy"), "may only be set for init containers"))
			}
		}
	}
	return errs
}

func validateContainer(c *corev1.Container, imageless bool, volumes sets.Set[string], p *field.Path) field.ErrorList {
	errs := named(p.Child("name"), c.Name, validation.IsDNS1123Label)
	switch {
	case strings.TrimSpace(c.Image) != "":
		errs = append(errs, pullSpec(p.Child("image"), c.Image)...)
	case !imageless:
		errs = append(errs, field.Required(p.Child("image"), ""))
	}
	errs = append(errs, oneOf(p.Child("imagePullPolicy"), c.ImagePullPolicy, corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever)...)
	errs = append(errs, oneOf(p.Child("terminationMessagePolicy"), c.TerminationMessagePolicy, corev1.TerminationMessageReadFile, corev1.TerminationMessageFallbackToLogsOnError)...)
	errs = append(errs, validateEnv(c.Env, p.Child("env"))...)
	errs = append(errs, validateEnvFrom(c.EnvFrom, p.Child("envFrom"))...)
	errs = append(errs, validateMounts(c.VolumeMounts, volumes, p.Child("volumeMounts"))...)
	errs = append(errs, validateResources(&c.Resources, p.Child("resources"))...)
	errs = append(errs, validateProbe(c.LivenessProbe, c, true, p.Child("livenessProbe"))...)
	errs = append(errs, validateProbe(c.StartupProbe, c, true, p.Child("startupProbe"))...)
	errs = append(errs, validateProbe(c.ReadinessProbe, c, false, p.Child("readinessProbe"))...)
	errs = append(errs, validateLifecycle(c.Lifecycle, c, p.Child("lifecycle"))...)
	if c.WorkingDir != "" && !path.IsAbs(c.WorkingDir) {
		errs = append(errs, field.Invalid(p.Child("workingDir"), c.WorkingDir, "must be an absolute path"))
	}
	if len(c.VolumeDevices) > 0 {
		errs = append(errs, field.Forbidden(p.Child("volumeDevices"), "block devices are not supported"))
	}
	return append(errs, validateSecurityContext(c.SecurityContext, p.Child("securityContext"))...)
}

func validateInitContainer(c *corev1.Container, p *field.Path) field.ErrorList {
	if c.RestartPolicy != nil {
		return oneOf(p.Child("restartPolicy"), *c.RestartPolicy, corev1.ContainerRestartPolicyAlways)
	}
	var errs field.ErrorList
	for name, set := range map[string]bool{
		"lifecycle": c.Lifecycle != nil, "livenessProbe": c.LivenessProbe != nil,
		"readinessProbe": c.ReadinessProbe != nil, "startupProbe": c.StartupProbe != nil,
	} {
		if set {
			errs = append(errs, field.Forbidden(p.Child(name), "may not be set for init containers without restartPolicy=Always"))
		}
	}
	return errs
}

func validateContainerPorts(ports []corev1.ContainerPort, hostPorts sets.Set[string], p *field.Path) field.ErrorList {
	var errs field.ErrorList
	names := sets.New[string]()
	for i, cp := range ports {
		at := p.Index(i)
		if cp.Name != "" {
			errs = append(errs, invalid(at.Child("name"), cp.Name, validation.IsValidPortName(cp.Name))...)
			if names.Has(cp.Name) {
				errs = append(errs, field.Duplicate(at.Child("name"), cp.Name))
			}
			names.Insert(cp.Name)
		}
		if cp.ContainerPort == 0 {
			errs = append(errs, field.Required(at.Child("containerPort"), ""))
		} else {
			errs = append(errs, invalid(at.Child("containerPort"), cp.ContainerPort, validation.IsValidPortNum(int(cp.ContainerPort)))...)
		}
		errs = append(errs, oneOf(at.Child("protocol"), cp.Protocol, corev1.ProtocolTCP, corev1.ProtocolUDP)...)
		if cp.HostPort != 0 {
			errs = append(errs, invalid(at.Child("hostPort"), cp.HostPort, validation.IsValidPortNum(int(cp.HostPort)))...)
			errs = append(errs, validateHostPort(cp, at)...)
			key := fmt.Sprintf("%s/%s/%d", cp.Protocol, cp.HostIP, cp.HostPort)
			if hostPorts.Has(key) {
				errs = append(errs, field.Duplicate(at.Child("hostPort"), key))
			}
			hostPorts.Insert(key)
		}
		if cp.HostIP != "" {
			errs = append(errs, validation.IsValidIP(at.Child("hostIP"), cp.HostIP)...)
		}
	}
	return errs
}

// validateSecurityContext looks at what no container may have. The rest of what gives it power over the host is up
// to SecurityContextConstraints.
func validateSecurityContext(s *corev1.SecurityContext, p *field.Path) field.ErrorList {
	if s == nil {
		return nil
	}
	var errs field.ErrorList
	if e := s.AllowPrivilegeEscalation; e != nil && !*e && s.Privileged != nil && *s.Privileged {
		errs = append(errs, field.Invalid(p.Child("allowPrivilegeEscalation"), false, "cannot be false where privileged is true"))
	}
	if s.ProcMount != nil && *s.ProcMount != corev1.DefaultProcMount {
		errs = append(errs, field.Forbidden(p.Child("procMount"), "an unmasked /proc "+refused))
	}
	if u := s.RunAsUser; u != nil {
		errs = append(errs, invalid(p.Child("runAsUser"), *u, validation.IsValidUserID(*u))...)
	}
	if g := s.RunAsGroup; g != nil {
		errs = append(errs, invalid(p.Child("runAsGroup"), *g, validation.IsValidGroupID(*g))...)
	}
	return errs
}
