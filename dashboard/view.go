package dashboard

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"slipway.dev/slipway/api"
)

// view is a kind as the API serves it.
type view struct {
	api.Kind
	// stored is the kind that is read.
	stored api.Kind
	// show turns an object that was read into what is served, in place.
	show func(*unstructured.Unstructured)
}

func viewOf(k api.Kind) *view {
	return &view{Kind: k, stored: k, show: func(o *unstructured.Unstructured) { mask(k, o) }}
}

// namespaces shows Projects as the Namespaces that kubectl asks for.
func namespaces() *view {
	project, _ := api.KindNamed("Project")
	k := project
	k.GroupVersionKind = corev1.SchemeGroupVersion.WithKind("Namespace")
	k.Resource, k.ShortNames = "namespaces", []string{"ns"}
	return &view{Kind: k, stored: project, show: func(o *unstructured.Unstructured) {
		o.SetGroupVersionKind(k.GroupVersionKind)
		phase := string(corev1.NamespaceActive)
		if o.GetDeletionTimestamp() != nil {
			phase = string(corev1.NamespaceTerminating)
		}
		o.Object["status"] = map[string]any{"phase": phase}
	}}
}

// base is the path of the kind's group and version.
func (v *view) base() string {
	if v.Group == "" {
		return "/api/" + v.Version
	}
	return "/apis/" + v.Group + "/" + v.Version
}

// everyday kinds are those that `get all` lists.
var everyday = map[string]bool{
	"pods": true, "replicationcontrollers": true, "services": true, "deploymentconfigs": true, "buildconfigs": true, "builds": true,
	"imagestreams": true, "routes": true, "jobs": true, "cronjobs": true,
}

func (v *view) resource() metav1.APIResource {
	r := metav1.APIResource{
		Name: v.Resource, SingularName: strings.ToLower(v.Kind.Kind), Namespaced: v.Namespaced, Kind: v.Kind.Kind,
		Verbs: metav1.Verbs{"get", "list", "watch"}, ShortNames: v.ShortNames,
	}
	if everyday[v.Resource] {
		r.Categories = append(r.Categories, "all")
	}
	if v.Group == "slipway.dev" {
		r.Categories = append(r.Categories, "slipway")
	}
	return r
}
