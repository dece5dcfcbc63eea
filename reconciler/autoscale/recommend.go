package autoscale

import (
	"errors"
	"fmt"
	"math"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Kubernetes' defaults.
const (
	// period is how often an autoscaler looks.
	period = 15 * time.Second
	// starting is for how long after its start a pod's CPU may be that of its start.
	starting = 5 * time.Minute
	// firstReady is within which time after its start a pod that is not ready has never been.
	firstReady = 30 * time.Second
	// window is over which time usage is measured.
	window = 30 * time.Second
	// tolerance is by which share usage may be off its target without consequence.
	tolerance = 0.1
)

// Goal is what the pods of a target should use on average: a share of their requests, in
// percent, or an amount.
type Goal struct {
	Resource corev1.ResourceName
	// Container whose usage counts; empty: the whole pod's.
	Container string
	// Utilization in percent of requests; 0: Average holds.
	Utilization int32
	// Average per pod: thousandths of a core, or bytes.
	Average int64
}

// Sample is what there is of a target at one moment.
type Sample struct {
	Goal Goal
	// Replicas that the target asks for.
	Replicas int32
	Pods     []corev1.Pod
	// Usage by pod: thousandths of a core, or bytes. A pod that was not measured is missing.
	Usage map[string]int64
	// Up and Down are the tolerances.
	Up, Down float64
	Now      time.Time
}

// Recommendation is how many pods a goal asks for, and what they use now.
type Recommendation struct {
	Replicas int32
	// Average use per measured pod; Utilization in percent of the requests, where that is the goal.
	Average     int64
	Utilization int32
}

var errNothingMeasured = errors.New("did not receive metrics for targeted pods (pods might be unready)")

// Recommend says how many pods would bring the average to its goal. Pods that were not
// measured count against a change: as using nothing before the target grows, as using all
// that they request, or the goal, before it shrinks.
func Recommend(s Sample) (Recommendation, error) {
	var out Recommendation
	if len(s.Pods) == 0 {
		return out, errors.New("no pods returned by selector while calculating replica count")
	}
	ready, unready, missing := s.sort()
	if len(ready) == 0 {
		return out, errNothingMeasured
	}
	requests, err := s.requests()
	if err != nil {
		return out, err
	}
	usage := map[string]int64{}
	for _, name := range ready {
		usage[name] = s.Usage[name]
		out.Average += s.Usage[name]
	}
	out.Average /= int64(len(ready))
	ratio, percent := s.ratio(usage, requests)
	out.Utilization, out.Replicas = percent, s.Replicas
	within := func(r float64) bool { return 1-s.Down <= r && r <= 1+s.Up }

	growsUnready := len(unready) > 0 && ratio > 1
	if !growsUnready && len(missing) == 0 {
		if !within(ratio) {
			out.Replicas = int32(math.Ceil(ratio * float64(len(ready))))
		}
		return out, nil
	}
	for _, name := range missing {
		switch {
		case ratio < 1 && s.Goal.Utilization > 0:
			usage[name] = requests[name] * int64(max(100, s.Goal.Utilization)) / 100
		case ratio < 1:
			usage[name] = s.Goal.Average
		case ratio > 1:
			usage[name] = 0
		}
	}
	if growsUnready {
		for _, name := range unready {
			usage[name] = 0
		}
	}
	again, _ := s.ratio(usage, requests)
	if within(again) || ratio < 1 && again > 1 || ratio > 1 && again < 1 {
		return out, nil
	}
	n := int32(math.Ceil(again * float64(len(usage))))
	if again < 1 && n > s.Replicas || again > 1 && n < s.Replicas {
		return out, nil
	}
	out.Replicas = n
	return out, nil
}

// sort says which pods' measures count, which pods are not ready for that, and which were
// not measured. Those that leave or failed take no part.
func (s Sample) sort() (ready, unready, missing []string) {
	for i := range s.Pods {
		p := &s.Pods[i]
		switch _, measured := s.Usage[p.Name]; {
		case p.DeletionTimestamp != nil || p.Status.Phase == corev1.PodFailed || p.Status.Phase == corev1.PodSucceeded:
		case p.Status.Phase != corev1.PodRunning:
			unready = append(unready, p.Name)
		case !measured:
			missing = append(missing, p.Name)
		case s.Goal.Resource == corev1.ResourceCPU && s.warmsUp(p):
			unready = append(unready, p.Name)
		default:
			ready = append(ready, p.Name)
		}
	}
	return ready, unready, missing
}

// warmsUp says that a pod's CPU is not yet that of its work.
func (s Sample) warmsUp(p *corev1.Pod) bool {
	var c *corev1.PodCondition
	for i := range p.Status.Conditions {
		if p.Status.Conditions[i].Type == corev1.PodReady {
			c = &p.Status.Conditions[i]
		}
	}
	if c == nil || p.Status.StartTime == nil {
		return true
	}
	if p.Status.StartTime.Add(starting).After(s.Now) {
		return c.Status == corev1.ConditionFalse || s.Now.Before(c.LastTransitionTime.Add(window))
	}
	return c.Status == corev1.ConditionFalse && p.Status.StartTime.Add(firstReady).After(c.LastTransitionTime.Time)
}

// requests is what each pod requests; nothing where the goal is an amount.
func (s Sample) requests() (map[string]int64, error) {
	out := map[string]int64{}
	if s.Goal.Utilization == 0 {
		return out, nil
	}
	for i := range s.Pods {
		p := &s.Pods[i]
		found := false
		for _, c := range p.Spec.Containers {
			if s.Goal.Container != "" && c.Name != s.Goal.Container {
				continue
			}
			q, ok := c.Resources.Requests[s.Goal.Resource]
			if !ok {
				return nil, fmt.Errorf("missing request for %s in container %s of Pod %s", s.Goal.Resource, c.Name, p.Name)
			}
			found = true
			out[p.Name] += Amount(s.Goal.Resource, q)
		}
		if !found {
			return nil, fmt.Errorf("container %s not found in Pod %s", s.Goal.Container, p.Name)
		}
	}
	return out, nil
}

// ratio is usage over its goal, and usage in percent of requests.
func (s Sample) ratio(usage, requests map[string]int64) (float64, int32) {
	used, asked := int64(0), int64(0)
	for name, n := range usage {
		used += n
		asked += requests[name]
	}
	if s.Goal.Utilization == 0 {
		return float64(used) / float64(len(usage)) / float64(s.Goal.Average), 0
	}
	if asked == 0 {
		return 1, 0
	}
	percent := int32(used * 100 / asked)
	return float64(percent) / float64(s.Goal.Utilization), percent
}
