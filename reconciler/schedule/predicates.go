package schedule

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"slipway.dev/slipway/api"
)

// predicate says why a pod cannot run on a node, by appending reasons; none: it can.
type predicate struct {
	name  string
	cause why
	check func(t *task, h *host, whys []string) []string
}

// predicates are all that have a name of their own, in the order in which they are asked. The
// reasons are kube-scheduler's.
var predicates = []predicate{
	{"CheckNodeCondition", whyNode, checkCondition},
	{"CheckNodeUnschedulable", whyNode, checkUnschedulable},
	{"HostName", whySelector, checkHostName},
	{"PodToleratesNodeTaints", whyNode, checkTaints},
	{"MatchNodeSelector", whySelector, checkSelector},
	{"CheckNodeMemoryPressure", whyNode, checkMemoryPressure},
	{"CheckNodeDiskPressure", whyNode, pressure(corev1.NodeDiskPressure, corev1.TaintNodeDiskPressure, "node(s) had disk pressure")},
	{"CheckNodePIDPressure", whyNode, pressure(corev1.NodePIDPressure, corev1.TaintNodePIDPressure, "node(s) had pid pressure")},
	{"PodFitsHostPorts", whyTaken, checkPorts},
	{"PodFitsResources", whyRoom, checkResources},
	{"NoDiskConflict", whyTaken, checkDisks},
	{"CheckVolumeBinding", whyVolume, checkVolumes},
	{"NoVolumeZoneConflict", whyVolume, checkZones},
	{"EvenPodsSpread", whySpread, checkSpread},
	{"MatchInterPodAffinity", whyNear, checkNear},
	{"MatchInterPodAffinity", whyApart, checkApart},
}

// mandatory predicates hold whatever a policy says.
var mandatory = []string{"CheckNodeCondition", "CheckNodeUnschedulable", "PodToleratesNodeTaints"}

// groups are names of a policy that stand for predicates of other names, older ones among them. Those
// of clouds' volumes stand for none.
var groups = map[string][]string{
	"GeneralPredicates":    {"HostName", "MatchNodeSelector", "PodFitsHostPorts", "PodFitsResources"},
	"PodFitsPorts":         {"PodFitsHostPorts"},
	"NoVolumeNodeConflict": {"CheckVolumeBinding"},
	"MaxEBSVolumeCount":    {}, "MaxGCEPDVolumeCount": {}, "MaxAzureDiskVolumeCount": {}, "MaxCSIVolumeCountPred": {}, "MaxCinderVolumeCount": {},
}

func checkCondition(t *task, h *host, whys []string) []string {
	if h.node.DeletionTimestamp != nil || !h.ready && !t.bears(corev1.TaintNodeNotReady) {
		return append(whys, "node(s) were not ready")
	}
	if h.pressure[corev1.NodeNetworkUnavailable] && !t.bears(corev1.TaintNodeNetworkUnavailable) {
		return append(whys, "node(s) had unavailable network")
	}
	return whys
}

// bears says that a pod goes to nodes with a trouble that Kubernetes marks by a taint: daemons do,
// which are there to look after such nodes.
func (t *task) bears(trouble string) bool {
	return t.tolerates(&corev1.Taint{Key: trouble, Effect: corev1.TaintEffectNoSchedule})
}

func checkUnschedulable(t *task, h *host, whys []string) []string {
	if h.node.Spec.Unschedulable && !t.bears(corev1.TaintNodeUnschedulable) {
		return append(whys, "node(s) were unschedulable")
	}
	return whys
}

func checkHostName(t *task, h *host, whys []string) []string {
	if t.pod.Spec.NodeName != "" && t.pod.Spec.NodeName != h.name {
		return append(whys, "node(s) didn't match the requested node name")
	}
	return whys
}

func checkTaints(t *task, h *host, whys []string) []string {
	if len(h.node.Spec.Taints) == 0 {
		return whys
	}
	if taint := t.untolerated(h); taint != nil {
		return append(whys, fmt.Sprintf("node(s) had untolerated taint {%s: %s}", taint.Key, taint.Value))
	}
	return whys
}

