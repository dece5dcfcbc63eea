package runtime

import (
	"context"
	"fmt"

	projectv1 "github.com/openshift/api/project/v1"
	securityv1 "github.com/openshift/api/security/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/constraints"
	"slipway.dev/slipway/state/loop"
)

// allowed holds a pod that asks for more than every pod may have against the SecurityContextConstraints that it was
// admitted by, whenever something of it is made: however it came to this node, and whatever has become of them. Who may
// use them was decided when the pod was made.
func (a *Agent) allowed(ctx context.Context, pod *corev1.Pod) error {
	reaches := constraints.Reaches(pod)
	if len(reaches) == 0 {
		return nil
	}
	name := pod.Annotations[api.ConstraintsAnnotation]
	if name == "" {
		return fmt.Errorf("pod %s/%s was admitted by no SecurityContextConstraints: %w", pod.Namespace, pod.Name, reaches.ToAggregate())
	}
	declared := &securityv1.SecurityContextConstraints{}
	err := a.Client.Get(ctx, client.ObjectKey{Name: name}, declared)
	switch {
	case apierrors.IsNotFound(err):
		declared = nil
	case err != nil:
		return fmt.Errorf("read SecurityContextConstraints %s: %w", name, err)
	}
	c, known := constraints.Named(name, declared)
	if !known {
		return fmt.Errorf("pod %s/%s was admitted by SecurityContextConstraints %s, which are gone: %w", pod.Namespace, pod.Name, name, reaches.ToAggregate())
	}
	var project projectv1.Project
	if err := a.Client.Get(ctx, client.ObjectKey{Name: pod.Namespace}, &project); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("read project %s: %w", pod.Namespace, err)
	}
	if _, errs := constraints.Apply(&c, pod, project.Annotations); len(errs) > 0 {
		return fmt.Errorf("pod %s/%s is not what SecurityContextConstraints %s allow: %w", pod.Namespace, pod.Name, name, errs.ToAggregate())
	}
	return nil
}

// refuse notes that nothing of a pod may be made, and looks again when its constraints may have changed.
func (a *Agent) refuse(key loop.Key, pod *corev1.Pod, why error) {
	a.say(pod, corev1.EventTypeWarning, "Failed", "Error: %v", why)
	a.Log.Warn("refuse pod", "pod", key.String(), "error", why)
	a.remember(pod.UID, func(m *memory) {
		m.failures[string(Sandbox)] = Failure{Reason: "CreateContainerConfigError", Message: why.Error(), Retry: a.Clock().Add(failureDelay)}
	})
}
