package autoscale

import (
	"math"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
)

// Step is something that happened to a target: a recommendation, or a change.
type Step struct {
	At time.Time
	// Replicas recommended, or by how many the target grew (shrank: negative).
	Replicas int32
}

// Limits is what a recommendation is held to.
type Limits struct {
	Min, Max int32
	// Behavior of the autoscaler; nil: Kubernetes' defaults.
	Behavior *autoscalingv2.HorizontalPodAutoscalerBehavior
	// Replicas that the target has.
	Replicas int32
	// Recommended and Changes are those of the last hour, oldest first.
	Recommended, Changes []Step
	Now                  time.Time
}

// Limited is what became of a recommendation.
type Limited struct {
	Replicas int32
	// Able and Held are reason and message of the conditions AbleToScale and ScalingLimited.
	Able, Held [2]string
	// IsHeld says that ScalingLimited is true.
	IsHeld bool
}

// Limit stabilizes a recommendation and holds it to the allowed rate and range.
func (l Limits) Limit(recommended int32) Limited {
	out := Limited{Able: [2]string{"ReadyForNewScale", "recommended size matches current size"}}
	stable := l.stabilize(recommended)
	switch {
	case stable == recommended:
	case recommended >= l.Replicas && l.Behavior != nil:
		out.Able = [2]string{"ScaleUpStabilized", "recent recommendations were lower than current one, applying the lowest recent recommendation"}
	default:
		out.Able = [2]string{"ScaleDownStabilized", "recent recommendations were higher than current one, applying the highest recent recommendation"}
	}
	out.Replicas, out.Held = l.hold(stable)
	out.IsHeld = out.Replicas != stable
	return out
}

// rules are those of one direction.
func (l Limits) rules(up bool) autoscalingv2.HPAScalingRules {
	most, none, five := autoscalingv2.MaxChangePolicySelect, int32(0), int32(300)
	percent := autoscalingv2.HPAScalingPolicy{Type: autoscalingv2.PercentScalingPolicy, Value: 100, PeriodSeconds: 15}
	out := autoscalingv2.HPAScalingRules{StabilizationWindowSeconds: &five, SelectPolicy: &most, Policies: []autoscalingv2.HPAScalingPolicy{percent}}
	if up {
		out.StabilizationWindowSeconds = &none
		out.Policies = append(out.Policies, autoscalingv2.HPAScalingPolicy{Type: autoscalingv2.PodsScalingPolicy, Value: 4, PeriodSeconds: 15})
	}
	var given *autoscalingv2.HPAScalingRules
	if l.Behavior != nil && up {
		given = l.Behavior.ScaleUp
	} else if l.Behavior != nil {
		given = l.Behavior.ScaleDown
	}
	if given == nil {
		return out
	}
	if given.StabilizationWindowSeconds != nil {
		out.StabilizationWindowSeconds = given.StabilizationWindowSeconds
	}
	if given.SelectPolicy != nil {
		out.SelectPolicy = given.SelectPolicy
	}
	if given.Policies != nil {
		out.Policies = given.Policies
	}
	return out
}

// stabilize keeps a target from growing above the lowest, and from shrinking below the
// highest recommendation of the window of either.
func (l Limits) stabilize(recommended int32) int32 {
	up, down := recommended, recommended
	for _, s := range l.Recommended {
		if s.At.After(l.Now.Add(-seconds(*l.rules(true).StabilizationWindowSeconds))) {
			up = min(up, s.Replicas)
		}
		if s.At.After(l.Now.Add(-seconds(*l.rules(false).StabilizationWindowSeconds))) {
			down = max(down, s.Replicas)
		}
	}
	if l.Behavior == nil {
		return down
	}
	return min(max(l.Replicas, up), down)
}

func seconds(n int32) time.Duration { return time.Duration(n) * time.Second }

// hold keeps a number in range, and its distance from what runs within what the policies allow.
func (l Limits) hold(n int32) (int32, [2]string) {
	switch {
	case n > l.Replicas:
		if most := max(l.allowed(true), l.Replicas); most < l.Max && n > most {
			return most, [2]string{"ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate"}
		}
	case n < l.Replicas:
		if least := min(l.allowed(false), l.Replicas); least > l.Min && n < least {
			return least, [2]string{"ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate"}
		}
	}
	switch {
	case n > l.Max:
		return l.Max, [2]string{"TooManyReplicas", "the desired replica count is more than the maximum replica count"}
	case n < l.Min:
		return l.Min, [2]string{"TooFewReplicas", "the desired replica count is less than the minimum replica count"}
	}
	return n, [2]string{"DesiredWithinRange", "the desired count is within the acceptable range"}
}

// allowed is how far the policies of a direction let a target go now, counted from where it
// was when each policy's period began.
func (l Limits) allowed(up bool) int32 {
	rules := l.rules(up)
	if *rules.SelectPolicy == autoscalingv2.DisabledPolicySelect {
		return l.Replicas
	}
	// The greatest change is the highest number when growing, the lowest when shrinking.
	highest := up == (*rules.SelectPolicy != autoscalingv2.MinChangePolicySelect)
	result := int32(math.MaxInt32)
	if highest {
		result = math.MinInt32
	}
	for _, p := range rules.Policies {
		from := l.Replicas
		for _, s := range l.Changes {
			if s.At.After(l.Now.Add(-seconds(p.PeriodSeconds))) {
				from -= s.Replicas
			}
		}
		n := float64(p.Value)
		switch {
		case p.Type == autoscalingv2.PercentScalingPolicy && up:
			n = math.Ceil(float64(from) * (1 + n/100))
		case p.Type == autoscalingv2.PercentScalingPolicy:
			n = math.Trunc(float64(from) * (1 - n/100))
		case up:
			n = float64(from) + n
		default:
			n = float64(from) - n
		}
		proposed := int32(max(min(n, math.MaxInt32), math.MinInt32))
		if highest {
			result = max(result, proposed)
		} else {
			result = min(result, proposed)
		}
	}
	return result
}
