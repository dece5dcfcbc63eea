package state

import (
	"fmt"
	"reflect"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"slipway.dev/slipway/api"
)

// kindInfo is what the client knows about a kind beyond api.Kind.
type kindInfo struct {
	api.Kind
	typ reflect.Type
	// status is the index of the Go field with the status, or -1.
	status int
	// body are the indexes of the fields that are neither metadata nor status.
	body []int
	// generations: kinds with a spec or a status count changes of their body.
	generations bool
	// bornWithStatus kinds keep the status that they are created with, as the servers of
	// Kubernetes and OpenShift do for them; for all others it is dropped.
	bornWithStatus bool
	main, sub      lazyManager
}

func (k *kindInfo) new() client.Object {
	obj := reflect.New(k.typ).Interface().(client.Object)
	obj.GetObjectKind().SetGroupVersionKind(k.GroupVersionKind)
	return obj
}

func (k *kindInfo) hasStatus() bool { return k.status >= 0 }

func (k *kindInfo) copyStatus(to, from client.Object) {
	reflect.ValueOf(to).Elem().Field(k.status).Set(reflect.ValueOf(from).Elem().Field(k.status))
}

func (k *kindInfo) clearStatus(obj client.Object) {
	reflect.ValueOf(obj).Elem().Field(k.status).SetZero()
}

func (k *kindInfo) sameBody(a, b client.Object) bool {
	x, y := reflect.ValueOf(a).Elem(), reflect.ValueOf(b).Elem()
	for _, i := range k.body {
		if !equality.Semantic.DeepEqual(x.Field(i).Interface(), y.Field(i).Interface()) {
			return false
		}
	}
	return true
}

var bornWithStatus = map[string]bool{"Build": true, "Node": true, "Project": true}

// catalogue is every kind by group and name. It is built once: field managers are costly to make.
var catalogue = sync.OnceValue(func() map[schema.GroupKind]*kindInfo {
	out := map[schema.GroupKind]*kindInfo{}
	for _, k := range api.Kinds() {
		obj, err := api.Scheme().New(k.GroupVersionKind)
		if err != nil {
			panic(fmt.Sprintf("kind %s is listed but not in the scheme: %v", k.GroupVersionKind, err))
		}
		info := &kindInfo{Kind: k, typ: reflect.TypeOf(obj).Elem(), status: -1, bornWithStatus: bornWithStatus[k.Kind]}
		for i := range info.typ.NumField() {
			name, _, _ := strings.Cut(info.typ.Field(i).Tag.Get("json"), ",")
			switch name {
			case "", "metadata":
			case "status":
				info.status, info.generations = i, true
			case "spec":
				info.generations = true
				info.body = append(info.body, i)
			default:
				info.body = append(info.body, i)
			}
		}
		out[k.GroupKind()] = info
	}
	return out
})

func lookup(gvk schema.GroupVersionKind) (*kindInfo, error) {
	modern := api.Modern(gvk)
	if k, ok := catalogue()[modern.GroupKind()]; ok && (modern.Version == k.Version || modern.Version == "") {
		return k, nil
	}
	return nil, &meta.NoKindMatchError{GroupKind: gvk.GroupKind(), SearchedVersions: []string{gvk.Version}}
}

func kindOf(obj runtime.Object) (*kindInfo, error) {
	gvk, err := apiutil.GVKForObject(obj, api.Scheme())
	if err != nil {
		return nil, err
	}
	return lookup(gvk)
}

// kindOfList takes the kind of a list's items from the list's kind, with or without "List" at its end.
func kindOfList(list client.ObjectList) (*kindInfo, error) {
	gvk, err := apiutil.GVKForObject(list, api.Scheme())
	if err != nil {
		return nil, err
	}
	if item, ok := strings.CutSuffix(gvk.Kind, "List"); ok {
		if k, err := lookup(gvk.GroupVersion().WithKind(item)); err == nil {
			return k, nil
		}
	}
	return lookup(gvk)
}

// newMapper maps kinds to resources and back. The first version listed of a group is preferred.
var newMapper = sync.OnceValue(func() meta.RESTMapper {
	var versions []schema.GroupVersion
	for _, k := range api.Kinds() {
		versions = append(versions, k.GroupVersion())
	}
	m := meta.NewDefaultRESTMapper(versions)
	for _, k := range api.Kinds() {
		scope := meta.RESTScopeRoot
		if k.Namespaced {
			scope = meta.RESTScopeNamespace
		}
		gv := k.GroupVersion()
		m.AddSpecific(k.GroupVersionKind, gv.WithResource(k.Resource), gv.WithResource(strings.ToLower(k.Kind)), scope)
	}
	return m
})
