package api

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	projectv1 "github.com/openshift/api/project/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"
)

// The ConfigMap of project slipway that configures the scheduler, and its keys.
const (
	// SchedulerConfig is the ConfigMap's name.
	SchedulerConfig = "scheduler"
	// SchedulerPolicyKey holds a Policy, as JSON or YAML, in the form of OpenShift 3.
	SchedulerPolicyKey = "policy.cfg"
	// DefaultNodeSelectorKey holds the node selector of pods whose project has none, such as
	// region=primary,type=user.
	DefaultNodeSelectorKey = "defaultNodeSelector"
	// ProjectNodeSelector is a Project's annotation with the node selector of its pods. An
	// empty one frees them from the cluster's default.
	ProjectNodeSelector = "openshift.io/node-selector"
)

// SchedulerPolicy says which predicates a node must meet and how nodes are scored, as the file
// scheduler.json of OpenShift 3 and Kubernetes does. Nil lists stand for the defaults.
type SchedulerPolicy struct {
	Kind       string            `json:"kind,omitempty"`
	APIVersion string            `json:"apiVersion,omitempty"`
	Predicates []PredicatePolicy `json:"predicates"`
	Priorities []PriorityPolicy  `json:"priorities"`
	// HardPodAffinitySymmetricWeight is what the required affinity of a running pod counts for
	// its neighbours, from 0 to 100; default 1.
	HardPodAffinitySymmetricWeight *int32 `json:"hardPodAffinitySymmetricWeight,omitempty"`
	// AlwaysCheckAllPredicates counts every reason for which a node cannot run a pod; otherwise the
	// first is enough.
	AlwaysCheckAllPredicates bool `json:"alwaysCheckAllPredicates,omitempty"`
}

// PredicatePolicy is one predicate. With an argument the name is free.
type PredicatePolicy struct {
	Name     string             `json:"name"`
	Argument *PredicateArgument `json:"argument,omitempty"`
}

// PredicateArgument makes a predicate of labels; exactly one is set.
type PredicateArgument struct {
	// ServiceAffinity: pods of one service run on nodes with equal values of these labels.
	ServiceAffinity *LabelsArgument `json:"serviceAffinity,omitempty"`
	// LabelsPresence: nodes have all of these labels, or none.
	LabelsPresence *LabelsPresenceArgument `json:"labelsPresence,omitempty"`
}

// LabelsArgument names labels of nodes.
type LabelsArgument struct {
	Labels []string `json:"labels"`
}

// LabelsPresenceArgument names labels of nodes that must or must not be there.
type LabelsPresenceArgument struct {
	Labels   []string `json:"labels"`
	Presence bool     `json:"presence"`
}

// PriorityPolicy is one priority and its weight, above 0. With an argument the name is free.
type PriorityPolicy struct {
	Name     string            `json:"name"`
	Weight   int64             `json:"weight"`
	Argument *PriorityArgument `json:"argument,omitempty"`
}

// PriorityArgument makes a priority of a label; exactly one is set.
type PriorityArgument struct {
	// ServiceAntiAffinity spreads the pods of one service over the label's values.
	ServiceAntiAffinity *LabelArgument `json:"serviceAntiAffinity,omitempty"`
	// LabelPreference prefers nodes that have the label, or that have it not.
	LabelPreference *LabelPreferenceArgument `json:"labelPreference,omitempty"`
}

// LabelArgument names a label of nodes.
type LabelArgument struct {
	Label string `json:"label"`
}

// LabelPreferenceArgument names a label of nodes that is preferred, or not.
type LabelPreferenceArgument struct {
	Label    string `json:"label"`
	Presence bool   `json:"presence"`
}

// DefaultPredicates are checked where a policy names none; the last three are checked whatever
// a policy says.
var DefaultPredicates = []string{
	"GeneralPredicates", "NoDiskConflict", "NoVolumeZoneConflict", "CheckVolumeBinding", "MatchInterPodAffinity", "EvenPodsSpread",
	"CheckNodeMemoryPressure", "CheckNodeDiskPressure", "CheckNodePIDPressure", "CheckNodeCondition", "CheckNodeUnschedulable", "PodToleratesNodeTaints",
}

