package reconciler

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/reconciler/live"
	"slipway.dev/slipway/state/loop"
)

// driftWatches wake an Application when it, or something it owns, is changed or
// deleted, and not when only a status moves.
func driftWatches(index *live.Index) []loop.Watch {
	out := []loop.Watch{{List: &v1alpha1.ApplicationList{}, Skip: unchanged()}}
	for _, k := range api.Kinds() {
		if k.Runtime {
			continue
		}
		out = append(out, loop.Watch{List: metadataOf(k.GroupVersionKind), Keys: ownerKeys, Skip: unchanged(), Observer: index.Feed(k.GroupKind())})
	}
	return out
}

// metadataOf lists a kind without its bodies.
func metadataOf(gvk schema.GroupVersionKind) client.ObjectList {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(gvk.GroupVersion().WithKind(gvk.Kind + "List"))
	return list
}

// ownerKeys is the Application that owns an object.
func ownerKeys(o client.Object) []loop.Key {
	l := o.GetLabels()
	if l[OwnerName] == "" {
		return nil
	}
	return []loop.Key{{Namespace: l[OwnerNamespace], Name: l[OwnerName]}}
}

// unchanged skips the events of one watch that moved nothing which git can declare. It
// saves work; nothing is decided from it.
func unchanged() func(watch.EventType, client.Object) bool {
	seen := map[types.UID]string{}
	return func(event watch.EventType, o client.Object) bool {
		if event == watch.Deleted {
			delete(seen, o.GetUID())
			return false
		}
		version := fmt.Sprint(o.GetGeneration())
		if o.GetGeneration() == 0 {
			// A kind without a status, such as a ConfigMap: every change counts.
			version = o.GetResourceVersion()
		}
		now := fmt.Sprint(version, o.GetLabels(), o.GetAnnotations(), o.GetDeletionTimestamp() != nil)
		last, known := seen[o.GetUID()]
		seen[o.GetUID()] = now
		return known && last == now
	}
}
