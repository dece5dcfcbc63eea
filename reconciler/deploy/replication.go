package deploy

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/rand"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/state/loop"
)

const (
	// burst bounds the pods made or deleted in one pass.
	burst = 100
	// keptOver is how many pods that are over stay, so that their logs can be read.
	keptOver = 3
)

// Replicas is what a ReplicationController's state asks for.
type Replicas struct {
	// Create is how many pods to make.
	Create int
	// Delete lists pods to delete.
	Delete []*corev1.Pod
	// After says when time alone may change the answer.
	After time.Duration
}

// DecideReplicas compares a ReplicationController with its pods. Pods that are over
// are replaced; where several were over in a row, ever later, so that a pod that
// cannot live does not eat the machine.
func DecideReplicas(rc *corev1.ReplicationController, pods []*corev1.Pod, now time.Time) Replicas {
	var alive, dead []*corev1.Pod
	for _, p := range pods {
		switch {
		case live(p):
			alive = append(alive, p)
		case over(p) && !leaving(p):
			dead = append(dead, p)
		}
	}
	slices.SortFunc(dead, func(a, b *corev1.Pod) int { return b.CreationTimestamp.Compare(a.CreationTimestamp.Time) })
	var r Replicas
	keep := keptOver
	if replicas(rc) == 0 {
		keep = 0
	}
	r.Delete = append(r.Delete, dead[min(keep, len(dead)):]...)

	switch diff := int(replicas(rc)) - len(alive); {
	case diff > 0:
		if n := min(len(dead), keptOver); n > 1 {
			pause := time.Second << (2 * (n - 1))
			if left := dead[0].CreationTimestamp.Add(pause).Sub(now); left > 0 {
				r.After = left
				return r
			}
		}
		r.Create = min(diff, burst)
	case diff < 0:
		byWorth(alive)
		r.Delete = append(r.Delete, alive[:min(-diff, burst)]...)
	}
	return r
}

// ReplicasStatus computes a ReplicationController's status; conditions are kept.
func ReplicasStatus(rc *corev1.ReplicationController, pods []*corev1.Pod, now time.Time) (corev1.ReplicationControllerStatus, time.Duration) {
	s := *rc.Status.DeepCopy()
	n := CountPods(pods, rc.Spec.MinReadySeconds, now)
	s.Replicas, s.AvailableReplicas, s.ObservedGeneration = n.Live, n.Available, rc.Generation
	s.ReadyReplicas, s.FullyLabeledReplicas = 0, 0
	template := labels.Set{}
	if rc.Spec.Template != nil {
		template = rc.Spec.Template.Labels
	}
	for _, p := range pods {
		if !live(p) {
			continue
		}
		if _, ready := readySince(p); ready {
			s.ReadyReplicas++
		}
		if labels.SelectorFromSet(template).Matches(labels.Set(p.Labels)) {
			s.FullyLabeledReplicas++
		}
	}
	return s, n.Next
}

type replication struct{ Deps }

func (c replication) reconcile(ctx context.Context, key loop.Key) (loop.Result, error) {
	var rc corev1.ReplicationController
	if err := c.Client.Get(ctx, key, &rc); err != nil {
		return loop.Result{}, client.IgnoreNotFound(err)
	}
	if rc.DeletionTimestamp != nil {
		return loop.Result{}, nil
	}
	pods, err := c.claim(ctx, &rc)
	if err != nil {
		return loop.Result{}, err
	}
	now := c.Clock()
	want := DecideReplicas(&rc, pods, now)
	failed := c.carryOut(ctx, &rc, want)

	pods, err = c.claim(ctx, &rc)
	if err != nil {
		return loop.Result{}, err
	}
	status, next := ReplicasStatus(&rc, pods, now)
	status.Conditions = replicaFailure(status.Conditions, failed, now)
	if !equality.Semantic.DeepEqual(status, rc.Status) {
		rc.Status = status
		if err := c.Client.Status().Update(ctx, &rc); err != nil {
			return loop.Result{}, client.IgnoreNotFound(err)
		}
	}
	return loop.Result{After: sooner(next, want.After)}, failed
}