// predicateNames are those without an argument. What limits volumes of clouds never refuses a node:
// no such volume can be declared.
var predicateNames = append([]string{
	"PodFitsPorts", "PodFitsHostPorts", "PodFitsResources", "MatchNodeSelector", "HostName", "NoVolumeNodeConflict",
	"MaxEBSVolumeCount", "MaxGCEPDVolumeCount", "MaxAzureDiskVolumeCount", "MaxCSIVolumeCountPred", "MaxCinderVolumeCount",
}, DefaultPredicates...)

// DefaultPriorities are scored with these weights where a policy names none.
var DefaultPriorities = []PriorityPolicy{
	{Name: "SelectorSpreadPriority", Weight: 1}, {Name: "InterPodAffinityPriority", Weight: 1}, {Name: "LeastRequestedPriority", Weight: 1},
	{Name: "BalancedResourceAllocation", Weight: 1}, {Name: "NodeAffinityPriority", Weight: 1}, {Name: "TaintTolerationPriority", Weight: 1},
	{Name: "EvenPodsSpreadPriority", Weight: 2}, {Name: "ImageLocalityPriority", Weight: 1},
}

var priorityNames = []string{
	"SelectorSpreadPriority", "ServiceSpreadingPriority", "InterPodAffinityPriority", "LeastRequestedPriority", "MostRequestedPriority",
	"BalancedResourceAllocation", "NodeAffinityPriority", "TaintTolerationPriority", "EvenPodsSpreadPriority", "ImageLocalityPriority",
	"EqualPriority", "NodePreferAvoidPodsPriority",
}

const maxPriorityWeight = 1_000_000

// ReadSchedulerPolicy reads a policy, JSON or YAML. The errors name fields below at.
func ReadSchedulerPolicy(text string, at *field.Path) (*SchedulerPolicy, field.ErrorList) {
	p := &SchedulerPolicy{}
	if err := yaml.UnmarshalStrict([]byte(text), p); err != nil {
		return nil, field.ErrorList{field.Invalid(at, "", "is not a Policy: "+err.Error())}
	}
	var errs field.ErrorList
	if p.Kind != "Policy" || p.APIVersion != "v1" {
		errs = append(errs, field.Invalid(at, p.Kind, "must be of kind Policy and apiVersion v1"))
	}
	names := map[string]bool{}
	for i, x := range p.Predicates {
		errs = append(errs, readPredicate(x, names, at.Child("predicates").Index(i))...)
	}
	clear(names)
	for i, x := range p.Priorities {
		errs = append(errs, readPriority(x, names, at.Child("priorities").Index(i))...)
	}
	if w := p.HardPodAffinitySymmetricWeight; w != nil && (*w < 0 || *w > maxWeight) {
		errs = append(errs, field.Invalid(at.Child("hardPodAffinitySymmetricWeight"), *w, "must be in the range 0-100"))
	}
	if len(errs) > 0 {
		return nil, errs
	}
	return p, nil
}

func once(name string, seen map[string]bool, at *field.Path) field.ErrorList {
	if seen[name] {
		return field.ErrorList{field.Duplicate(at.Child("name"), name)}
	}
	seen[name] = true
	return nil
}

func readPredicate(x PredicatePolicy, seen map[string]bool, at *field.Path) field.ErrorList {
	errs := once(x.Name, seen, at)
	switch a := x.Argument; {
	case a == nil && !slices.Contains(predicateNames, x.Name):
		errs = append(errs, field.NotSupported(at.Child("name"), x.Name, predicateNames))
	case a == nil:
	case (a.ServiceAffinity == nil) == (a.LabelsPresence == nil):
		errs = append(errs, field.Required(at.Child("argument"), "exactly one of serviceAffinity and labelsPresence"))
	case a.ServiceAffinity != nil && len(a.ServiceAffinity.Labels) == 0, a.LabelsPresence != nil && len(a.LabelsPresence.Labels) == 0:
		errs = append(errs, field.Required(at.Child("argument"), "labels"))
	}
	return errs
}

