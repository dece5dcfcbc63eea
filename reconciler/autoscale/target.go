package autoscale

import (
	"context"
	"fmt"

	ocpappsv1 "github.com/openshift/api/apps/v1"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// target is what an autoscaler scales.
type target struct {
	object   client.Object
	replicas int32
	selector labels.Selector
}

// read reads a target by its kind; the reference's version is not looked at, as OpenShift's
// users write v1, extensions/v1beta1 and others for the same thing.
func read(ctx context.Context, c client.Client, namespace string, ref autoscalingv2.CrossVersionObjectReference) (target, error) {
	var t target
	var err error
	get := func(o client.Object) error {
		t.object = o
		return c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: ref.Name}, o)
	}
	sized := func(n *int32) {
		t.replicas = 1
		if n != nil {
			t.replicas = *n
		}
	}
	var selector *metav1.LabelSelector
	switch ref.Kind {
	case "Deployment":
		var o appsv1.Deployment
		err = get(&o)
		sized(o.Spec.Replicas)
		selector = o.Spec.Selector
	case "ReplicaSet":
		var o appsv1.ReplicaSet
		err = get(&o)
		sized(o.Spec.Replicas)
		selector = o.Spec.Selector
	case "StatefulSet":
		var o appsv1.StatefulSet
		err = get(&o)
		sized(o.Spec.Replicas)
		selector = o.Spec.Selector
	case "DeploymentConfig":
		var o ocpappsv1.DeploymentConfig
		err = get(&o)
		t.replicas = o.Spec.Replicas
		selector = &metav1.LabelSelector{MatchLabels: o.Spec.Selector}
	case "ReplicationController":
		var o corev1.ReplicationController
		err = get(&o)
		sized(o.Spec.Replicas)
		selector = &metav1.LabelSelector{MatchLabels: o.Spec.Selector}
	default:
		return t, fmt.Errorf("%s objects cannot be scaled", ref.Kind)
	}
	if err != nil {
		return t, err
	}
	t.selector, err = metav1.LabelSelectorAsSelector(selector)
	return t, err
}

// Amount is a quantity as numbers are counted here: thousandths of a core, or bytes.
func Amount(name corev1.ResourceName, q resource.Quantity) int64 {
	if name == corev1.ResourceCPU {
		return q.MilliValue()
	}
	return q.Value()
}

func quantity(name corev1.ResourceName, n int64) *resource.Quantity {
	if name == corev1.ResourceCPU {
		return resource.NewMilliQuantity(n, resource.DecimalSI)
	}
	return resource.NewQuantity(n, resource.BinarySI)
}
