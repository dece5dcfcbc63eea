package api

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// The priority of the two classes that every cluster has, and the highest that another may have.
const (
	SystemNodeCritical     = 2_000_001_000
	SystemClusterCritical  = 2_000_000_000
	HighestUserPriority    = 1_000_000_000
	systemPriorityPrefix   = "system-"
	maxWeight              = 100
	minSkew                = 1
	nameOfNode             = "metadata.name"
	tolerationNeedsNoValue = "must be empty when `operator` is 'Exists'"
)

// SystemPriority is the priority of a class that every cluster has.
func SystemPriority(class string) (int32, bool) {
	p, ok := map[string]int32{"system-node-critical": SystemNodeCritical, "system-cluster-critical": SystemClusterCritical}[class]
	return p, ok
}

func defaultPriorityClass(c *schedulingv1.PriorityClass) {
	setPointer(&c.PreemptionPolicy, corev1.PreemptLowerPriority)
}

func validatePriorityClass(c *schedulingv1.PriorityClass) field.ErrorList {
	var errs field.ErrorList
	if strings.HasPrefix(c.Name, systemPriorityPrefix) {
		errs = append(errs, field.Forbidden(field.NewPath("metadata", "name"), "priority class names with 'system-' prefix are reserved for system use only"))
	}
	if c.Value > HighestUserPriority {
		errs = append(errs, field.Forbidden(field.NewPath("value"), "maximum allowed value of a user defined priority is 1000000000"))
	}
	if c.PreemptionPolicy != nil {
		errs = append(errs, oneOf(field.NewPath("preemptionPolicy"), *c.PreemptionPolicy, corev1.PreemptLowerPriority, corev1.PreemptNever)...)
	}
	return errs
}

// updatePriorityClass: pods that were made with a class keep its value.
func updatePriorityClass(n, old *schedulingv1.PriorityClass) field.ErrorList {
	errs := immutable(n.Value, old.Value, field.NewPath("value"))
	return append(errs, immutable(n.PreemptionPolicy, old.PreemptionPolicy, field.NewPath("preemptionPolicy"))...)
}

// Tolerates says that a toleration is for a taint, as Kubernetes matches them.
func Tolerates(x *corev1.Toleration, taint *corev1.Taint) bool {
	switch {
	case x.Effect != "" && x.Effect != taint.Effect, x.Key != "" && x.Key != taint.Key:
		return false
	case x.Operator == corev1.TolerationOpExists:
		return true
	}
	return x.Key != "" && (x.Operator == "" || x.Operator == corev1.TolerationOpEqual) && x.Value == taint.Value
}

// nodeNames are where objects of a repository could give pods their node.
var nodeNames = [][]string{
	{"spec", "nodeName"}, {"spec", "template", "spec", "nodeName"}, {"spec", "jobTemplate", "spec", "template", "spec", "nodeName"},
}

// checkNodeName refuses a node that is chosen by the author: such a pod would pass by the scheduler, and with
// it by its project's node selector, taints, cordons and what there is room for.
func checkNodeName(u *unstructured.Unstructured) field.ErrorList {
	for _, path := range nodeNames {
		if name, ok, _ := unstructured.NestedString(u.Object, path...); ok && name != "" {
			return field.ErrorList{field.Forbidden(field.NewPath(path[0], path[1:]...), "nodes are chosen by the scheduler: ask for one by nodeSelector: {kubernetes.io/hostname: "+name+"}")}
		}
	}
	return nil
}

// validatePlacement checks what a pod's spec says about where it may run.
func validatePlacement(s *corev1.PodSpec, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, t := range s.Tolerations {
		errs = append(errs, validateToleration(t, p.Child("tolerations").Index(i))...)
	}
	for i := range s.TopologySpreadConstraints {
		errs = append(errs, validateSpread(&s.TopologySpreadConstraints[i], p.Child("topologySpreadConstraints").Index(i))...)
	}
	if s.PriorityClassName != "" {
		errs = append(errs, invalid(p.Child("priorityClassName"), s.PriorityClassName, validation.IsDNS1123Subdomain(s.PriorityClassName))...)
	}
	if s.SchedulerName != corev1.DefaultSchedulerName {
		errs = append(errs, field.NotSupported(p.Child("schedulerName"), s.SchedulerName, []string{corev1.DefaultSchedulerName}))
	}
	if len(s.SchedulingGates) > 0 {
		errs = append(errs, field.Forbidden(p.Child("schedulingGates"), "nobody could take them away: pods are described in git"))
	}
	a := s.Affinity
	if a == nil {
		return errs
	}
	at := p.Child("affinity")
	if n := a.NodeAffinity; n != nil {
		errs = append(errs, validateNodeAffinity(n, at.Child("nodeAffinity"))...)
	}
	if n := a.PodAffinity; n != nil {
		errs = append(errs, validatePodTerms(n.RequiredDuringSchedulingIgnoredDuringExecution, n.PreferredDuringSchedulingIgnoredDuringExecution, at.Child("podAffinity"))...)
	}
	if n := a.PodAntiAffinity; n != nil {
		errs = append(errs, validatePodTerms(n.RequiredDuringSchedulingIgnoredDuringExecution, n.PreferredDuringSchedulingIgnoredDuringExecution, at.Child("podAntiAffinity"))...)
	}
	return errs
}

