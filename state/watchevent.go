package state

import (
	clientv3 "go.etcd.io/etcd/client/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// event translates a change of a key into what it means under the selectors.
func (w *watcher) event(e *change) (watch.Event, bool, error) {
	if e.Type == clientv3.EventTypeDelete {
		return w.deleted(e)
	}
	obj, now, err := w.selected(e, false)
	switch {
	case err != nil:
		return watch.Event{}, false, err
	case e.IsCreate():
		return copied(watch.Added, obj, now)
	case w.scan.match.all():
		return copied(watch.Modified, obj, true)
	}
	before := true // where the value before is no longer kept, assume that it was known
	if e.PrevKv != nil {
		if _, before, err = w.selected(e, true); err != nil {
			return watch.Event{}, false, err
		}
	}
	switch {
	case now && before:
		return copied(watch.Modified, obj, true)
	case now:
		return copied(watch.Added, obj, true)
	case before:
		return w.deleted(e)
	}
	return watch.Event{}, false, nil
}

// copied is an event with an object of the watcher's own, if there is one.
func copied(typ watch.EventType, obj client.Object, ok bool) (watch.Event, bool, error) {
	if !ok {
		return watch.Event{}, false, nil
	}
	return watch.Event{Type: typ, Object: obj.DeepCopyObject()}, true, nil
}

// selected is a change's value, which others share, and whether the watch selects it.
func (w *watcher) selected(e *change, prev bool) (client.Object, bool, error) {
	obj, err := e.object(w.c, w.k, prev, w.typ)
	if err != nil {
		return nil, false, err
	}
	if _, meta := obj.(*metav1.PartialObjectMetadata); meta && w.scan.match.needsBody() {
		whole, err := e.object(w.c, w.k, prev, w.k.typ)
		return obj, err == nil && w.scan.match.matches(whole), err
	}
	return obj, w.scan.match.matches(obj), nil
}

// deleted sends the object as it was, or only its name where the value is no longer kept.
func (w *watcher) deleted(e *change) (watch.Event, bool, error) {
	var obj client.Object
	selected := true
	if e.PrevKv == nil {
		name, err := nameIn(w.c.opts.Prefix, w.k.Kind, string(e.Kv.Key))
		if err != nil {
			return watch.Event{}, false, err
		}
		obj = w.proto()
		if u, ok := obj.(runtime.Unstructured); ok {
			u.SetUnstructuredContent(map[string]any{})
		}
		obj.GetObjectKind().SetGroupVersionKind(w.k.GroupVersionKind)
		obj.SetNamespace(name.Namespace)
		obj.SetName(name.Name)
	} else {
		shared, ok, err := w.selected(e, true)
		if err != nil {
			return watch.Event{}, false, err
		}
		obj, selected = shared.DeepCopyObject().(client.Object), ok
	}
	obj.SetResourceVersion(formatRevision(e.Kv.ModRevision))
	return watch.Event{Type: watch.Deleted, Object: obj}, selected, nil
}
