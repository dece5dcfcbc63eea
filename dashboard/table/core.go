package table

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	projectv1 "github.com/openshift/api/project/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func serviceCells(s *corev1.Service, now time.Time) []any {
	external := "<none>"
	if s.Spec.Type == corev1.ServiceTypeExternalName {
		external = s.Spec.ExternalName
	} else if outer := outerAddresses(s); len(outer) > 0 {
		external = strings.Join(outer, ",")
	} else if s.Spec.Type == corev1.ServiceTypeLoadBalancer {
		external = "<pending>"
	}
	ports := make([]string, len(s.Spec.Ports))
	for i, p := range s.Spec.Ports {
		ports[i] = strconv.Itoa(int(p.Port))
		if p.NodePort > 0 {
			ports[i] += ":" + strconv.Itoa(int(p.NodePort))
		}
		ports[i] += "/" + cmp.Or(string(p.Protocol), "TCP")
	}
	return []any{
		s.Name, cmp.Or(string(s.Spec.Type), "ClusterIP"), none(s.Spec.ClusterIP), external, none(strings.Join(ports, ",")), age(s.CreationTimestamp, now),
		pairs(s.Spec.Selector),
	}
}

// outerAddresses are where a service is reached from outside, its load balancer's first.
func outerAddresses(s *corev1.Service) []string {
	var out []string
	for _, i := range s.Status.LoadBalancer.Ingress {
		out = append(out, cmp.Or(i.IP, i.Hostname))
	}
	return append(out, s.Spec.ExternalIPs...)
}

// endpoints are the fields of v1 Endpoints that are shown. The type of k8s.io/api is
// deprecated in favour of one that OpenShift 3 does not have.
type endpoints struct {
	metav1.ObjectMeta `json:"metadata"`
	Subsets           []struct {
		Addresses []struct {
			IP string `json:"ip"`
		} `json:"addresses"`
		Ports []struct {
			Port int32 `json:"port"`
		} `json:"ports"`
	} `json:"subsets"`
}

func endpointsCells(e *endpoints, now time.Time) []any {
	const most = 3
	var all []string
	for _, s := range e.Subsets {
		for _, a := range s.Addresses {
			if len(s.Ports) == 0 {
				all = append(all, a.IP)
			}
			for _, p := range s.Ports {
				all = append(all, fmt.Sprintf("%s:%d", a.IP, p.Port))
			}
		}
	}
	text := strings.Join(all, ",")
	if len(all) > most {
		text = fmt.Sprintf("%s + %d more...", strings.Join(all[:most], ","), len(all)-most)
	}
	return []any{e.Name, none(text), age(e.CreationTimestamp, now)}
}

func nodeCells(n *corev1.Node, now time.Time) []any {
	status := "Unknown"
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			status = map[corev1.ConditionStatus]string{corev1.ConditionTrue: "Ready", corev1.ConditionFalse: "NotReady"}[c.Status]
			status = cmp.Or(status, "Unknown")
		}
	}
	if n.Spec.Unschedulable {
		status += ",SchedulingDisabled"
	}
	var roles []string
	for l := range n.Labels {
		if role, ok := strings.CutPrefix(l, "node-role.kubernetes.io/"); ok && role != "" {
			roles = append(roles, role)
		}
	}
	slices.Sort(roles)
	address := func(t corev1.NodeAddressType) string {
		for _, a := range n.Status.Addresses {
			if a.Type == t {
				return a.Address
			}
		}
		return "<none>"
	}
	i := n.Status.NodeInfo
	return []any{
		n.Name, status, none(strings.Join(roles, ",")), age(n.CreationTimestamp, now), i.KubeletVersion,
		address(corev1.NodeInternalIP), address(corev1.NodeExternalIP), none(i.OSImage), none(i.KernelVersion), none(i.ContainerRuntimeVersion),
	}
}

func eventCells(e *corev1.Event, now time.Time) []any {
	first, last := e.FirstTimestamp, e.LastTimestamp
	if first.IsZero() {
		first = metav1.NewTime(e.EventTime.Time)
	}
	if last.IsZero() {
		last = first
	}
	source := e.Source.Component
	if e.Source.Host != "" {
		source += ", " + e.Source.Host
	}
	return []any{
		age(last, now), e.Type, e.Reason, strings.ToLower(e.InvolvedObject.Kind) + "/" + e.InvolvedObject.Name, strings.TrimSpace(e.Message),
		e.InvolvedObject.FieldPath, cmp.Or(source, e.ReportingController), age(first, now), max(e.Count, 1), e.Name,
	}
}

