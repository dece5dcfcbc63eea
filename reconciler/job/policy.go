package job

import (
	"fmt"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
)

// verdict is what a podFailurePolicy says about a failed pod: Count where it says nothing. For
// FailJob, why says which rule it was.
func verdict(policy *batchv1.PodFailurePolicy, p *corev1.Pod) (action batchv1.PodFailurePolicyAction, why string) {
	if policy == nil {
		return batchv1.PodFailurePolicyActionCount, ""
	}
	for i, r := range policy.Rules {
		what := ""
		if r.OnExitCodes != nil {
			what = exitCode(r.OnExitCodes, p)
		} else {
			what = condition(r.OnPodConditions, p)
		}
		if what != "" {
			return r.Action, fmt.Sprintf("%s matching %s rule at index %d", what, r.Action, i)
		}
	}
	return batchv1.PodFailurePolicyActionCount, ""
}

func exitCode(want *batchv1.PodFailurePolicyOnExitCodesRequirement, p *corev1.Pod) string {
	for _, s := range append(slices.Clone(p.Status.InitContainerStatuses), p.Status.ContainerStatuses...) {
		t := s.State.Terminated
		if t == nil || t.ExitCode == 0 || want.ContainerName != nil && *want.ContainerName != s.Name {
			continue
		}
		in := slices.Contains(want.Values, t.ExitCode)
		if in == (want.Operator == batchv1.PodFailurePolicyOnExitCodesOpIn) {
			return fmt.Sprintf("Container %s for pod %s/%s failed with exit code %d", s.Name, p.Namespace, p.Name, t.ExitCode)
		}
	}
	return ""
}

func condition(want []batchv1.PodFailurePolicyOnPodConditionsPattern, p *corev1.Pod) string {
	for _, w := range want {
		for _, c := range p.Status.Conditions {
			if c.Type == w.Type && c.Status == w.Status {
				return fmt.Sprintf("Pod %s/%s has condition %s", p.Namespace, p.Name, c.Type)
			}
		}
	}
	return ""
}