func readPriority(x PriorityPolicy, seen map[string]bool, at *field.Path) field.ErrorList {
	errs := once(x.Name, seen, at)
	if x.Weight < 1 || x.Weight > maxPriorityWeight {
		errs = append(errs, field.Invalid(at.Child("weight"), x.Weight, fmt.Sprintf("must be in the range 1-%d", maxPriorityWeight)))
	}
	switch a := x.Argument; {
	case a == nil && !slices.Contains(priorityNames, x.Name):
		errs = append(errs, field.NotSupported(at.Child("name"), x.Name, priorityNames))
	case a == nil:
	case (a.ServiceAntiAffinity == nil) == (a.LabelPreference == nil):
		errs = append(errs, field.Required(at.Child("argument"), "exactly one of serviceAntiAffinity and labelPreference"))
	case a.ServiceAntiAffinity != nil && a.ServiceAntiAffinity.Label == "", a.LabelPreference != nil && a.LabelPreference.Label == "":
		errs = append(errs, field.Required(at.Child("argument"), "label"))
	}
	return errs
}

// ReadNodeSelector reads a selector such as region=primary,type=user.
func ReadNodeSelector(text string) (map[string]string, error) {
	set, err := labels.ConvertSelectorToLabelsMap(strings.TrimSpace(text))
	if err != nil {
		return nil, fmt.Errorf("%q is not a node selector, such as region=primary,type=user: %w", text, err)
	}
	return set, nil
}

// ProjectSelector is the node selector that a project's pods have beside their own: that of the
// project's annotation, even if it is empty, or else the cluster's. project and config, the scheduler's, are
// nil where there is none.
func ProjectSelector(project *projectv1.Project, config *corev1.ConfigMap) (map[string]string, error) {
	if project != nil {
		if text, ok := project.Annotations[ProjectNodeSelector]; ok {
			return ReadNodeSelector(text)
		}
	}
	if config == nil {
		return nil, nil
	}
	return ReadNodeSelector(config.Data[DefaultNodeSelectorKey])
}

// MergeNodeSelectors is what a pod's own selector and that of its project, or of the cluster, ask
// for together. Where they want different values of a label the pod fits nowhere, and the error says so.
func MergeNodeSelectors(pod, project map[string]string) (map[string]string, error) {
	if len(project) == 0 {
		return pod, nil
	}
	out := maps.Clone(project)
	for _, k := range slices.Sorted(maps.Keys(pod)) {
		if want, ok := project[k]; ok && want != pod[k] {
			return nil, fmt.Errorf("pod node label selector conflicts with its project node label selector: %s is %q and %q", k, pod[k], want)
		}
		out[k] = pod[k]
	}
	return out, nil
}

// validateSchedulerConfig checks the scheduler's ConfigMap.
func validateSchedulerConfig(c *corev1.ConfigMap) field.ErrorList {
	if c.Name != SchedulerConfig || c.Namespace != SystemProject {
		return nil
	}
	var errs field.ErrorList
	for _, k := range slices.Sorted(maps.Keys(c.Data)) {
		at := field.NewPath("data").Key(k)
		switch k {
		case SchedulerPolicyKey:
			_, found := ReadSchedulerPolicy(c.Data[k], at)
			errs = append(errs, found...)
		case DefaultNodeSelectorKey:
			if _, err := ReadNodeSelector(c.Data[k]); err != nil {
				errs = append(errs, field.Invalid(at, c.Data[k], err.Error()))
			}
		default:
			errs = append(errs, field.NotSupported(at, k, []string{SchedulerPolicyKey, DefaultNodeSelectorKey}))
		}
	}
	return errs
}