func validateToleration(t corev1.Toleration, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if t.Key != "" {
		errs = append(errs, metav1validation.ValidateLabelName(t.Key, p.Child("key"))...)
	} else if t.Operator != corev1.TolerationOpExists {
		errs = append(errs, field.Invalid(p.Child("operator"), t.Operator, "operator must be Exists when `key` is empty, which means \"match all values and all keys\""))
	}
	switch t.Operator {
	case "", corev1.TolerationOpEqual:
		errs = append(errs, invalid(p.Child("value"), t.Value, validation.IsValidLabelValue(t.Value))...)
	case corev1.TolerationOpExists:
		if t.Value != "" {
			errs = append(errs, field.Invalid(p.Child("value"), t.Value, tolerationNeedsNoValue))
		}
	default:
		errs = append(errs, field.NotSupported(p.Child("operator"), t.Operator, []corev1.TolerationOperator{corev1.TolerationOpEqual, corev1.TolerationOpExists}))
	}
	if t.TolerationSeconds != nil && t.Effect != corev1.TaintEffectNoExecute {
		errs = append(errs, field.Invalid(p.Child("effect"), t.Effect, "effect must be 'NoExecute' when `tolerationSeconds` is set"))
	}
	if t.Effect != "" {
		errs = append(errs, oneOf(p.Child("effect"), t.Effect, corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute)...)
	}
	return errs
}

func validateSpread(c *corev1.TopologySpreadConstraint, p *field.Path) field.ErrorList {
	errs := atLeast(p.Child("maxSkew"), c.MaxSkew, minSkew, "must be greater than zero")
	errs = append(errs, topologyKey(c.TopologyKey, p.Child("topologyKey"))...)
	errs = append(errs, oneOf(p.Child("whenUnsatisfiable"), c.WhenUnsatisfiable, corev1.DoNotSchedule, corev1.ScheduleAnyway)...)
	if c.MinDomains != nil {
		errs = append(errs, positive(p.Child("minDomains"), *c.MinDomains)...)
		if c.WhenUnsatisfiable != corev1.DoNotSchedule {
			errs = append(errs, field.Invalid(p.Child("minDomains"), *c.MinDomains, "can only use minDomains if whenUnsatisfiable=DoNotSchedule"))
		}
	}
	for name, policy := range map[string]*corev1.NodeInclusionPolicy{"nodeAffinityPolicy": c.NodeAffinityPolicy, "nodeTaintsPolicy": c.NodeTaintsPolicy} {
		if policy != nil {
			errs = append(errs, oneOf(p.Child(name), *policy, corev1.NodeInclusionPolicyHonor, corev1.NodeInclusionPolicyIgnore)...)
		}
	}
	for i, k := range c.MatchLabelKeys {
		errs = append(errs, metav1validation.ValidateLabelName(k, p.Child("matchLabelKeys").Index(i))...)
	}
	return append(errs, labelSelector(c.LabelSelector, p.Child("labelSelector"))...)
}

func topologyKey(key string, p *field.Path) field.ErrorList {
	if key == "" {
		return field.ErrorList{field.Required(p, "can not be empty")}
	}
	return metav1validation.ValidateLabelName(key, p)
}

func labelSelector(s *metav1.LabelSelector, p *field.Path) field.ErrorList {
	return metav1validation.ValidateLabelSelector(s, metav1validation.LabelSelectorValidationOptions{}, p)
}

