package workload

import (
	"context"
	"errors"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/reconciler/pods"
	"slipway.dev/slipway/state/loop"
)

var statefulKind = appsv1.SchemeGroupVersion.WithKind("StatefulSet")

type statefulSets struct{ Deps }

func (c statefulSets) pass(ctx context.Context, key loop.Key) (acted bool, after time.Duration, err error) {
	var set appsv1.StatefulSet
	if err := c.Client.Get(ctx, key, &set); err != nil {
		return false, 0, client.IgnoreNotFound(err)
	}
	if set.DeletionTimestamp != nil {
		return false, 0, nil
	}
	owner, err := c.owner(&set)
	if err != nil {
		return false, 0, err
	}
	kept := templates{client: c.Client, owner: &set, kind: statefulKind, template: &set.Spec.Template, collisions: set.Status.CollisionCount}
	revisions, err := kept.newest(ctx)
	if errors.Is(err, errTaken) {
		set.Status.CollisionCount = raised(set.Status.CollisionCount)
		return true, 0, c.Client.Status().Update(ctx, &set)
	}
	if err != nil {
		return false, 0, err
	}
	s := Stateful{Set: &set, Now: c.Clock()}
	if s.Current, s.Update, err = versions(&set, revisions); err != nil {
		return false, 0, err
	}
	if set.Status.CurrentRevision == "" {
		// What is current has to be known before a pod is made of it.
		set.Status.CurrentRevision, set.Status.UpdateRevision = s.Current.Name, s.Update.Name
		return true, 0, c.Client.Status().Update(ctx, &set)
	}
	if s.Pods, err = owner.Claim(ctx); err != nil {
		return false, 0, err
	}
	change := DecideStateful(s)
	if err := c.retain(ctx, s); err != nil {
		return false, 0, err
	}
	if err := c.carryOut(ctx, owner, s, change); err != nil {
		return false, 0, err
	}
	if len(change.Create)+len(change.Delete) > 0 {
		if s.Pods, err = owner.Claim(ctx); err != nil {
			return false, 0, err
		}
	}
	status := StatefulStatus(s)
	if !equality.Semantic.DeepEqual(status, set.Status) {
		set.Status = status
		if err := c.Client.Status().Update(ctx, &set); err != nil {
			return false, 0, client.IgnoreNotFound(err)
		}
	}
	used := map[string]bool{status.CurrentRevision: true, status.UpdateRevision: true}
	for _, p := range s.Pods {
		used[revisionOfPod(p)] = true
	}
	return len(change.Create) > 0, change.After, kept.remove(ctx, old(revisions, set.Spec.RevisionHistoryLimit, used))
}

func (c statefulSets) owner(set *appsv1.StatefulSet) (pods.Owner, error) {
	selector, err := metav1.LabelSelectorAsSelector(set.Spec.Selector)
	return pods.Owner{
		Client: c.Client, Events: c.Events, Object: set, Kind: statefulKind, Selector: selector,
		Fits: func(p *corev1.Pod) bool { return ordinal(set, p) >= 0 },
	}, err
}

// versions are the templates that a set's pods are made from. Where the current one is not
// known any more, it is the newest.
func versions(set *appsv1.StatefulSet, revisions []*appsv1.ControllerRevision) (current, update Version, err error) {
	newest := revisions[len(revisions)-1]
	update = Version{newest.Name, &set.Spec.Template}
	current = update
	for _, r := range revisions {
		if r.Name == set.Status.CurrentRevision && r != newest {
			t, err := templateOf(r)
			return Version{r.Name, t}, update, err
		}
	}
	return current, update, nil
}

func (c statefulSets) carryOut(ctx context.Context, owner pods.Owner, s Stateful, change StatefulChange) error {
	for _, p := range change.Create {
		for _, claim := range claimsOf(s.Set, p.Name) {
			if err := c.claim(ctx, s, claim, p); err != nil {
				return owner.Made(p, err)
			}
		}
		if err := c.Client.Create(ctx, p); !apierrors.IsAlreadyExists(err) {
			if err := owner.Made(p, err); err != nil {
				return err
			}
			continue
		}
		// One that is leaving, or another process's; a pod of somebody else is in the way.
		var there corev1.Pod
		if err := c.Client.Get(ctx, client.ObjectKeyFromObject(p), &there); err != nil {
			return client.IgnoreNotFound(err)
		}
		if ref := metav1.GetControllerOf(&there); ref == nil || ref.UID != s.Set.UID {
			return owner.Made(p, fmt.Errorf("pod %s is there already, and not this set's", p.Name))
		}
	}
	for _, p := range change.Delete {
		if err := owner.Delete(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// claim makes a claim that is not there. One that is being deleted is waited for.
func (c statefulSets) claim(ctx context.Context, s Stateful, claim *corev1.PersistentVolumeClaim, p *corev1.Pod) error {
	var there corev1.PersistentVolumeClaim
	err := c.Client.Get(ctx, client.ObjectKeyFromObject(claim), &there)
	switch {
	case err == nil && there.DeletionTimestamp != nil:
		return fmt.Errorf("claim %s is being deleted", claim.Name)
	case err == nil || !apierrors.IsNotFound(err):
		return err
	}
	claim.OwnerReferences = claimOwners(s.Set, p, false, nil)
	if err := c.Client.Create(ctx, claim); err != nil && !apierrors.IsAlreadyExists(err) {
		c.Events.Event(s.Set, corev1.EventTypeWarning, "FailedCreate", "create Claim %s for Pod %s in StatefulSet %s failed error: %v", claim.Name, p.Name, s.Set.Name, err)
		return fmt.Errorf("claim %s: %w", claim.Name, err)
	}
	c.Events.Event(s.Set, corev1.EventTypeNormal, "SuccessfulCreate", "create Claim %s Pod %s in StatefulSet %s success", claim.Name, p.Name, s.Set.Name)
	return nil
}

// retain gives the claims of the set's pods the owners that the retention policy asks for,
// before a condemned pod goes.
func (c statefulSets) retain(ctx context.Context, s Stateful) error {
	if len(s.Set.Spec.VolumeClaimTemplates) == 0 {
		return nil
	}
	at := s.slots()
	for _, list := range []struct {
		pods      []*corev1.Pod
		condemned bool
	}{{at.wanted, false}, {at.condemned, true}} {
		for _, p := range list.pods {
			if p == nil {
				continue
			}
			for _, claim := range claimsOf(s.Set, p.Name) {
				if err := c.own(ctx, s.Set, claim, p, list.condemned); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (c statefulSets) own(ctx context.Context, set *appsv1.StatefulSet, claim *corev1.PersistentVolumeClaim, p *corev1.Pod, condemned bool) error {
	var there corev1.PersistentVolumeClaim
	if err := c.Client.Get(ctx, client.ObjectKeyFromObject(claim), &there); err != nil {
		return client.IgnoreNotFound(err)
	}
	owners := claimOwners(set, p, condemned, there.OwnerReferences)
	if equality.Semantic.DeepEqual(owners, there.OwnerReferences) {
		return nil
	}
	there.OwnerReferences = owners
	return client.IgnoreNotFound(c.Client.Update(ctx, &there))
}

func raised(n *int32) *int32 {
	next := int32(1)
	if n != nil {
		next += *n
	}
	return &next
}
