package state

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	kjson "sigs.k8s.io/json"
)

func formatRevision(rev int64) string { return strconv.FormatInt(rev, 10) }

// plain is a stored value's JSON.
func (c *Client) plain(k *kindInfo, key string, value []byte) ([]byte, error) {
	if k.Sealed {
		return c.seal.open(key, value)
	}
	return value, nil
}

// stored is what is put under key for an object's JSON.
func (c *Client) stored(k *kindInfo, key string, plain []byte) []byte {
	if k.Sealed {
		return c.seal.seal(key, plain)
	}
	return plain
}

// encode is an object's JSON as it is stored: without the resourceVersion, which is etcd's to say.
func encode(obj client.Object) ([]byte, error) {
	rv := obj.GetResourceVersion()
	obj.SetResourceVersion("")
	data, err := json.Marshal(obj)
	obj.SetResourceVersion(rv)
	return data, err
}

// decode reads JSON into obj, whatever obj held before, and gives it the revision; 0: none.
func decode(k *kindInfo, plain []byte, rev int64, obj client.Object) error {
	switch o := obj.(type) {
	case runtime.Unstructured:
		content := map[string]any{}
		if err := kjson.UnmarshalCaseSensitivePreserveInts(plain, &content); err != nil {
			return decodeError(k, err)
		}
		o.SetUnstructuredContent(content)
	default:
		reflect.ValueOf(obj).Elem().SetZero()
		if err := kjson.UnmarshalCaseSensitivePreserveInts(plain, obj); err != nil {
			return decodeError(k, err)
		}
		obj.GetObjectKind().SetGroupVersionKind(k.GroupVersionKind)
	}
	if rev != 0 {
		obj.SetResourceVersion(formatRevision(rev))
	}
	return nil
}

// decodeError leaves out the cause for sealed kinds: it may quote the value.
func decodeError(k *kindInfo, err error) error {
	if k.Sealed {
		return fmt.Errorf("decode %s: it does not fit the kind's schema", k.Kind)
	}
	return fmt.Errorf("decode %s: %w", k.Kind, err)
}

// typed is a private, typed copy of what a caller handed in.
func typed(k *kindInfo, obj client.Object) (client.Object, error) {
	var out client.Object
	switch o := obj.(type) {
	case runtime.Unstructured:
		out = reflect.New(k.typ).Interface().(client.Object)
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.UnstructuredContent(), out); err != nil {
			return nil, decodeError(k, err)
		}
	case *metav1.PartialObjectMetadata:
		return nil, fmt.Errorf("%s %s: a write needs the whole object, not only its metadata", k.Kind, obj.GetName())
	default:
		if reflect.TypeOf(obj) != reflect.PointerTo(k.typ) {
			return nil, fmt.Errorf("%T is not the Go type of %s", obj, k.GroupVersionKind)
		}
		out = obj.DeepCopyObject().(client.Object)
	}
	out.GetObjectKind().SetGroupVersionKind(k.GroupVersionKind)
	return out, nil
}