func validateNodeAffinity(a *corev1.NodeAffinity, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if r := a.RequiredDuringSchedulingIgnoredDuringExecution; r != nil {
		errs = append(errs, validateNodeTerms(r, p.Child("requiredDuringSchedulingIgnoredDuringExecution"))...)
	}
	for i, t := range a.PreferredDuringSchedulingIgnoredDuringExecution {
		at := p.Child("preferredDuringSchedulingIgnoredDuringExecution").Index(i)
		errs = append(errs, weight(t.Weight, at)...)
		errs = append(errs, validateNodeTerm(t.Preference, at.Child("preference"))...)
	}
	return errs
}

func weight(w int32, p *field.Path) field.ErrorList {
	if w < 1 || w > maxWeight {
		return field.ErrorList{field.Invalid(p.Child("weight"), w, "must be in the range 1-100")}
	}
	return nil
}

func validateNodeTerms(s *corev1.NodeSelector, p *field.Path) field.ErrorList {
	at := p.Child("nodeSelectorTerms")
	if len(s.NodeSelectorTerms) == 0 {
		return field.ErrorList{field.Required(at, "must have at least one node selector term")}
	}
	var errs field.ErrorList
	for i, t := range s.NodeSelectorTerms {
		errs = append(errs, validateNodeTerm(t, at.Index(i))...)
	}
	return errs
}

func validateNodeTerm(t corev1.NodeSelectorTerm, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, r := range t.MatchExpressions {
		at := p.Child("matchExpressions").Index(i)
		errs = append(errs, metav1validation.ValidateLabelName(r.Key, at.Child("key"))...)
		switch r.Operator {
		case corev1.NodeSelectorOpIn, corev1.NodeSelectorOpNotIn:
			if len(r.Values) == 0 {
				errs = append(errs, field.Required(at.Child("values"), "must be specified when `operator` is 'In' or 'NotIn'"))
			}
		case corev1.NodeSelectorOpExists, corev1.NodeSelectorOpDoesNotExist:
			if len(r.Values) > 0 {
				errs = append(errs, field.Forbidden(at.Child("values"), "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"))
			}
		case corev1.NodeSelectorOpGt, corev1.NodeSelectorOpLt:
			if len(r.Values) != 1 {
				errs = append(errs, field.Required(at.Child("values"), "must be specified single value when `operator` is 'Lt' or 'Gt'"))
			}
		default:
			errs = append(errs, field.NotSupported(at.Child("operator"), r.Operator, []corev1.NodeSelectorOperator{"In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"}))
		}
	}
	for i, r := range t.MatchFields {
		at := p.Child("matchFields").Index(i)
		if r.Key != nameOfNode {
			errs = append(errs, field.NotSupported(at.Child("key"), r.Key, []string{nameOfNode}))
		}
		errs = append(errs, oneOf(at.Child("operator"), r.Operator, corev1.NodeSelectorOpIn, corev1.NodeSelectorOpNotIn)...)
		if len(r.Values) != 1 {
			errs = append(errs, field.Required(at.Child("values"), "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"))
		}
	}
	return errs
}

func validatePodTerms(required []corev1.PodAffinityTerm, preferred []corev1.WeightedPodAffinityTerm, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range required {
		errs = append(errs, validatePodTerm(&required[i], p.Child("requiredDuringSchedulingIgnoredDuringExecution").Index(i))...)
	}
	for i := range preferred {
		at := p.Child("preferredDuringSchedulingIgnoredDuringExecution").Index(i)
		errs = append(errs, weight(preferred[i].Weight, at)...)
		errs = append(errs, validatePodTerm(&preferred[i].PodAffinityTerm, at.Child("podAffinityTerm"))...)
	}
	return errs
}

func validatePodTerm(t *corev1.PodAffinityTerm, p *field.Path) field.ErrorList {
	errs := topologyKey(t.TopologyKey, p.Child("topologyKey"))
	for i, ns := range t.Namespaces {
		errs = append(errs, invalid(p.Child("namespaces").Index(i), ns, validation.IsDNS1123Label(ns))...)
	}
	for _, k := range []struct {
		name string
		keys []string
	}{{"matchLabelKeys", t.MatchLabelKeys}, {"mismatchLabelKeys", t.MismatchLabelKeys}} {
		if len(k.keys) > 0 {
			errs = append(errs, field.Forbidden(p.Child(k.name), "is not supported: write the labels into labelSelector"))
		}
	}
	errs = append(errs, labelSelector(t.NamespaceSelector, p.Child("namespaceSelector"))...)
	return append(errs, labelSelector(t.LabelSelector, p.Child("labelSelector"))...)
}
