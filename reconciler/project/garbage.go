package project

import (
	"context"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/state/loop"
)

// garbage deletes objects all of whose owners are gone: by UID, so that a namesake that
// came later owns nothing.
type garbage struct {
	Deps
	owned *owned
}

// keyOf names an object of any kind: the key's name is `resource.group/name`.
func keyOf(k api.Kind, namespace, name string) loop.Key {
	return loop.Key{Namespace: namespace, Name: k.GroupResource().String() + "/" + name}
}

func readKey(key loop.Key) (api.Kind, string, bool) {
	resource, name, ok := strings.Cut(key.Name, "/")
	if !ok {
		return api.Kind{}, "", false
	}
	for _, k := range api.Kinds() {
		if k.GroupResource().String() == resource {
			return k, name, true
		}
	}
	return api.Kind{}, "", false
}

// ownerKeys are the keys of an object's owners; known is false if one is of a kind that
// is not ours, or cannot own it: then nothing is ever concluded about the object.
func ownerKeys(namespace string, refs []metav1.OwnerReference) (keys []loop.Key, known bool) {
	known = true
	for _, ref := range refs {
		k, ok := kindOf(ref.APIVersion, ref.Kind)
		switch {
		case !ok || k.Namespaced && namespace == "":
			known = false
		case k.Namespaced:
			keys = append(keys, keyOf(k, namespace, ref.Name))
		default:
			keys = append(keys, keyOf(k, "", ref.Name))
		}
	}
	return keys, known
}

// reconcile looks at an object that has owners, and at the objects of one that is gone.
func (g *garbage) reconcile(ctx context.Context, key loop.Key) (loop.Result, error) {
	gone, err := g.collect(ctx, key)
	if err != nil || !gone {
		return loop.Result{}, err
	}
	for _, dependent := range g.owned.of(key) {
		if _, err := g.collect(ctx, dependent); err != nil {
			return loop.Result{}, err
		}
	}
	g.owned.forget(key)
	return loop.Result{}, nil
}

// collect deletes an object whose owners are gone, and says whether there is such an
// object no more. Where an owner has a namesake, the objects of the old one are looked
// at as well.
func (g *garbage) collect(ctx context.Context, key loop.Key) (gone bool, err error) {
	k, name, ok := readKey(key)
	if !ok {
		return false, nil
	}
	o := objectOf(k)
	err = g.Client.Get(ctx, client.ObjectKey{Namespace: key.Namespace, Name: name}, o)
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	if o.GetDeletionTimestamp() != nil || len(o.GetOwnerReferences()) == 0 {
		return false, nil
	}
	orphan, err := g.orphan(ctx, o)
	if err != nil || !orphan {
		return false, err
	}
	uid, rev := o.GetUID(), o.GetResourceVersion()
	err = g.Client.Delete(ctx, o, client.Preconditions{UID: &uid, ResourceVersion: &rev})
	if client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("%s %s/%s, whose owner is gone: %w", k.Kind, key.Namespace, name, err)
	}
	return false, nil
}

// orphan says whether every owner is gone. A read that fails says nothing about one.
func (g *garbage) orphan(ctx context.Context, o client.Object) (bool, error) {
	refs := o.GetOwnerReferences()
	keys, known := ownerKeys(o.GetNamespace(), refs)
	if !known {
		return false, nil
	}
	for i, key := range keys {
		k, name, _ := readKey(key)
		owner := objectOf(k)
		err := g.Client.Get(ctx, client.ObjectKey{Namespace: key.Namespace, Name: name}, owner)
		if err == nil && owner.GetUID() == refs[i].UID {
			return false, nil
		}
		if client.IgnoreNotFound(err) != nil {
			return false, err
		}
	}
	return true, nil
}
