package constraints

import (
	"cmp"
	"slices"
	"strings"

	securityv1 "github.com/openshift/api/security/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Capabilities are those that a container has without asking: Docker's default without NET_RAW, MKNOD,
// SYS_CHROOT, SETFCAP and AUDIT_WRITE.
func Capabilities() []string {
	return []string{"CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETGID", "SETPCAP", "SETUID"}
}

// harmless are the volumes that do not reach the host.
func harmless() []securityv1.FSType {
	return []securityv1.FSType{
		securityv1.FSTypeConfigMap, securityv1.FSTypeDownwardAPI, securityv1.FSTypeEmptyDir, securityv1.FSTypePersistentVolumeClaim,
		securityv1.FSProjected, securityv1.FSTypeSecret,
	}
}

// Everybody names those that every account may use, unless an administrator declares them otherwise.
const Everybody = "anyuid"

// BuiltIn are the constraints that need not be declared: OpenShift's, with two differences. All accounts may use
// anyuid, so that images made for plain Docker run as they are; and only privileged lets gain privileges.
func BuiltIn() []securityv1.SecurityContextConstraints {
	const masters, admins, nodes, everybody = "system:masters", "system:cluster-admins", "system:nodes", "system:authenticated"
	no, yes := false, true
	with := func(name string, more func(*securityv1.SecurityContextConstraints)) securityv1.SecurityContextConstraints {
		c := securityv1.SecurityContextConstraints{
			ObjectMeta: metav1.ObjectMeta{Name: name}, AllowPrivilegeEscalation: &no, Volumes: harmless(),
			AllowedCapabilities:      []corev1.Capability{"NET_BIND_SERVICE"},
			RequiredDropCapabilities: []corev1.Capability{"KILL", "MKNOD", "SETUID", "SETGID"},
			RunAsUser:                securityv1.RunAsUserStrategyOptions{Type: securityv1.RunAsUserStrategyMustRunAsRange},
			SELinuxContext:           securityv1.SELinuxContextStrategyOptions{Type: securityv1.SELinuxStrategyMustRunAs},
			FSGroup:                  securityv1.FSGroupStrategyOptions{Type: securityv1.FSGroupStrategyMustRunAs},
			SupplementalGroups:       securityv1.SupplementalGroupsStrategyOptions{Type: securityv1.SupplementalGroupsStrategyRunAsAny},
		}
		more(&c)
		return c
	}
	anybody := securityv1.RunAsUserStrategyOptions{Type: securityv1.RunAsUserStrategyRunAsAny}
	return []securityv1.SecurityContextConstraints{
		with("restricted", func(c *securityv1.SecurityContextConstraints) { c.Groups = []string{everybody} }),
		with("nonroot", func(c *securityv1.SecurityContextConstraints) {
			c.RunAsUser.Type = securityv1.RunAsUserStrategyMustRunAsNonRoot
			c.FSGroup.Type = securityv1.FSGroupStrategyRunAsAny
		}),
		with(Everybody, func(c *securityv1.SecurityContextConstraints) {
			first := int32(10)
			c.Priority, c.Groups, c.RunAsUser = &first, []string{admins, everybody}, anybody
			c.FSGroup.Type, c.RequiredDropCapabilities = securityv1.FSGroupStrategyRunAsAny, []corev1.Capability{"MKNOD"}
		}),
		with("hostmount-anyuid", func(c *securityv1.SecurityContextConstraints) {
			c.AllowHostDirVolumePlugin, c.Volumes, c.RunAsUser = true, append(harmless(), securityv1.FSTypeHostPath, securityv1.FSTypeNFS), anybody
			c.FSGroup.Type, c.RequiredDropCapabilities = securityv1.FSGroupStrategyRunAsAny, []corev1.Capability{"MKNOD"}
		}),
		with("hostnetwork", func(c *securityv1.SecurityContextConstraints) {
			c.AllowHostNetwork, c.AllowHostPorts = true, true
			c.SupplementalGroups.Type = securityv1.SupplementalGroupsStrategyMustRunAs
		}),
		with("hostaccess", func(c *securityv1.SecurityContextConstraints) {
			c.AllowHostDirVolumePlugin, c.Volumes = true, append(harmless(), securityv1.FSTypeHostPath)
			c.AllowHostNetwork, c.AllowHostPorts, c.AllowHostPID, c.AllowHostIPC = true, true, true, true
		}),
		with("privileged", func(c *securityv1.SecurityContextConstraints) {
			c.Groups, c.RunAsUser, c.AllowPrivilegeEscalation = []string{admins, nodes, masters}, anybody, &yes
			c.AllowHostDirVolumePlugin, c.Volumes = true, []securityv1.FSType{securityv1.FSTypeAll}
			c.AllowHostNetwork, c.AllowHostPorts, c.AllowHostPID, c.AllowHostIPC = true, true, true, true
			c.AllowPrivilegedContainer, c.AllowedCapabilities, c.RequiredDropCapabilities = true, []corev1.Capability{securityv1.AllowAllCapabilities}, nil
			c.SELinuxContext.Type, c.FSGroup.Type = securityv1.SELinuxStrategyRunAsAny, securityv1.FSGroupStrategyRunAsAny
		}),
	}
}

// Named is what a name stands for: what is declared, else what is built in.
func Named(name string, declared *securityv1.SecurityContextConstraints) (securityv1.SecurityContextConstraints, bool) {
	if declared != nil {
		return *declared, true
	}
	for _, c := range BuiltIn() {
		if c.Name == name {
			return c, true
		}
	}
	return securityv1.SecurityContextConstraints{}, false
}

// All are the declared constraints and the built-in ones beside them, in the order in which they are tried: those of
// the highest priority first, of these the most restrictive first, of these by name.
func All(declared []securityv1.SecurityContextConstraints) []securityv1.SecurityContextConstraints {
	all := slices.Clone(declared)
	for _, c := range BuiltIn() {
		if !slices.ContainsFunc(declared, func(d securityv1.SecurityContextConstraints) bool { return d.Name == c.Name }) {
			all = append(all, c)
		}
	}
	slices.SortStableFunc(all, func(a, b securityv1.SecurityContextConstraints) int {
		return cmp.Or(cmp.Compare(priority(&b), priority(&a)), cmp.Compare(freedom(&a), freedom(&b)), strings.Compare(a.Name, b.Name))
	})
	return all
}

func priority(c *securityv1.SecurityContextConstraints) int32 {
	if c.Priority == nil {
		return 0
	}
	return *c.Priority
}

// freedom is how much the constraints leave open, weighed as in OpenShift 3.11.
func freedom(c *securityv1.SecurityContextConstraints) (sum int) {
	add := func(is bool, points int) {
		if is {
			sum += points
		}
	}
	host := slices.Contains(c.Volumes, securityv1.FSTypeHostPath) || slices.Contains(c.Volumes, securityv1.FSTypeAll)
	some := slices.ContainsFunc(c.Volumes, func(v securityv1.FSType) bool {
		return v == securityv1.FSTypePersistentVolumeClaim || !slices.Contains(harmless(), v) && v != securityv1.FSTypeNone
	})
	add(c.AllowPrivilegedContainer, 1_000_000)
	add(host, 100_000)
	add(!host && some, 50_000)
	add(c.AllowHostNetwork, 200_000)
	add(c.AllowHostPorts, 400_000)
	add(true, capabilityPoints(c))
	strategies := map[string]int{"RunAsAny": 40_000, "MustRunAsNonRoot": 30_000, "MustRunAsRange": 20_000, "MustRunAs": 10_000}
	return sum + strategies[string(c.SELinuxContext.Type)] + strategies[string(c.RunAsUser.Type)]
}

func capabilityPoints(c *securityv1.SecurityContextConstraints) int {
	sum := 5000 + 300*len(c.DefaultAddCapabilities)
	if allCapabilities(c.AllowedCapabilities) {
		sum += 4000
	} else {
		sum += 10 * len(c.AllowedCapabilities)
	}
	if slices.Contains(c.RequiredDropCapabilities, "ALL") {
		sum -= 3000
	} else {
		sum -= 50 * len(c.RequiredDropCapabilities)
	}
	return max(0, min(sum, 9999))
}

func allCapabilities(of []corev1.Capability) bool {
	return slices.Contains(of, securityv1.AllowAllCapabilities) || slices.Contains(of, "ALL")
}
