package node

import (
	"context"
	"errors"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/state/loop"
)

// disruptionTimeout is how long a pod counts as disrupted that was let go and is still there; it is
// Kubernetes'.
const disruptionTimeout = 2 * time.Minute

// budgets keeps the status of PodDisruptionBudgets.
type budgets struct {
	Deps
	mu        sync.Mutex
	selectors map[loop.Key]*policyv1.PodDisruptionBudget // guarded by mu
}

// Listed implements loop.Observer.
func (b *budgets) Listed(objects []client.Object, _ string) {
	b.mu.Lock()
	clear(b.selectors)
	b.mu.Unlock()
	for _, o := range objects {
		b.Saw(watch.Added, o)
	}
}

// Saw implements loop.Observer.
func (b *budgets) Saw(event watch.EventType, o client.Object) {
	budget, ok := o.(*policyv1.PodDisruptionBudget)
	if !ok {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if key := client.ObjectKeyFromObject(o); event == watch.Deleted {
		delete(b.selectors, key)
	} else {
		b.selectors[key] = budget
	}
}

// Lost implements loop.Observer.
func (b *budgets) Lost() {}

// concerns are the budgets that a pod belongs to.
func (b *budgets) concerns(o client.Object) []loop.Key {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []loop.Key
	for key, budget := range b.selectors {
		if key.Namespace == o.GetNamespace() && selectorOf(budget).Matches(labels.Set(o.GetLabels())) {
			out = append(out, key)
		}
	}
	return out
}

func (b *budgets) reconcile(ctx context.Context, key loop.Key) (loop.Result, error) {
	var budget policyv1.PodDisruptionBudget
	if err := b.Client.Get(ctx, key, &budget); err != nil {
		return loop.Result{}, client.IgnoreNotFound(err)
	}
	var list corev1.PodList
	if err := b.Client.List(ctx, &list, client.InNamespace(key.Namespace), client.MatchingLabelsSelector{Selector: selectorOf(&budget)}); err != nil {
		return loop.Result{}, err
	}
	expected, failure := b.expected(ctx, &budget, list.Items)
	if failure != nil && !errors.Is(failure, errNotScaled) {
		return loop.Result{}, failure
	}
	status, after := count(&budget, list.Items, expected, failure, b.Clock())
	if !equality.Semantic.DeepEqual(status, budget.Status) {
		budget.Status = status
		if err := b.Client.Status().Update(ctx, &budget); apierrors.IsConflict(err) {
			return loop.Result{After: again}, nil
		} else if client.IgnoreNotFound(err) != nil {
			return loop.Result{}, err
		}
	}
	return loop.Result{After: after}, nil
}

// expected is how many pods there should be: the pods, or where the budget counts from above or by a
// share, the replicas of their controllers.
func (b *budgets) expected(ctx context.Context, budget *policyv1.PodDisruptionBudget, pods []corev1.Pod) (int, error) {
	if m := budget.Spec.MinAvailable; budget.Spec.MaxUnavailable == nil && (m == nil || m.Type == intstr.Int) {
		return len(pods), nil
	}
	counted := map[types.UID]bool{}
	byOwner := map[types.UID]int{}
	sum := 0
	for i := range pods {
		owner := metav1.GetControllerOf(&pods[i])
		if owner == nil {
			continue // As in Kubernetes, pods without a controller do not count.
		}
		if _, known := byOwner[owner.UID]; known {
			continue
		}
		top, replicas, err := b.scale(ctx, pods[i].Namespace, owner)
		if err != nil {
			return 0, err
		}
		byOwner[owner.UID] = replicas
		if !counted[top] {
			counted[top] = true
			sum += replicas
		}
	}
	return sum, nil
}

// errNotScaled is why a budget cannot be counted, until its pods or it change; what else goes wrong may pass.
var errNotScaled = errors.New("the pods' controller has no number of replicas: use a minAvailable that is a number")

// scale follows a controller to the one at the top that has replicas: of a ReplicationController to its
// DeploymentConfig, of a ReplicaSet to its Deployment.
func (b *budgets) scale(ctx context.Context, namespace string, owner *metav1.OwnerReference) (top types.UID, replicas int, err error) {
	found := false
	for owner != nil {
		o := &unstructured.Unstructured{}
		o.SetAPIVersion(owner.APIVersion)
		o.SetKind(owner.Kind)
		if err := b.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: owner.Name}, o); err != nil {
			if apierrors.IsNotFound(err) || meta.IsNoMatchError(err) || runtime.IsNotRegisteredError(err) {
				break
			}
			return "", 0, err
		}
		n, has, err := unstructured.NestedInt64(o.Object, "spec", "replicas")
		if err != nil || !has {
			break
		}
		top, replicas, found = o.GetUID(), int(n), true
		owner = metav1.GetControllerOf(o)
	}
	if !found {
		return "", 0, errNotScaled
	}
	return top, replicas, nil
}

// count is a budget's status by its pods. failure is why it could not be told how many there should be.
func count(budget *policyv1.PodDisruptionBudget, pods []corev1.Pod, expected int, failure error, now time.Time) (policyv1.PodDisruptionBudgetStatus, time.Duration) {
	status := *budget.Status.DeepCopy()
	status.ObservedGeneration = budget.Generation
	status.DisruptedPods, status.CurrentHealthy = nil, 0
	var after time.Duration
	for i := range pods {
		p := &pods[i]
		if ended(p) || p.DeletionTimestamp != nil {
			continue
		}
		if at, disrupted := budget.Status.DisruptedPods[p.Name]; disrupted {
			if left := at.Add(disruptionTimeout).Sub(now); left > 0 {
				if status.DisruptedPods == nil {
					status.DisruptedPods = map[string]metav1.Time{}
				}
				status.DisruptedPods[p.Name] = at
				if after == 0 || left < after {
					after = left
				}
				continue
			}
		}
		if isReady(p) {
			status.CurrentHealthy++
		}
	}
	status.ExpectedPods = int32(expected)
	if failure == nil {
		status.DesiredHealthy, failure = desired(budget, expected)
	}
	status.DisruptionsAllowed = max(status.CurrentHealthy-status.DesiredHealthy, 0)
	condition := metav1.Condition{Type: policyv1.DisruptionAllowedCondition, Status: metav1.ConditionTrue, Reason: policyv1.SufficientPodsReason, ObservedGeneration: budget.Generation}
	switch {
	case failure != nil:
		status.DisruptionsAllowed = 0
		condition.Status, condition.Reason, condition.Message = metav1.ConditionFalse, policyv1.SyncFailedReason, failure.Error()
	case status.DisruptionsAllowed == 0 || expected == 0:
		status.DisruptionsAllowed = 0
		condition.Status, condition.Reason = metav1.ConditionFalse, policyv1.InsufficientPodsReason
	}
	meta.SetStatusCondition(&status.Conditions, stamped(condition, now))
	return status, after
}

// desired is how many pods must stay healthy. Shares are rounded up, as in Kubernetes.
func desired(budget *policyv1.PodDisruptionBudget, expected int) (int32, error) {
	s := budget.Spec
	switch {
	case s.MaxUnavailable != nil:
		n, err := intstr.GetScaledValueFromIntOrPercent(s.MaxUnavailable, expected, true)
		return int32(max(expected-n, 0)), err
	case s.MinAvailable != nil:
		n, err := intstr.GetScaledValueFromIntOrPercent(s.MinAvailable, expected, true)
		return int32(n), err
	}
	return 0, nil
}
