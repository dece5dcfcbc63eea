package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// errKept is why a budget does not let a pod go now.
type errKept struct{ budget, why string }

func (e errKept) Error() string {
	return fmt.Sprintf("is kept by PodDisruptionBudget %s: %s", e.budget, e.why)
}

// Evict deletes a pod as Kubernetes' eviction does: if its PodDisruptionBudget allows, of which one
// disruption is taken first, by a write on the condition that nobody else took it.
func (c *controller) evict(ctx context.Context, p *corev1.Pod) error {
	budget, err := c.budgetOf(ctx, p)
	if err != nil {
		return err
	}
	if budget != nil && !ended(p) && p.Status.Phase != corev1.PodPending && !spared(budget, p) {
		if err := c.take(ctx, budget, p.Name); err != nil {
			return err
		}
	}
	return c.remove(ctx, p, nil)
}

// remove deletes a pod, unless another one has its name by now.
func (c *controller) remove(ctx context.Context, p *corev1.Pod, grace *int64) error {
	err := c.Client.Delete(ctx, p, &client.DeleteOptions{GracePeriodSeconds: grace, Preconditions: &metav1.Preconditions{UID: &p.UID}})
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// budgetOf is the budget that a pod belongs to; nil: none. More than one is an error, as in Kubernetes.
func (c *controller) budgetOf(ctx context.Context, p *corev1.Pod) (*policyv1.PodDisruptionBudget, error) {
	var list policyv1.PodDisruptionBudgetList
	if err := c.Client.List(ctx, &list, client.InNamespace(p.Namespace)); err != nil {
		return nil, err
	}
	var found *policyv1.PodDisruptionBudget
	for i := range list.Items {
		b := &list.Items[i]
		if !selectorOf(b).Matches(labels.Set(p.Labels)) {
			continue
		}
		if found != nil {
			return nil, errKept{found.Name + " and " + b.Name, "a pod must not have more than one"}
		}
		found = b
	}
	return found, nil
}

func selectorOf(b *policyv1.PodDisruptionBudget) labels.Selector {
	s, err := metav1.LabelSelectorAsSelector(b.Spec.Selector)
	if err != nil {
		return labels.Nothing()
	}
	return s
}

// spared: a pod that is not ready may go without being counted, where the budget's policy says so.
func spared(b *policyv1.PodDisruptionBudget, p *corev1.Pod) bool {
	if isReady(p) {
		return false
	}
	if u := b.Spec.UnhealthyPodEvictionPolicy; u != nil && *u == policyv1.AlwaysAllow {
		return true
	}
	return b.Status.DesiredHealthy > 0 && b.Status.CurrentHealthy >= b.Status.DesiredHealthy
}

// take counts one disruption.
func (c *controller) take(ctx context.Context, b *policyv1.PodDisruptionBudget, pod string) error {
	s := &b.Status
	switch _, already := s.DisruptedPods[pod]; {
	case s.ObservedGeneration < b.Generation:
		return errKept{b.Name, "it has changed, and its pods have not been counted since"}
	case already:
		// Taken by a look that did not come to delete the pod.
		return nil
	case s.DisruptionsAllowed < 1:
		return errKept{b.Name, fmt.Sprintf("%d of its pods are healthy, and %d have to be", s.CurrentHealthy, s.DesiredHealthy)}
	}
	s.DisruptionsAllowed--
	if s.DisruptedPods == nil {
		s.DisruptedPods = map[string]metav1.Time{}
	}
	s.DisruptedPods[pod] = metav1.NewTime(c.Clock()).Rfc3339Copy()
	return c.Client.Status().Update(ctx, b)
}

// waits tells what only takes its time from what failed.
func waits(err error) bool {
	var kept errKept
	return errors.As(err, &kept) || apierrors.IsConflict(err)
}

// drainEvery is how long a drain waits for a budget before it tries again, if nothing else wakes it.
const drainEvery = 5 * time.Second
