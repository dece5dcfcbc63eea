package reconciler

import (
	"context"
	"fmt"
	"slices"
	"strings"

	appsv1 "github.com/openshift/api/apps/v1"
	kappsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// keeper is an object that keeps pods of a template running.
type keeper struct {
	kind, namespace, name string
	pod                   *corev1.PodSpec
}

func keepersIn(ctx context.Context, c client.Client, project string) ([]keeper, error) {
	var configs appsv1.DeploymentConfigList
	var deployments kappsv1.DeploymentList
	var sets kappsv1.StatefulSetList
	var daemons kappsv1.DaemonSetList
	for _, list := range []client.ObjectList{&configs, &deployments, &sets, &daemons} {
		if err := c.List(ctx, list, client.InNamespace(project)); err != nil {
			return nil, fmt.Errorf("read what runs in %s: %w", project, err)
		}
	}
	var out []keeper
	for i := range configs.Items {
		if o := &configs.Items[i]; o.Spec.Template != nil {
			out = append(out, keeper{"DeploymentConfig", o.Namespace, o.Name, &o.Spec.Template.Spec})
		}
	}
	for i := range deployments.Items {
		o := &deployments.Items[i]
		out = append(out, keeper{"Deployment", o.Namespace, o.Name, &o.Spec.Template.Spec})
	}
	for i := range sets.Items {
		o := &sets.Items[i]
		out = append(out, keeper{"StatefulSet", o.Namespace, o.Name, &o.Spec.Template.Spec})
	}
	for i := range daemons.Items {
		o := &daemons.Items[i]
		out = append(out, keeper{"DaemonSet", o.Namespace, o.Name, &o.Spec.Template.Spec})
	}
	return out, nil
}

// rollsOut says that an object replaces its pods by itself when its template changes.
func rollsOut(o *unstructured.Unstructured) bool {
	switch o.GetKind() {
	case "DeploymentConfig":
		return hasConfigChange(o)
	case "Deployment":
		paused, _, _ := unstructured.NestedBool(o.Object, "spec", "paused")
		return !paused
	case "StatefulSet", "DaemonSet":
		how, _, _ := unstructured.NestedString(o.Object, "spec", "updateStrategy", "type")
		return how != "OnDelete"
	}
	return false
}

// podsOf are the pods that an object keeps and that are not being deleted.
func podsOf(kind, name string, pods []corev1.Pod) []corev1.Pod {
	return slices.DeleteFunc(slices.Clone(pods), func(p corev1.Pod) bool {
		return p.DeletionTimestamp != nil || !keptBy(kind, name, &p)
	})
}

func keptBy(kind, name string, p *corev1.Pod) bool {
	if kind == "DeploymentConfig" {
		return p.Labels["deploymentconfig"] == name
	}
	owner := metav1.GetControllerOf(p)
	if owner == nil {
		return false
	}
	if kind == "Deployment" {
		set, ours := strings.CutSuffix(owner.Name, "-"+p.Labels[kappsv1.DefaultDeploymentUniqueLabelKey])
		return owner.Kind == "ReplicaSet" && ours && set == name
	}
	return owner.Kind == kind && owner.Name == name
}
