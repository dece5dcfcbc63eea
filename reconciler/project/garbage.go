package project

import (
	"context"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
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

// owner is one reference to an owner.
type owner struct {
	key loop.Key
	uid types.UID
	// known: of a kind that is ours, and that can own the object. Otherwise nothing is
	// concluded from the reference.
	known bool
}

func ownersOf(o client.Object) []owner {
	var all []owner
	for _, ref := range o.GetOwnerReferences() {
		k, ok := kindOf(ref.APIVersion, ref.Kind)
		namespace := ""
		if k.Namespaced {
			namespace = o.GetNamespace()
		}
		all = append(all, owner{
			key: keyOf(k, namespace, ref.Name), uid: ref.UID,
			known: ok && (!k.Namespaced || namespace != ""),
		})
	}
	return all
}

// reconcile looks at one object both ways: are its owners there, and are there others
// that name it as theirs but mean one that it is not (any more)?
func (g *garbage) reconcile(ctx context.Context, key loop.Key) (loop.Result, error) {
	uid, err := g.collect(ctx, key)
	if err != nil {
		return loop.Result{}, err
	}
	for _, dependent := range g.owned.strangers(key, uid) {
		if _, err := g.collect(ctx, dependent); err != nil {
			return loop.Result{}, err
		}
	}
	return loop.Result{}, nil
}

// collect deletes an object whose owners are gone. It returns the object's UID, which is
// empty where there is none.
func (g *garbage) collect(ctx context.Context, key loop.Key) (types.UID, error) {
	k, o, err := g.read(ctx, key)
	if apierrors.IsNotFound(err) {
		g.owned.forget(key)
		return "", nil
	}
	if err != nil {
		return "", err
	}
	uid, rev := o.GetUID(), o.GetResourceVersion()
	orphan, err := g.orphan(ctx, o)
	if err != nil || !orphan {
		return uid, err
	}
	err = g.Client.Delete(ctx, o, client.Preconditions{UID: &uid, ResourceVersion: &rev})
	if client.IgnoreNotFound(err) != nil {
		return uid, fmt.Errorf("%s %s/%s, whose owner is gone: %w", k.Kind, o.GetNamespace(), o.GetName(), err)
	}
	return uid, nil
}

func (g *garbage) read(ctx context.Context, key loop.Key) (api.Kind, client.Object, error) {
	k, name, ok := readKey(key)
	if !ok {
		return k, nil, fmt.Errorf("%q is no key of an object", key.Name)
	}
	o := objectOf(k)
	return k, o, g.Client.Get(ctx, client.ObjectKey{Namespace: key.Namespace, Name: name}, o)
}

// orphan says whether an object had owners and every one is gone. A read that fails says
// nothing about an owner.
func (g *garbage) orphan(ctx context.Context, o client.Object) (bool, error) {
	owners := ownersOf(o)
	if len(owners) == 0 || o.GetDeletionTimestamp() != nil {
		return false, nil
	}
	for _, owner := range owners {
		if !owner.known {
			return false, nil
		}
	}
	for _, owner := range owners {
		_, there, err := g.read(ctx, owner.key)
		if err == nil && there.GetUID() == owner.uid {
			return false, nil
		}
		if client.IgnoreNotFound(err) != nil {
			return false, err
		}
	}
	return true, nil
}
