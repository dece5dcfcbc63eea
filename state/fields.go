package state

import (
	"fmt"
	"reflect"
	"sync"

	appsfields "github.com/openshift/client-go/apps/applyconfigurations"
	buildfields "github.com/openshift/client-go/build/applyconfigurations"
	imagefields "github.com/openshift/client-go/image/applyconfigurations"
	networkfields "github.com/openshift/client-go/network/applyconfigurations"
	projectfields "github.com/openshift/client-go/project/applyconfigurations"
	routefields "github.com/openshift/client-go/route/applyconfigurations"
	securityfields "github.com/openshift/client-go/security/applyconfigurations"
	templatefields "github.com/openshift/client-go/template/applyconfigurations"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	kubefields "k8s.io/client-go/applyconfigurations"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
)

// lazyManager is a field manager that is made when it is first needed.
type lazyManager struct {
	once    sync.Once
	manager *managedfields.FieldManager
	convert managedfields.TypeConverter
	err     error
}

// fields is the kind's field manager, for its status or for all else.
func (k *kindInfo) fields(status bool) (*managedfields.FieldManager, error) {
	lazy, sub := &k.main, ""
	if status {
		lazy, sub = &k.sub, "status"
	}
	lazy.once.Do(func() {
		if lazy.convert, lazy.err = schemaOf(k.Group); lazy.err != nil {
			return
		}
		newManager := managedfields.NewDefaultFieldManager
		if k.Group == v1alpha1.GroupVersion.Group {
			newManager = managedfields.NewDefaultCRDFieldManager
		}
		lazy.manager, lazy.err = newManager(lazy.convert, inPlace{k}, inPlace{k}, api.Scheme(), k.GroupVersionKind, k.GroupVersion(), sub, nil)
	})
	return lazy.manager, lazy.err
}

// schemaOf says how lists and maps of a group's kinds merge: by the schemas that come with the groups'
// client libraries. Slipway's own kinds have none; their lists are owned as a whole.
func schemaOf(group string) (managedfields.TypeConverter, error) {
	s := api.Scheme()
	switch group {
	case "apps.openshift.io":
		return appsfields.NewTypeConverter(s), nil
	case "build.openshift.io":
		return buildfields.NewTypeConverter(s), nil
	case "image.openshift.io":
		return imagefields.NewTypeConverter(s), nil
	case "network.openshift.io":
		return networkfields.NewTypeConverter(s), nil
	case "project.openshift.io":
		return projectfields.NewTypeConverter(s), nil
	case "route.openshift.io":
		return routefields.NewTypeConverter(s), nil
	case "security.openshift.io":
		return securityfields.NewTypeConverter(s), nil
	case "template.openshift.io":
		return templatefields.NewTypeConverter(s), nil
	case v1alpha1.GroupVersion.Group:
		return managedfields.NewDeducedTypeConverter(), nil
	case "", "apps", "autoscaling", "batch", "networking.k8s.io", "policy", "rbac.authorization.k8s.io", "scheduling.k8s.io":
		return kubefields.NewTypeConverter(s), nil
	}
	return nil, fmt.Errorf("no schema for the kinds of group %q", group)
}

// track notes in next who owns what changed. Events are not tracked: they have one writer and come
// in numbers.
func (w write) track(next, live client.Object) error {
	if w.Kind.Kind == "Event" {
		next.SetManagedFields(nil)
		return nil
	}
	if !w.tracked {
		fields, err := w.fields(w.status)
		if err != nil {
			return err
		}
		from := live
		if from == nil {
			from = w.new()
		}
		fields.UpdateNoErrors(from, next, w.manager)
	}
	if live != nil {
		keepTimes(next, live)
	}
	return nil
}

// keepTimes gives an entry that did not change its old time, so that a write without effect is seen
// to be one.
func keepTimes(next, live client.Object) {
	old := live.GetManagedFields()
	entries := next.GetManagedFields()
	for i := range entries {
		for _, o := range old {
			same := entries[i]
			same.Time = o.Time
			if reflect.DeepEqual(same, o) {
				entries[i].Time = o.Time
			}
		}
	}
	next.SetManagedFields(entries)
}

// inPlace is the converter and defaulter of a world with one version of each kind: objects are already
// what they are to be, and defaults are set elsewhere.
type inPlace struct{ kind *kindInfo }

func (inPlace) Default(runtime.Object) {}

func (inPlace) Convert(in, out, _ any) error {
	return fmt.Errorf("convert %T to %T: there is one version of each kind", in, out)
}

func (inPlace) ConvertFieldLabel(_ schema.GroupVersionKind, label, value string) (string, string, error) {
	return label, value, nil
}

func (p inPlace) ConvertToVersion(in runtime.Object, _ runtime.GroupVersioner) (runtime.Object, error) {
	u, ok := in.(runtime.Unstructured)
	if !ok {
		in.GetObjectKind().SetGroupVersionKind(p.kind.GroupVersionKind)
		return in, nil
	}
	out := p.kind.new()
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.UnstructuredContent(), out); err != nil {
		return nil, err
	}
	out.GetObjectKind().SetGroupVersionKind(p.kind.GroupVersionKind)
	return out, nil
}
