package storage

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/state/loop"
)

// The finalizers that protect what is in use, as Kubernetes names them.
const (
	claimProtection  = "kubernetes.io/pvc-protection"
	volumeProtection = "kubernetes.io/pv-protection"
)

func (b *binder) claim(ctx context.Context, key loop.Key) error {
	var c corev1.PersistentVolumeClaim
	err := b.Client.Get(ctx, key, &c)
	if client.IgnoreNotFound(err) != nil {
		return err
	}
	// It waits from before the world is read: whatever changes from here on wakes it.
	b.wait(key, err == nil && c.DeletionTimestamp == nil && c.Status.Phase != corev1.ClaimBound)
	volumes, listErr := b.volumes(ctx)
	if listErr != nil {
		return listErr
	}
	switch {
	case err != nil:
		return b.orphaned(ctx, key, volumes)
	case c.DeletionTimestamp != nil:
		return b.letGo(ctx, &c)
	}
	if !slices.Contains(c.Finalizers, claimProtection) {
		c.Finalizers = append(c.Finalizers, claimProtection)
		if err := b.Client.Update(ctx, &c); err != nil {
			return client.IgnoreNotFound(err)
		}
	}
	d := DecideClaim(&c, volumes)
	if d.Volume != nil {
		if err := b.bind(ctx, &c, d.Volume); err != nil {
			return err
		}
	}
	status := corev1.PersistentVolumeClaimStatus{Phase: d.Phase}
	if v := d.Volume; v != nil {
		status.AccessModes, status.Capacity = v.Spec.AccessModes, v.Spec.Capacity
	}
	if d.reason != "" {
		b.Events.Event(&c, d.eventtype, d.reason, "%s", d.message)
	}
	if equality.Semantic.DeepEqual(status, c.Status) {
		return nil
	}
	c.Status = status
	if err := b.Client.Status().Update(ctx, &c); err != nil {
		return client.IgnoreNotFound(err)
	}
	if d.Phase == corev1.ClaimBound {
		b.wait(key, false)
	}
	return nil
}

func (b *binder) volumes(ctx context.Context) ([]*corev1.PersistentVolume, error) {
	var list corev1.PersistentVolumeList
	if err := b.Client.List(ctx, &list); err != nil {
		return nil, err
	}
	all := make([]*corev1.PersistentVolume, len(list.Items))
	for i := range list.Items {
		all[i] = &list.Items[i]
	}
	return all, nil
}

// orphaned looks at the volumes of a claim that is no more.
func (b *binder) orphaned(ctx context.Context, key loop.Key, volumes []*corev1.PersistentVolume) error {
	for _, v := range volumes {
		if r := v.Spec.ClaimRef; r != nil && r.Namespace == key.Namespace && r.Name == key.Name {
			if err := b.volume(ctx, loop.Key{Name: v.Name}); err != nil {
				return err
			}
		}
	}
	return nil
}

// bind gives the volume to the claim, then the claim to the volume. The first write decides, for
// it holds only where the volume is still as it was read.
func (b *binder) bind(ctx context.Context, c *corev1.PersistentVolumeClaim, v *corev1.PersistentVolume) error {
	if !given(v, c) {
		if v.Spec.ClaimRef == nil {
			annotate(v, boundByController, "yes")
		}
		v.Spec.ClaimRef = &corev1.ObjectReference{
			APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: c.Namespace, Name: c.Name, UID: c.UID, ResourceVersion: c.ResourceVersion,
		}
		if err := b.Client.Update(ctx, v); err != nil {
			return err
		}
	}
	if err := b.phase(ctx, v, VolumeDecision{Phase: corev1.VolumeBound}); err != nil {
		return err
	}
	if c.Spec.VolumeName == v.Name && c.Annotations[bindCompleted] != "" {
		return nil
	}
	if c.Spec.VolumeName == "" {
		annotate(c, boundByController, "yes")
	}
	c.Spec.VolumeName = v.Name
	annotate(c, bindCompleted, "yes")
	if err := b.Client.Update(ctx, c); err != nil {
		return err
	}
	b.Events.Event(c, corev1.EventTypeNormal, "ProvisioningSucceeded", "bound to volume %s", v.Name)
	return nil
}

func annotate(o client.Object, key, value string) {
	all := o.GetAnnotations()
	if all == nil {
		all = map[string]string{}
	}
	all[key] = value
	o.SetAnnotations(all)
}

// letGo lets a claim go that is being deleted, when no pod uses it any more.
func (b *binder) letGo(ctx context.Context, c *corev1.PersistentVolumeClaim) error {
	var pods corev1.PodList
	if err := b.Client.List(ctx, &pods, client.InNamespace(c.Namespace)); err != nil {
		return err
	}
	for i := range pods.Items {
		if api.UsesClaim(&pods.Items[i], c.Name) {
			return nil // The pod's end wakes the claim.
		}
	}
	return b.unprotect(ctx, c, claimProtection)
}

func (b *binder) unprotect(ctx context.Context, o client.Object, finalizer string) error {
	if !slices.Contains(o.GetFinalizers(), finalizer) {
		return nil
	}
	o.SetFinalizers(slices.DeleteFunc(o.GetFinalizers(), func(f string) bool { return f == finalizer }))
	if err := b.Client.Update(ctx, o); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("%s: %w", o.GetName(), err)
	}
	return nil
}
