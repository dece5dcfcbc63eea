package remote

import (
	"context"
	"fmt"
	"reflect"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// List implements client.Reader. The list's resourceVersion is the mirror's own, and good for Watch.
func (m *Mirror) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	gvk, err := m.kindOf(list)
	if err != nil {
		return err
	}
	s := m.shelf(gvk)
	if s == nil {
		ctx, cancel := context.WithTimeout(ctx, m.Patience)
		defer cancel()
		return m.WithWatch.List(ctx, list, opts...)
	}
	sel, err := selectorOf(s, opts)
	if err != nil {
		return err
	}
	objects, rev, opened := s.all()
	if !opened {
		return fmt.Errorf("list %s: live state was not seen yet", s.kind.Resource)
	}
	ptr, err := meta.GetItemsPtr(list)
	if err != nil {
		return err
	}
	items := reflect.ValueOf(ptr).Elem()
	out := reflect.MakeSlice(items.Type(), 0, len(objects))
	for _, o := range objects {
		if !sel.matches(o) {
			continue
		}
		item := reflect.New(items.Type().Elem())
		if err := convert(o, item.Interface().(client.Object)); err != nil {
			return err
		}
		out = reflect.Append(out, item.Elem())
	}
	items.Set(out)
	list.SetResourceVersion(strconv.FormatInt(rev, 10))
	list.SetContinue("")
	return nil
}

// Watch implements client.WithWatch: from a revision of List's on, or with an Added event for all there is first. It
// ends with 410 Expired where the revision is too long ago.
func (m *Mirror) Watch(ctx context.Context, list client.ObjectList, opts ...client.ListOption) (watch.Interface, error) {
	gvk, err := m.kindOf(list)
	if err != nil {
		return nil, err
	}
	s := m.shelf(gvk)
	if s == nil {
		return m.WithWatch.Watch(ctx, list, opts...)
	}
	sel, err := selectorOf(s, opts)
	if err != nil {
		return nil, err
	}
	ptr, err := meta.GetItemsPtr(list)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	w := &watcher{shelf: s, sel: sel, item: reflect.TypeOf(ptr).Elem().Elem(), out: make(chan watch.Event, 16), cancel: cancel}
	if sel.revision != "" && sel.revision != "0" {
		if w.rev, err = strconv.ParseInt(sel.revision, 10, 64); err != nil {
			cancel()
			return nil, apierrors.NewBadRequest(fmt.Sprintf("resourceVersion %q is not a revision", sel.revision))
		}
	}
	go w.run(ctx)
	return w, nil
}

type watcher struct {
	shelf  *shelf
	sel    selector
	item   reflect.Type
	rev    int64 // all up to this was sent; 0: nothing
	out    chan watch.Event
	cancel context.CancelFunc
}

func (w *watcher) ResultChan() <-chan watch.Event { return w.out }
func (w *watcher) Stop()                          { w.cancel() }

func (w *watcher) run(ctx context.Context) {
	defer close(w.out)
	defer w.cancel()
	if w.rev == 0 {
		select {
		case <-w.shelf.ready:
		case <-ctx.Done():
			return
		}
		objects, rev, _ := w.shelf.all()
		for _, o := range objects {
			if w.sel.matches(o) && !w.send(ctx, watch.Added, o) {
				return
			}
		}
		w.rev = rev
	}
	for {
		events, lost, news := w.shelf.after(w.rev)
		if lost {
			status := apierrors.NewResourceExpired("this is too long ago, list anew").Status()
			select {
			case w.out <- watch.Event{Type: watch.Error, Object: &status}:
			case <-ctx.Done():
			}
			return
		}
		for _, e := range events {
			if o := e.Object.(client.Object); w.sel.matches(o) && !w.send(ctx, e.Type, o) {
				return
			}
			w.rev++
		}
		if len(events) > 0 {
			continue
		}
		select {
		case <-news:
		case <-ctx.Done():
			return
		}
	}
}

func (w *watcher) send(ctx context.Context, t watch.EventType, o client.Object) bool {
	into := reflect.New(w.item).Interface().(client.Object)
	if err := convert(o, into); err != nil {
		return false
	}
	select {
	case w.out <- watch.Event{Type: t, Object: into}:
		return true
	case <-ctx.Done():
		return false
	}
}

// selector is what a list or watch is limited to.
type selector struct {
	namespace string
	labels    labels.Selector
	fields    fields.Selector
	revision  string
}

func selectorOf(s *shelf, opts []client.ListOption) (selector, error) {
	lo := client.ListOptions{}
	lo.ApplyOptions(opts)
	sel := selector{namespace: lo.Namespace, labels: lo.LabelSelector, fields: lo.FieldSelector}
	if lo.Raw != nil {
		sel.revision = lo.Raw.ResourceVersion
	}
	if sel.fields != nil {
		for _, r := range sel.fields.Requirements() {
			if r.Field != "metadata.name" && r.Field != "metadata.namespace" && r.Field != "spec.nodeName" {
				return sel, fmt.Errorf("%s of %s %w", r.Field, s.kind.Resource, errSelector)
			}
		}
	}
	return sel, nil
}

func (s selector) matches(o client.Object) bool {
	if s.namespace != "" && o.GetNamespace() != s.namespace || s.labels != nil && !s.labels.Matches(labels.Set(o.GetLabels())) {
		return false
	}
	if s.fields == nil || s.fields.Empty() {
		return true
	}
	set := fields.Set{"metadata.name": o.GetName(), "metadata.namespace": o.GetNamespace()}
	if pod, ok := o.(*corev1.Pod); ok {
		set["spec.nodeName"] = pod.Spec.NodeName
	}
	return s.fields.Matches(set)
}

// convert copies an object of the shelf into one of the caller's: of the same type, unstructured, or only its metadata.
func convert(o, into client.Object) error {
	switch to := into.(type) {
	case *unstructured.Unstructured:
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
		if err != nil {
			return err
		}
		to.SetUnstructuredContent(content)
		return nil
	case *metav1.PartialObjectMetadata:
		gvk := o.GetObjectKind().GroupVersionKind()
		to.TypeMeta = metav1.TypeMeta{APIVersion: gvk.GroupVersion().String(), Kind: gvk.Kind}
		from, err := meta.Accessor(o.DeepCopyObject())
		if err != nil {
			return err
		}
		field := reflect.ValueOf(from).Elem().FieldByName("ObjectMeta")
		to.ObjectMeta = field.Interface().(metav1.ObjectMeta)
		return nil
	}
	from, to := reflect.ValueOf(o.DeepCopyObject()), reflect.ValueOf(into)
	if from.Type() != to.Type() {
		return fmt.Errorf("want %T, not %T", o, into)
	}
	to.Elem().Set(from.Elem())
	return nil
}