func checkSelector(t *task, h *host, whys []string) []string {
	if !t.selects(h) {
		return append(whys, "node(s) didn't match Pod's node affinity/selector")
	}
	return whys
}

func checkMemoryPressure(t *task, h *host, whys []string) []string {
	if t.bestEffort && h.pressure[corev1.NodeMemoryPressure] && !t.bears(corev1.TaintNodeMemoryPressure) {
		return append(whys, "node(s) had memory pressure")
	}
	return whys
}

func pressure(of corev1.NodeConditionType, taint, why string) func(*task, *host, []string) []string {
	return func(t *task, h *host, whys []string) []string {
		if h.pressure[of] && !t.bears(taint) {
			return append(whys, why)
		}
		return whys
	}
}

func checkPorts(t *task, h *host, whys []string) []string {
	for _, p := range t.self.ports {
		if h.taken(p) {
			return append(whys, "node(s) didn't have free ports for the requested pod ports")
		}
	}
	return whys
}

func checkResources(t *task, h *host, whys []string) []string {
	if h.fits(t.self.asked) {
		return whys
	}
	return h.short(t.self.asked, whys)
}

func checkDisks(t *task, h *host, whys []string) []string {
	if t.alone {
		return append(whys, "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode")
	}
	if slices.ContainsFunc(t.self.disks, h.conflicts) {
		return append(whys, "node(s) had no available disk")
	}
	return whys
}

func checkVolumes(t *task, h *host, whys []string) []string {
	if !t.reachable(h) {
		return append(whys, "node(s) had volume node affinity conflict")
	}
	return whys
}

func checkZones(t *task, h *host, whys []string) []string {
	if !t.sameZone(h) {
		return append(whys, "node(s) had no available volume zone")
	}
	return whys
}

func checkSpread(t *task, h *host, whys []string) []string {
	for i := range t.forbid {
		if why := t.forbid[i].refuses(h); why != "" {
			return append(whys, why)
		}
	}
	return whys
}

func checkNear(t *task, h *host, whys []string) []string {
	if !t.company.near(h) {
		return append(whys, "node(s) didn't match pod affinity rules")
	}
	return whys
}

func checkApart(t *task, h *host, whys []string) []string {
	if why := t.company.apart(h); why != "" {
		return append(whys, why)
	}
	return whys
}

func splitZones(value string) []string { return strings.Split(value, "__") }

// labelsPresence is a predicate of a policy: nodes have all of the labels, or none of them.
func labelsPresence(name string, a *api.LabelsPresenceArgument) predicate {
	return predicate{name, whySelector, func(_ *task, h *host, whys []string) []string {
		for _, l := range a.Labels {
			if _, ok := h.node.Labels[l]; ok != a.Presence {
				return append(whys, "node(s) didn't have the requested labels")
			}
		}
		return whys
	}}
}

// serviceAffinity is a predicate of a policy: the pods of a service are on nodes with equal values
// of the labels. The first pod is free, but for what its own selector says.
func serviceAffinity(name string, wanted []string) predicate {
	return predicate{name, whySelector | whyPods, func(t *task, h *host, whys []string) []string {
		for _, l := range wanted {
			if value, ok := t.affine[l]; ok && h.node.Labels[l] != value {
				return append(whys, "node(s) didn't match service affinity")
			}
		}
		return whys
	}}
}

// affine are the values that the policy's serviceAffinity asks of a pod's node: those of its
// selector, and else those of the node of one of its service's pods.
func (p *policy) affine(t *task) map[string]string {
	if len(p.serviceLabels) == 0 {
		return nil
	}
	out := map[string]string{}
	for _, l := range p.serviceLabels {
		if value, ok := t.selector[l]; ok {
			out[l] = value
		}
	}
	w := t.world
	on := w.siblings(t.pod, true)
	for _, h := range w.order {
		if on[h.name] == 0 {
			continue
		}
		for _, l := range p.serviceLabels {
			if _, have := out[l]; !have {
				if value, ok := h.node.Labels[l]; ok {
					out[l] = value
				}
			}
		}
		break
	}
	return out
}
