package constraints

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	securityv1 "github.com/openshift/api/security/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"slipway.dev/slipway/api"
)

// Apply is the pod with what the constraints fill in where it leaves something open, and what of it they do not
// allow. project are the annotations of the pod's project, which hold its ranges of users and groups. The pod that is
// given stays as it is. Where nothing is filled in, a pod that was applied once passes again.
func Apply(c *securityv1.SecurityContextConstraints, pod *corev1.Pod, project map[string]string) (*corev1.Pod, field.ErrorList) {
	out := pod.DeepCopy()
	if out.Spec.SecurityContext == nil {
		out.Spec.SecurityContext = &corev1.PodSecurityContext{}
	}
	a := application{SecurityContextConstraints: c, project: project, pod: out}
	spec := field.NewPath("spec")
	a.groups(spec.Child("securityContext"))
	a.host(spec)
	a.volumes(spec.Child("volumes"))
	for _, l := range []struct {
		name       string
		containers []corev1.Container
	}{{"initContainers", out.Spec.InitContainers}, {"containers", out.Spec.Containers}} {
		for i := range l.containers {
			a.container(&l.containers[i], spec.Child(l.name).Index(i))
		}
	}
	return out, a.errs
}

// application is one pod under one of the constraints.
type application struct {
	*securityv1.SecurityContextConstraints
	project map[string]string
	pod     *corev1.Pod
	errs    field.ErrorList
}

func (a *application) refuse(p *field.Path, value any, format string, args ...any) {
	a.errs = append(a.errs, field.Invalid(p, value, fmt.Sprintf(format, args...)))
}

func (a *application) host(p *field.Path) {
	s := a.pod.Spec
	for _, h := range []struct {
		asked, allowed bool
		name, title    string
	}{
		{s.HostNetwork, a.AllowHostNetwork, "hostNetwork", "Host network"},
		{s.HostPID, a.AllowHostPID, "hostPID", "Host PID"},
		{s.HostIPC, a.AllowHostIPC, "hostIPC", "Host IPC"},
	} {
		if h.asked && !h.allowed {
			a.refuse(p.Child(h.name), true, "%s is not allowed to be used", h.title)
		}
	}
}

func (a *application) volumes(p *field.Path) {
	for i := range a.pod.Spec.Volumes {
		t := typeOf(&a.pod.Spec.Volumes[i])
		if t == securityv1.FSTypeHostPath && !a.AllowHostDirVolumePlugin ||
			!slices.Contains(a.Volumes, t) && !slices.Contains(a.Volumes, securityv1.FSTypeAll) {
			a.refuse(p.Index(i), string(t), "%s volumes are not allowed to be used", t)
		}
	}
}

// typeOf is the kind of a volume. One that is not known is of no kind that anything could allow but all.
func typeOf(v *corev1.Volume) securityv1.FSType {
	switch {
	case v.HostPath != nil:
		return securityv1.FSTypeHostPath
	case v.EmptyDir != nil:
		return securityv1.FSTypeEmptyDir
	case v.ConfigMap != nil:
		return securityv1.FSTypeConfigMap
	case v.Secret != nil:
		return securityv1.FSTypeSecret
	case v.DownwardAPI != nil:
		return securityv1.FSTypeDownwardAPI
	case v.Projected != nil:
		return securityv1.FSProjected
	case v.PersistentVolumeClaim != nil:
		return securityv1.FSTypePersistentVolumeClaim
	}
	return "unknown"
}

// groups fills in and checks the groups of the pod.
func (a *application) groups(p *field.Path) {
	sc := a.pod.Spec.SecurityContext
	if a.FSGroup.Type == securityv1.FSGroupStrategyMustRunAs {
		at := p.Child("fsGroup")
		if ranges := a.ranges(a.FSGroup.Ranges, true, at); len(ranges) > 0 {
			if sc.FSGroup == nil {
				sc.FSGroup = &ranges[0].Min
			}
			a.within(*sc.FSGroup, ranges, at)
		}
	}
	if a.SupplementalGroups.Type == securityv1.SupplementalGroupsStrategyMustRunAs {
		at := p.Child("supplementalGroups")
		if ranges := a.ranges(a.SupplementalGroups.Ranges, false, at); len(ranges) > 0 {
			if len(sc.SupplementalGroups) == 0 {
				sc.SupplementalGroups = []int64{ranges[0].Min}
			}
			for i, g := range sc.SupplementalGroups {
				a.within(g, ranges, at.Index(i))
			}
		}
	}
}

func (a *application) within(id int64, ranges []securityv1.IDRange, p *field.Path) {
	var known []string
	for _, r := range ranges {
		if r.Min <= id && id <= r.Max {
			return
		}
		known = append(known, fmt.Sprintf("%d-%d", r.Min, r.Max))
	}
	a.refuse(p, id, "must be in the ranges: [%s]", strings.Join(known, ", "))
}

// ranges are those that are said, else the project's; first: only the first group of its first one.
func (a *application) ranges(said []securityv1.IDRange, first bool, p *field.Path) []securityv1.IDRange {
	if len(said) > 0 {
		return slices.Clone(said)
	}
	text := a.project[api.SupplementalGroupsAnnotation]
	if text == "" {
		text = a.project[api.UIDRangeAnnotation]
	}
	var all []securityv1.IDRange
	for block := range strings.SplitSeq(text, ",") {
		r, ok := parseBlock(block)
		if !ok {
			a.refuse(p, text, "the project has no range of groups yet")
			return nil
		}
		all = append(all, r)
	}
	if first {
		return []securityv1.IDRange{{Min: all[0].Min, Max: all[0].Min}}
	}
	return all
}

// parseBlock reads `first/size` and `first-last`.
func parseBlock(text string) (r securityv1.IDRange, ok bool) {
	from, more, sized := strings.Cut(text, "/")
	if !sized {
		from, more, ok = strings.Cut(text, "-")
		if !ok {
			return r, false
		}
	}
	begin, err := strconv.ParseInt(from, 10, 33)
	if err != nil || begin < 0 {
		return r, false
	}
	n, err := strconv.ParseInt(more, 10, 33)
	if sized {
		n += begin - 1
	}
	return securityv1.IDRange{Min: begin, Max: n}, err == nil && n >= begin
}
