package nodeapi

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
)

// reclaimed adds the volumes that a node is asked to empty.
func (s *Server) reclaimed(ctx context.Context, node string, out names) error {
	var list corev1.PersistentVolumeList
	if err := s.Client.List(ctx, &list); err != nil {
		return err
	}
	for i := range list.Items {
		if v := &list.Items[i]; v.Annotations[api.ReclaimAnnotation] == node {
			out[client.ObjectKeyFromObject(v)] = true
		}
	}
	return nil
}

// reclaimVolume: a node that is asked to empty a volume says that it did, or why it could not.
func reclaimVolume(p place, live, asked client.Object) error {
	have, next := live.(*corev1.PersistentVolume), asked.(*corev1.PersistentVolume)
	if have.Annotations[api.ReclaimAnnotation] != p.name || have.Spec.ClaimRef == nil || have.Status.Phase == corev1.VolumeBound {
		return p.stranger()
	}
	done, why := next.Annotations[api.ReclaimedAnnotation], next.Annotations[api.ReclaimErrorAnnotation]
	if done != "" && done != string(have.Spec.ClaimRef.UID) || len(why) > maxEvent {
		return p.forbidden("%s: it says for which claim it was emptied, or why not in at most %d bytes", p.what(), maxEvent)
	}
	for key, value := range map[string]string{api.ReclaimedAnnotation: done, api.ReclaimErrorAnnotation: why} {
		if value == "" {
			delete(have.Annotations, key)
		} else {
			have.Annotations[key] = value
		}
	}
	have.ResourceVersion = next.ResourceVersion
	return nil
}
