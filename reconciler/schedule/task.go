package schedule

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/state/loop"
)

// task is a pod with all that is asked about it read once, before nodes are looked at.
type task struct {
	pod   *corev1.Pod
	self  *placed
	world *world

	selector  map[string]string
	affinity  *nodeaffinity.RequiredNodeAffinity
	preferred *nodeaffinity.PreferredSchedulingTerms
	company   company
	forbid    []spread
	prefer    []spread
	located   []located
	// alone: it wants a claim that one pod may use at a time, and another uses.
	alone bool
	// hopeless says why no node is even looked at; empty: nodes are. cause is what could help.
	hopeless string
	cause    why
	// bestEffort pods ask for nothing.
	bestEffort bool
	// affine are the values of node labels that a policy's serviceAffinity asks for.
	affine map[string]string
}

// task reads a pod.
func (w *world) task(pod *corev1.Pod) *task {
	w.relabel()
	t := &task{pod: pod, self: newPlaced(pod, ""), world: w, bestEffort: bestEffort(pod)}
	if _, err := w.classOf(pod); err != nil {
		t.hopeless, t.cause = err.Error(), whyPod
		return t
	}
	selector, err := api.MergeNodeSelectors(pod.Spec.NodeSelector, w.projectSelector(pod.Namespace))
	if err != nil {
		t.hopeless, t.cause = err.Error(), whySelector|whyPod
		return t
	}
	t.selector = selector
	var wanted *corev1.NodeAffinity
	if pod.Spec.Affinity != nil {
		wanted = pod.Spec.Affinity.NodeAffinity
	}
	if len(selector) > 0 || wanted != nil && wanted.RequiredDuringSchedulingIgnoredDuringExecution != nil {
		a := nodeaffinity.NewRequiredNodeAffinity(selector, pod.Spec.Affinity)
		t.affinity = &a
	}
	if wanted != nil && len(wanted.PreferredDuringSchedulingIgnoredDuringExecution) > 0 {
		// The validation lets none through that cannot be read.
		t.preferred, _ = nodeaffinity.NewPreferredSchedulingTerms(wanted.PreferredDuringSchedulingIgnoredDuringExecution)
	}
	if t.located, t.hopeless = w.locate(pod); t.hopeless != "" {
		t.cause = whyVolume
		return t
	}
	t.alone = slices.ContainsFunc(t.self.claims, func(name string) bool { return w.occupied(loop.Key{Namespace: pod.Namespace, Name: name}) })
	t.company = w.companyOf(pod, w.policy.hardWeight)
	t.forbid, t.prefer = w.spreadsOf(t, true), w.spreadsOf(t, false)
	t.affine = w.policy.affine(t)
	return t
}

func bestEffort(pod *corev1.Pod) bool {
	return !slices.ContainsFunc(slices.Concat(pod.Spec.Containers, pod.Spec.InitContainers), func(c corev1.Container) bool {
		asks := func(l corev1.ResourceList) bool { return !l.Cpu().IsZero() || !l.Memory().IsZero() }
		return asks(c.Resources.Requests) || asks(c.Resources.Limits)
	})
}

// priority is what orders the queue. A class that is not known counts as 0; the pod then waits.
func (w *world) priority(pod *corev1.Pod) int32 {
	p, _ := w.classOf(pod)
	return p
}

// classOf is the priority by the pod's class, as Kubernetes' admission resolves it.
func (w *world) classOf(pod *corev1.Pod) (int32, error) {
	if pod.Spec.Priority != nil {
		return *pod.Spec.Priority, nil
	}
	name := pod.Spec.PriorityClassName
	if name == "" {
		if w.defaultClass != nil {
			return w.defaultClass.Value, nil
		}
		return 0, nil
	}
	if p, ok := api.SystemPriority(name); ok {
		return p, nil
	}
	if c := w.classes[name]; c != nil {
		return c.Value, nil
	}
	return 0, fmt.Errorf("no PriorityClass with name %s was found", name)
}

// selects says that a node has the labels that the pod asks for.
func (t *task) selects(h *host) bool {
	if t.affinity == nil {
		return true
	}
	ok, err := t.affinity.Match(h.node)
	return ok && err == nil
}

