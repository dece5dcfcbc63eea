package api

import (
	"slices"

	securityv1 "github.com/openshift/api/security/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// constrainedVolumes are the types of volumes that pods may have here, in the order of SecurityContextConstraints.
var constrainedVolumes = []securityv1.FSType{
	securityv1.FSTypeConfigMap, securityv1.FSTypeDownwardAPI, securityv1.FSTypeEmptyDir, securityv1.FSTypePersistentVolumeClaim,
	securityv1.FSProjected, securityv1.FSTypeSecret,
}

// defaultSecurityConstraints fills in what OpenShift 3.11 does: allowHostDirVolumePlugin decides about hostPath, no
// list of volumes at all means all others, and privileges may be gained unless it is said.
func defaultSecurityConstraints(c *securityv1.SecurityContextConstraints) {
	setDefault(&c.FSGroup.Type, securityv1.FSGroupStrategyRunAsAny)
	setDefault(&c.SupplementalGroups.Type, securityv1.SupplementalGroupsStrategyRunAsAny)
	setPointer(&c.AllowPrivilegeEscalation, true)
	all := c.Volumes == nil || slices.Contains(c.Volumes, securityv1.FSTypeAll)
	switch host := slices.Contains(c.Volumes, securityv1.FSTypeHostPath); {
	case all && c.AllowHostDirVolumePlugin:
		c.Volumes = []securityv1.FSType{securityv1.FSTypeAll}
	case all:
		c.Volumes = slices.Clone(constrainedVolumes)
	case c.AllowHostDirVolumePlugin && !host:
		c.Volumes = append(slices.DeleteFunc(slices.Clone(c.Volumes), func(t securityv1.FSType) bool { return t == securityv1.FSTypeNone }), securityv1.FSTypeHostPath)
	case !c.AllowHostDirVolumePlugin && host:
		c.Volumes = slices.DeleteFunc(slices.Clone(c.Volumes), func(t securityv1.FSType) bool { return t == securityv1.FSTypeHostPath })
	}
	if len(c.Volumes) == 0 {
		c.Volumes = []securityv1.FSType{securityv1.FSTypeNone}
	}
}

func validateSecurityConstraints(c *securityv1.SecurityContextConstraints) field.ErrorList {
	var errs field.ErrorList
	if p := c.Priority; p != nil {
		errs = append(errs, nonNegative(field.NewPath("priority"), int64(*p))...)
	}
	errs = append(errs, validateConstrainedUser(&c.RunAsUser, field.NewPath("runAsUser"))...)
	errs = append(errs, oneOf(field.NewPath("seLinuxContext", "type"), c.SELinuxContext.Type, securityv1.SELinuxStrategyMustRunAs, securityv1.SELinuxStrategyRunAsAny)...)
	at := field.NewPath("fsGroup")
	errs = append(errs, oneOf(at.Child("type"), c.FSGroup.Type, securityv1.FSGroupStrategyMustRunAs, securityv1.FSGroupStrategyRunAsAny)...)
	errs = append(errs, validateIDRanges(c.FSGroup.Ranges, at.Child("ranges"))...)
	at = field.NewPath("supplementalGroups")
	errs = append(errs, oneOf(at.Child("type"), c.SupplementalGroups.Type, securityv1.SupplementalGroupsStrategyMustRunAs, securityv1.SupplementalGroupsStrategyRunAsAny)...)
	errs = append(errs, validateIDRanges(c.SupplementalGroups.Ranges, at.Child("ranges"))...)
	if len(c.Volumes) > 1 && slices.Contains(c.Volumes, securityv1.FSTypeNone) {
		errs = append(errs, field.Invalid(field.NewPath("volumes"), c.Volumes, "if 'none' is specified, no other values are allowed"))
	}
	errs = append(errs, validateConstrainedCapabilities(c)...)
	if d, a := c.DefaultAllowPrivilegeEscalation, c.AllowPrivilegeEscalation; d != nil && *d && a != nil && !*a {
		errs = append(errs, field.Invalid(field.NewPath("defaultAllowPrivilegeEscalation"), *d, "cannot be true when allowPrivilegeEscalation is false"))
	}
	return append(errs, validateServedConstraints(c)...)
}

func validateConstrainedUser(o *securityv1.RunAsUserStrategyOptions, p *field.Path) field.ErrorList {
	errs := oneOf(p.Child("type"), o.Type, securityv1.RunAsUserStrategyMustRunAs, securityv1.RunAsUserStrategyMustRunAsRange,
		securityv1.RunAsUserStrategyMustRunAsNonRoot, securityv1.RunAsUserStrategyRunAsAny)
	if o.Type == securityv1.RunAsUserStrategyMustRunAs && o.UID == nil {
		errs = append(errs, field.Required(p.Child("uid"), "MustRunAs requires it"))
	}
	if o.UID != nil {
		errs = append(errs, nonNegative(p.Child("uid"), *o.UID)...)
	}
	switch low, high := o.UIDRangeMin, o.UIDRangeMax; {
	case (low == nil) != (high == nil):
		errs = append(errs, field.Required(p, "uidRangeMin and uidRangeMax are given together"))
	case low != nil:
		errs = append(errs, nonNegative(p.Child("uidRangeMin"), *low)...)
		if *high < *low {
			errs = append(errs, field.Invalid(p.Child("uidRangeMax"), *high, "must not be below uidRangeMin"))
		}
	}
	return errs
}

func validateIDRanges(ranges []securityv1.IDRange, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, r := range ranges {
		errs = append(errs, nonNegative(p.Index(i).Child("min"), r.Min)...)
		if r.Max < r.Min {
			errs = append(errs, field.Invalid(p.Index(i).Child("max"), r.Max, "must not be below min"))
		}
	}
	return errs
}

// validateConstrainedCapabilities: what has to be dropped is neither given nor allowed.
func validateConstrainedCapabilities(c *securityv1.SecurityContextConstraints) field.ErrorList {
	var errs field.ErrorList
	for name, list := range map[string][]corev1.Capability{"defaultAddCapabilities": c.DefaultAddCapabilities, "allowedCapabilities": c.AllowedCapabilities} {
		for i, given := range list {
			if slices.Contains(c.RequiredDropCapabilities, given) {
				errs = append(errs, field.Invalid(field.NewPath(name).Index(i), string(given), "is in requiredDropCapabilities as well"))
			}
		}
	}
	return errs
}

// validateServedConstraints refuses what pods cannot ask for here anyway, so that nobody relies on it.
func validateServedConstraints(c *securityv1.SecurityContextConstraints) field.ErrorList {
	var errs field.ErrorList
	refuse := func(is bool, name, why string) {
		if is {
			errs = append(errs, field.Forbidden(field.NewPath(name), "is not served: "+why))
		}
	}
	refuse(c.SELinuxContext.SELinuxOptions != nil, "seLinuxContext.seLinuxOptions", "labels are the engine's")
	refuse(len(c.AllowedFlexVolumes) > 0, "allowedFlexVolumes", "there are no flex volumes")
	refuse(c.UserNamespaceLevel != "" && c.UserNamespaceLevel != securityv1.NamespaceLevelAllowHost, "userNamespaceLevel", "user namespaces are not supported")
	only := func(list []string, known ...string) bool {
		return !slices.ContainsFunc(list, func(s string) bool { return !slices.Contains(known, s) })
	}
	refuse(!only(c.SeccompProfiles, "*", "runtime/default", "docker/default"), "seccompProfiles", "every container has the engine's profile, a privileged one none")
	refuse(!only(c.AllowedUnsafeSysctls, "*"), "allowedUnsafeSysctls", "pods set no sysctls")
	return errs
}
