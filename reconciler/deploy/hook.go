package deploy

import (
	"fmt"
	"slices"
	"time"

	appsv1 "github.com/openshift/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// hook says what the hook of a moment needs, and whether it is over.
func (r Rollout) hook(at Moment, h *appsv1.LifecycleHook) (m Move, over bool) {
	if h == nil || !r.hookOver(at).IsZero() {
		return Move{}, true
	}
	switch pod, made := r.Hooks[at]; {
	case !made || h.ExecNewPod == nil:
		return Move{Hook: h, Moment: at}, false
	case pod.Phase == corev1.PodSucceeded:
		return Move{Moment: at, Over: true}, false
	case pod.Phase != corev1.PodFailed:
		return Move{After: r.left()}, false
	default:
		return failedHook(at, h, pod.Message), false
	}
}

// failedHook follows the hook's failure policy.
func failedHook(at Moment, h *appsv1.LifecycleHook, why string) Move {
	switch h.FailurePolicy {
	case appsv1.LifecycleHookFailurePolicyIgnore:
		return Move{Moment: at, Over: true, Ignored: why}
	case appsv1.LifecycleHookFailurePolicyRetry:
		return Move{Hook: h, Moment: at, Retry: true}
	}
	return fail("the %s hook failed: %s", at, why)
}

// HookPod makes the pod of an execNewPod hook: image, working directory, resources and
// environment of the named container, the hook's own environment winning; of the
// volumes only those that the hook lists.
func HookPod(rc *corev1.ReplicationController, strategy appsv1.DeploymentStrategy, at Moment, h *appsv1.LifecycleHook, left time.Duration) (*corev1.Pod, error) {
	spec := rc.Spec.Template.Spec
	exec := h.ExecNewPod
	i := slices.IndexFunc(spec.Containers, func(c corev1.Container) bool { return c.Name == exec.ContainerName })
	if i < 0 {
		return nil, fmt.Errorf("replicationcontroller %s/%s: %s hook: execNewPod.containerName: no container is named %q", rc.Namespace, rc.Name, at, exec.ContainerName)
	}
	base := spec.Containers[i].DeepCopy()
	var volumes []corev1.Volume
	for _, v := range spec.Volumes {
		if slices.Contains(exec.Volumes, v.Name) {
			volumes = append(volumes, *v.DeepCopy())
		}
	}
	mounts := slices.DeleteFunc(base.VolumeMounts, func(m corev1.VolumeMount) bool { return !slices.Contains(exec.Volumes, m.Name) })
	pod := taskPod(rc, strategy, HookPodName(rc.Name, at), "hook-"+string(at), left)
	pod.Spec.Containers = []corev1.Container{{
		Name: "lifecycle", Image: base.Image, ImagePullPolicy: base.ImagePullPolicy,
		Command: exec.Command, WorkingDir: base.WorkingDir,
		Env: append(overlaid(base.Env, exec.Env), identity(rc)...), EnvFrom: base.EnvFrom,
		Resources: base.Resources, VolumeMounts: mounts, SecurityContext: base.SecurityContext,
	}}
	if h.FailurePolicy == appsv1.LifecycleHookFailurePolicyRetry {
		pod.Spec.RestartPolicy = corev1.RestartPolicyOnFailure
	}
	pod.Spec.Volumes = volumes
	pod.Spec.NodeSelector, pod.Spec.Tolerations = spec.NodeSelector, spec.Tolerations
	pod.Spec.ImagePullSecrets = spec.ImagePullSecrets
	pod.Spec.SecurityContext = spec.SecurityContext
	pod.Spec.ServiceAccountName = spec.ServiceAccountName
	return pod, nil
}

// DeployerPod makes the pod of a Custom strategy.
func DeployerPod(rc *corev1.ReplicationController, strategy appsv1.DeploymentStrategy) (*corev1.Pod, error) {
	p := strategy.CustomParams
	if p == nil || p.Image == "" {
		return nil, fmt.Errorf("replicationcontroller %s/%s: strategy.customParams.image: is missing", rc.Namespace, rc.Name)
	}
	pod := taskPod(rc, strategy, DeployerPodName(rc.Name), "deploy", seconds(strategy.ActiveDeadlineSeconds, defaultDeadline))
	pod.Spec.ServiceAccountName = "deployer"
	pod.Spec.Containers = []corev1.Container{{
		Name: "deployment", Image: p.Image, Command: p.Command, Resources: strategy.Resources,
		Env: append(slices.Clone(p.Environment), identity(rc)...),
	}}
	return pod, nil
}

// taskPod is what hook and deployer pods have in common: they belong to the version,
// but its selector does not see them, and no service either.
func taskPod(rc *corev1.ReplicationController, strategy appsv1.DeploymentStrategy, name, kind string, left time.Duration) *corev1.Pod {
	deadline, grace := max(int64(left/time.Second), 1), int64(10)
	yes := true
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: rc.Namespace, Name: name,
			Labels: merged(strategy.Labels, map[string]string{
				labelPodType: kind, appsv1.DeployerPodForDeploymentLabel: rc.Name,
			}),
			Annotations: merged(strategy.Annotations, map[string]string{
				appsv1.DeploymentAnnotation:       rc.Name,
				appsv1.DeploymentConfigAnnotation: rc.Annotations[appsv1.DeploymentConfigAnnotation],
			}),
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "v1", Kind: "ReplicationController", Name: rc.Name, UID: rc.UID, BlockOwnerDeletion: &yes,
			}},
		},
		Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever, ActiveDeadlineSeconds: &deadline,
			TerminationGracePeriodSeconds: &grace,
		},
	}
}

func identity(rc *corev1.ReplicationController) []corev1.EnvVar {
	return []corev1.EnvVar{
		{Name: "OPENSHIFT_DEPLOYMENT_NAME", Value: rc.Name},
		{Name: "OPENSHIFT_DEPLOYMENT_NAMESPACE", Value: rc.Namespace},
	}
}

// overlaid is the first environment with the second's variables in place of equal names.
func overlaid(base, over []corev1.EnvVar) []corev1.EnvVar {
	env := slices.Clone(base)
	for _, v := range over {
		if i := slices.IndexFunc(env, func(o corev1.EnvVar) bool { return o.Name == v.Name }); i >= 0 {
			env[i] = v
		} else {
			env = append(env, v)
		}
	}
	return env
}