// claim lists the pods of rc: those that it owns and selects. An owned pod that is no
// longer selected is let go, a selected one without an owner is taken in.
func (c replication) claim(ctx context.Context, rc *corev1.ReplicationController) ([]*corev1.Pod, error) {
	var list corev1.PodList
	if err := c.Client.List(ctx, &list, client.InNamespace(rc.Namespace)); err != nil {
		return nil, err
	}
	selector := labels.SelectorFromSet(rc.Spec.Selector)
	var mine []*corev1.Pod
	for i := range list.Items {
		p := &list.Items[i]
		selected, owner := selector.Matches(labels.Set(p.Labels)) && len(rc.Spec.Selector) > 0, metav1.GetControllerOf(p)
		switch {
		case owner != nil && owner.UID == rc.UID && selected:
		case owner != nil && owner.UID == rc.UID && !leaving(p):
			p.OwnerReferences = slices.DeleteFunc(p.OwnerReferences, func(r metav1.OwnerReference) bool { return r.UID == rc.UID })
			if err := c.Client.Update(ctx, p); client.IgnoreNotFound(err) != nil {
				return nil, err
			}
			continue
		case owner == nil && selected && live(p):
			p.OwnerReferences = append(p.OwnerReferences, controllerRef(rc))
			if err := c.Client.Update(ctx, p); err != nil {
				if apierrors.IsNotFound(err) {
					continue
				}
				return nil, err
			}
		default:
			continue
		}
		mine = append(mine, p)
	}
	return mine, nil
}

func (c replication) carryOut(ctx context.Context, rc *corev1.ReplicationController, want Replicas) error {
	for range want.Create {
		pod := newPod(rc)
		err := c.Client.Create(ctx, pod)
		if apierrors.IsAlreadyExists(err) {
			pod = newPod(rc)
			err = c.Client.Create(ctx, pod)
		}
		if err != nil {
			c.Events.Event(rc, corev1.EventTypeWarning, "FailedCreate", "Error creating: %v", err)
			return fmt.Errorf("replicationcontroller %s/%s: create pod: %w", rc.Namespace, rc.Name, err)
		}
		c.Events.Event(rc, corev1.EventTypeNormal, "SuccessfulCreate", "Created pod: %s", pod.Name)
	}
	for _, p := range want.Delete {
		uid := p.UID
		if err := c.Client.Delete(ctx, p, client.Preconditions{UID: &uid}); err != nil {
			if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
				continue
			}
			c.Events.Event(rc, corev1.EventTypeWarning, "FailedDelete", "Error deleting %s: %v", p.Name, err)
			return fmt.Errorf("replicationcontroller %s/%s: delete pod %s: %w", rc.Namespace, rc.Name, p.Name, err)
		}
		c.Events.Event(rc, corev1.EventTypeNormal, "SuccessfulDelete", "Deleted pod: %s", p.Name)
	}
	return nil
}

// newPod makes one pod of the template, under a name nobody had.
func newPod(rc *corev1.ReplicationController) *corev1.Pod {
	t := rc.Spec.Template.DeepCopy()
	prefix := rc.Name
	if len(prefix) > 247 {
		prefix = prefix[:247]
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: rc.Namespace, Name: prefix + "-" + rand.String(5), GenerateName: prefix + "-",
			Labels: t.Labels, Annotations: t.Annotations, Finalizers: t.Finalizers,
			OwnerReferences: []metav1.OwnerReference{controllerRef(rc)},
		},
		Spec: t.Spec,
	}
}

func controllerRef(rc *corev1.ReplicationController) metav1.OwnerReference {
	return *metav1.NewControllerRef(&metav1.ObjectMeta{Name: rc.Name, UID: types.UID(rc.UID)}, corev1.SchemeGroupVersion.WithKind("ReplicationController"))
}

// replicaFailure sets the condition ReplicaFailure where pods could not be made, and
// removes it where they could.
func replicaFailure(all []corev1.ReplicationControllerCondition, failed error, now time.Time) []corev1.ReplicationControllerCondition {
	is := func(c corev1.ReplicationControllerCondition) bool {
		return c.Type == corev1.ReplicationControllerReplicaFailure
	}
	if failed == nil {
		return slices.DeleteFunc(slices.Clone(all), is)
	}
	c := corev1.ReplicationControllerCondition{
		Type: corev1.ReplicationControllerReplicaFailure, Status: corev1.ConditionTrue,
		LastTransitionTime: metav1.NewTime(now), Reason: "FailedCreate", Message: failed.Error(),
	}
	if i := slices.IndexFunc(all, is); i >= 0 {
		if all[i].Message == c.Message {
			return all
		}
		c.LastTransitionTime = all[i].LastTransitionTime
		return append(slices.DeleteFunc(slices.Clone(all), is), c)
	}
	return append(slices.Clone(all), c)
}
