package schedule

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
)

// policy is a policy file, ready to be asked.
type policy struct {
	predicates []predicate
	priorities []priority
	// all: every predicate is asked about a node, also after one that refuses it.
	all bool
	// hardWeight is what a required affinity of a pod on a node counts for its neighbours.
	hardWeight int64
	// serviceLabels are all labels of serviceAffinity predicates.
	serviceLabels []string
}

// compile makes a policy of a file; nil: of the defaults.
func compile(file *api.SchedulerPolicy) *policy {
	if file == nil {
		file = &api.SchedulerPolicy{}
	}
	p := &policy{hardWeight: 1, all: file.AlwaysCheckAllPredicates}
	if w := file.HardPodAffinitySymmetricWeight; w != nil {
		p.hardWeight = int64(*w)
	}
	names := slices.Clone(mandatory)
	var own []predicate
	if file.Predicates == nil {
		for _, name := range api.DefaultPredicates {
			names = append(names, members(name)...)
		}
	}
	for _, x := range file.Predicates {
		switch a := x.Argument; {
		case a == nil:
			names = append(names, members(x.Name)...)
		case a.ServiceAffinity != nil:
			own = append(own, serviceAffinity(x.Name, a.ServiceAffinity.Labels))
			p.serviceLabels = append(p.serviceLabels, a.ServiceAffinity.Labels...)
		case a.LabelsPresence != nil:
			own = append(own, labelsPresence(x.Name, a.LabelsPresence))
		}
	}
	for _, one := range predicates {
		if slices.Contains(names, one.name) {
			p.predicates = append(p.predicates, one)
		}
	}
	p.predicates = append(p.predicates, own...)
	wanted := file.Priorities
	if wanted == nil {
		wanted = api.DefaultPriorities
	}
	for _, x := range wanted {
		one := priority{name: x.Name, weight: x.Weight, score: priorities[x.Name]}
		switch a := x.Argument; {
		case a == nil:
		case a.ServiceAntiAffinity != nil:
			one.score = serviceAntiAffinity(a.ServiceAntiAffinity.Label)
		case a.LabelPreference != nil:
			one.score = labelPreference(a.LabelPreference)
		}
		if one.score != nil {
			p.priorities = append(p.priorities, one)
		}
	}
	return p
}

func members(name string) []string {
	if group, ok := groups[name]; ok {
		return group
	}
	return []string{name}
}

// configure takes over what the scheduler's ConfigMap says; nil: there is none. What cannot be read
// leaves what was in force: the validation lets it through only where it was written before.
func (w *world) configure(c *corev1.ConfigMap) {
	var file *api.SchedulerPolicy
	if c != nil {
		if text, ok := c.Data[api.SchedulerPolicyKey]; ok {
			var errs field.ErrorList
			if file, errs = api.ReadSchedulerPolicy(text, field.NewPath("data").Key(api.SchedulerPolicyKey)); len(errs) > 0 {
				return
			}
		}
		if _, err := api.ProjectSelector(nil, c); err != nil {
			return
		}
	}
	w.config, w.policy = c, compile(file)
	w.queue.wake(whyAny)
}

func (w *world) sawConfig(event watch.EventType, o client.Object) {
	c, ok := o.(*corev1.ConfigMap)
	if !ok || c.Namespace != api.SystemProject || c.Name != api.SchedulerConfig {
		return
	}
	if event == watch.Deleted {
		c = nil
	}
	w.configure(c)
}