// untolerated is the first taint of a node that keeps the pod away; nil: none.
func (t *task) untolerated(h *host) *corev1.Taint {
	for i := range h.node.Spec.Taints {
		if taint := &h.node.Spec.Taints[i]; taint.Effect != corev1.TaintEffectPreferNoSchedule && !t.tolerates(taint) {
			return taint
		}
	}
	return nil
}

func (t *task) tolerates(taint *corev1.Taint) bool {
	return slices.ContainsFunc(t.pod.Spec.Tolerations, func(x corev1.Toleration) bool { return api.Tolerates(&x, taint) })
}

// projectSelector is the node selector of a project's pods: its own, even if it is empty, or else
// the cluster's.
func (w *world) projectSelector(name string) map[string]string {
	set, err := api.ProjectSelector(w.projects[name], w.config)
	if err != nil {
		// A selector that cannot be read must not let pods go anywhere.
		return map[string]string{api.ProjectNodeSelector: "unreadable"}
	}
	return set
}

// located is where a volume of the pod can be reached from.
type located struct {
	volume   string
	affinity *nodeaffinity.NodeSelector
	zones    map[string][]string
}

// locate looks up the volumes of a pod's claims. why is not empty where the pod has to wait for one.
func (w *world) locate(pod *corev1.Pod) (out []located, why string) {
	for _, v := range pod.Spec.Volumes {
		if v.PersistentVolumeClaim == nil {
			continue
		}
		key := keyOf(pod)
		key.Name = v.PersistentVolumeClaim.ClaimName
		claim := w.claims[key]
		switch {
		case claim == nil:
			return nil, fmt.Sprintf("persistentvolumeclaim %q not found", key.Name)
		case claim.DeletionTimestamp != nil:
			return nil, fmt.Sprintf("persistentvolumeclaim %q is being deleted", key.Name)
		case claim.Status.Phase == corev1.ClaimLost:
			return nil, fmt.Sprintf("persistentvolumeclaim %q bound to non-existent persistentvolume %q", key.Name, claim.Spec.VolumeName)
		case claim.Spec.VolumeName == "" || claim.Status.Phase != corev1.ClaimBound:
			return nil, "pod has unbound immediate PersistentVolumeClaims"
		}
		pv := w.volumes[claim.Spec.VolumeName]
		if pv == nil {
			return nil, fmt.Sprintf("persistentvolume %q not found", claim.Spec.VolumeName)
		}
		l := located{volume: pv.Name, zones: zonesOf(pv)}
		if pv.Spec.NodeAffinity != nil && pv.Spec.NodeAffinity.Required != nil {
			var err error
			if l.affinity, err = nodeaffinity.NewNodeSelector(pv.Spec.NodeAffinity.Required); err != nil {
				return nil, fmt.Sprintf("persistentvolume %q: nodeAffinity: %v", pv.Name, err)
			}
		}
		out = append(out, l)
	}
	return out, ""
}

// occupied says that a claim is for one pod at a time, and that a pod on some node has it: nodes see
// the volumes of their own pods only.
func (w *world) occupied(claim loop.Key) bool {
	c := w.claims[claim]
	return c != nil && w.using[claim] > 0 && slices.Contains(c.Spec.AccessModes, corev1.ReadWriteOncePod)
}

// zoneLabels place volumes, as NoVolumeZoneConflict reads them.
var zoneLabels = []string{corev1.LabelTopologyZone, corev1.LabelTopologyRegion, corev1.LabelFailureDomainBetaZone, corev1.LabelFailureDomainBetaRegion}

func zonesOf(pv *corev1.PersistentVolume) map[string][]string {
	var out map[string][]string
	for _, l := range zoneLabels {
		if value, ok := pv.Labels[l]; ok {
			if out == nil {
				out = map[string][]string{}
			}
			out[l] = splitZones(value)
		}
	}
	return out
}

// reachable says whether a node's place suits every volume.
func (t *task) reachable(h *host) bool {
	return !slices.ContainsFunc(t.located, func(l located) bool { return l.affinity != nil && !l.affinity.Match(h.node) })
}

func (t *task) sameZone(h *host) bool {
	for _, l := range t.located {
		for label, values := range l.zones {
			// A node without any of these labels is nowhere in particular, as in Kubernetes.
			if hasZone(h.node.Labels) && !slices.Contains(values, h.node.Labels[label]) {
				return false
			}
		}
	}
	return true
}

func hasZone(set labels.Set) bool {
	return slices.ContainsFunc(zoneLabels, set.Has)
}