func secretCells(s *corev1.Secret, now time.Time) []any {
	return []any{s.Name, string(s.Type), len(s.Data), age(s.CreationTimestamp, now)}
}

func configMapCells(c *corev1.ConfigMap, now time.Time) []any {
	return []any{c.Name, len(c.Data) + len(c.BinaryData), age(c.CreationTimestamp, now)}
}

func serviceAccountCells(s *corev1.ServiceAccount, now time.Time) []any {
	return []any{s.Name, len(s.Secrets), age(s.CreationTimestamp, now)}
}

func namespaceCells(n *corev1.Namespace, now time.Time) []any {
	return []any{n.Name, string(n.Status.Phase), age(n.CreationTimestamp, now)}
}

func projectCells(p *projectv1.Project, now time.Time) []any {
	status := cmp.Or(string(p.Status.Phase), "Active")
	if p.DeletionTimestamp != nil {
		status = "Terminating"
	}
	return []any{p.Name, p.Annotations["openshift.io/display-name"], status, age(p.CreationTimestamp, now)}
}

func quotaCells(q *corev1.ResourceQuota, now time.Time) []any {
	var requests, limits []string
	for _, r := range slices.Sorted(maps.Keys(q.Status.Hard)) {
		used, hard := q.Status.Used[r], q.Status.Hard[r]
		text := fmt.Sprintf("%s: %s/%s", r, used.String(), hard.String())
		if strings.HasPrefix(string(r), "limits.") {
			limits = append(limits, text)
		} else {
			requests = append(requests, text)
		}
	}
	return []any{q.Name, strings.Join(requests, ", "), strings.Join(limits, ", "), age(q.CreationTimestamp, now)}
}

func volumeCells(v *corev1.PersistentVolume, now time.Time) []any {
	claim := ""
	if r := v.Spec.ClaimRef; r != nil {
		claim = r.Namespace + "/" + r.Name
	}
	return []any{
		v.Name, storage(v.Spec.Capacity), modes(v.Spec.AccessModes), string(v.Spec.PersistentVolumeReclaimPolicy), phase(v.DeletionTimestamp, string(v.Status.Phase)),
		claim, v.Spec.StorageClassName, v.Status.Reason, age(v.CreationTimestamp, now),
	}
}

func claimCells(c *corev1.PersistentVolumeClaim, now time.Time) []any {
	capacity, access := "", ""
	if c.Spec.VolumeName != "" {
		capacity, access = storage(c.Status.Capacity), modes(c.Status.AccessModes)
	}
	class := ""
	if c.Spec.StorageClassName != nil {
		class = *c.Spec.StorageClassName
	}
	return []any{c.Name, phase(c.DeletionTimestamp, string(c.Status.Phase)), c.Spec.VolumeName, capacity, access, class, age(c.CreationTimestamp, now)}
}

func phase(deleted *metav1.Time, phase string) string {
	if deleted != nil {
		return "Terminating"
	}
	return cmp.Or(phase, "Pending")
}

func storage(r corev1.ResourceList) string { q := r[corev1.ResourceStorage]; return q.String() }

func modes(all []corev1.PersistentVolumeAccessMode) string {
	short := map[corev1.PersistentVolumeAccessMode]string{
		corev1.ReadWriteOnce: "RWO", corev1.ReadOnlyMany: "ROX", corev1.ReadWriteMany: "RWX", corev1.ReadWriteOncePod: "RWOP",
	}
	var out []string
	for _, m := range all {
		out = append(out, cmp.Or(short[m], string(m)))
	}
	return strings.Join(out, ",")
}

// bindingCells serves ClusterRoleBindings too: their fields are the same.
func bindingCells(b *rbacv1.RoleBinding, now time.Time) []any {
	subjects := func(kind string) string {
		var names []string
		for _, s := range b.Subjects {
			switch {
			case s.Kind != kind:
			case kind == rbacv1.ServiceAccountKind:
				names = append(names, s.Namespace+"/"+s.Name)
			default:
				names = append(names, s.Name)
			}
		}
		return strings.Join(names, ", ")
	}
	return []any{
		b.Name, b.RoleRef.Kind + "/" + b.RoleRef.Name, age(b.CreationTimestamp, now),
		subjects(rbacv1.UserKind), subjects(rbacv1.GroupKind), subjects(rbacv1.ServiceAccountKind),
	}
}

func pairs(m map[string]string) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, k+"="+m[k])
	}
	return none(strings.Join(out, ","))
}
