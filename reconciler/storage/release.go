package storage

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/state/loop"
)

func (b *binder) volume(ctx context.Context, key loop.Key) error {
	var v corev1.PersistentVolume
	if err := b.Client.Get(ctx, key, &v); err != nil {
		b.wait(key, false)
		return client.IgnoreNotFound(err)
	}
	c, err := b.claimOf(ctx, &v)
	if err != nil {
		return err
	}
	if v.DeletionTimestamp != nil {
		if c != nil && given(&v, c) && c.Spec.VolumeName == v.Name {
			return nil // The claim's end wakes the volume.
		}
		return b.unprotect(ctx, &v, volumeProtection)
	}
	if !slices.Contains(v.Finalizers, volumeProtection) {
		v.Finalizers = append(v.Finalizers, volumeProtection)
		if err := b.Client.Update(ctx, &v); err != nil {
			return client.IgnoreNotFound(err)
		}
	}
	var nodes corev1.NodeList
	if v.Spec.ClaimRef != nil && c == nil {
		b.wait(key, true)
		if err := b.Client.List(ctx, &nodes); err != nil {
			return err
		}
	}
	d := DecideVolume(&v, c, nodes.Items)
	b.wait(key, d.Phase == corev1.VolumeFailed)
	return b.carryOut(ctx, &v, d)
}

// claimOf is the claim that a volume is given to, with that uid if the volume names one; nil: there
// is none.
func (b *binder) claimOf(ctx context.Context, v *corev1.PersistentVolume) (*corev1.PersistentVolumeClaim, error) {
	r := v.Spec.ClaimRef
	if r == nil {
		return nil, nil
	}
	var c corev1.PersistentVolumeClaim
	err := b.Client.Get(ctx, client.ObjectKey{Namespace: r.Namespace, Name: r.Name}, &c)
	if err != nil || r.UID != "" && r.UID != c.UID {
		return nil, client.IgnoreNotFound(err)
	}
	return &c, nil
}

func (b *binder) carryOut(ctx context.Context, v *corev1.PersistentVolume, d VolumeDecision) error {
	switch {
	case d.Delete:
		uid := v.UID
		if err := b.Client.Delete(ctx, v, client.Preconditions{UID: &uid}); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("persistentvolume %s, whose data was removed: %w", v.Name, err)
		}
		return nil
	case d.Free:
		if v.Annotations[boundByController] != "" {
			v.Spec.ClaimRef = nil
		} else {
			v.Spec.ClaimRef.UID, v.Spec.ClaimRef.ResourceVersion = "", ""
		}
		recycled := v.Annotations[api.ReclaimedAnnotation] != ""
		for _, a := range []string{boundByController, api.ReclaimAnnotation, api.ReclaimedAnnotation, api.ReclaimErrorAnnotation} {
			delete(v.Annotations, a)
		}
		if err := b.Client.Update(ctx, v); err != nil {
			return err
		}
		if recycled {
			b.Events.Event(v, corev1.EventTypeNormal, "VolumeRecycled", "Volume recycled")
		}
	case d.Reclaim != v.Annotations[api.ReclaimAnnotation]:
		annotate(v, api.ReclaimAnnotation, d.Reclaim)
		if err := b.Client.Update(ctx, v); err != nil {
			return err
		}
	}
	return b.phase(ctx, v, d)
}

// phase writes the phase of a volume, if that is news.
func (b *binder) phase(ctx context.Context, v *corev1.PersistentVolume, d VolumeDecision) error {
	if v.Status.Phase == d.Phase && v.Status.Message == d.Message {
		return nil
	}
	v.Status.Phase, v.Status.Message = d.Phase, d.Message
	v.Status.Reason = ""
	if d.Phase == corev1.VolumeFailed {
		v.Status.Reason = "VolumeFailedDelete"
		if v.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimRecycle {
			v.Status.Reason = "VolumeFailedRecycle"
		}
		b.Events.Event(v, corev1.EventTypeWarning, v.Status.Reason, "%s", d.Message)
	}
	return client.IgnoreNotFound(b.Client.Status().Update(ctx, v))
}
