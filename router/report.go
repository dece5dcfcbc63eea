package router

import (
	"context"
	"maps"

	routev1 "github.com/openshift/api/route/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/state/loop"
)

// report writes into a Route the host that was made for it, and what became of it.
func (r *Router) report(ctx context.Context, key loop.Key) (loop.Result, error) {
	var route routev1.Route
	if err := r.options.Client.Get(ctx, key, &route); err != nil {
		return loop.Result{}, client.IgnoreNotFound(err)
	}
	if route.DeletionTimestamp != nil {
		return loop.Result{}, nil
	}
	if named := withHost(&route, r.options.Suffix); named != nil {
		// The write wakes this loop again, with the host in place.
		return loop.Result{}, client.IgnoreNotFound(r.options.Client.Update(ctx, named))
	}
	v, ok := r.world.verdict(key)
	if !ok || v.Host != HostFor(&route, r.options.Suffix) {
		// Not compiled yet, or not as it is now; the compiler wakes this loop.
		return loop.Result{}, nil
	}
	ingress := reported(&route, v, metav1.NewTime(r.now().Truncate(1e9)))
	if equality.Semantic.DeepEqual(ingress, route.Status.Ingress) {
		return loop.Result{}, nil
	}
	route.Status.Ingress = ingress
	return loop.Result{}, client.IgnoreNotFound(r.options.Client.Status().Update(ctx, &route))
}

// withHost returns the Route with a generated host, nil if it needs none or gets none.
func withHost(route *routev1.Route, suffix string) *routev1.Route {
	host := HostFor(route, suffix)
	if route.Spec.Host != "" || host == "" || validHost(normalHost(host)) != nil {
		return nil
	}
	named := route.DeepCopy()
	named.Spec.Host = host
	named.Annotations = maps.Clone(route.Annotations)
	if named.Annotations == nil {
		named.Annotations = map[string]string{}
	}
	named.Annotations[GeneratedAnnotation] = "true"
	return named
}

// reported is the Route's status.ingress with this router's entry as the verdict has it.
// Other routers' entries stay, and so does the time of a condition that did not change.
func reported(route *routev1.Route, v Verdict, now metav1.Time) []routev1.RouteIngress {
	status := corev1.ConditionTrue
	if !v.Admitted() {
		status = corev1.ConditionFalse
	}
	condition := routev1.RouteIngressCondition{
		Type: routev1.RouteAdmitted, Status: status, Reason: v.Reason, Message: v.Message, LastTransitionTime: &now,
	}
	entry := routev1.RouteIngress{
		Host: v.Host, RouterName: Name, WildcardPolicy: route.Spec.WildcardPolicy,
		Conditions: []routev1.RouteIngressCondition{condition},
	}
	ingress := append([]routev1.RouteIngress(nil), route.Status.Ingress...)
	for i, old := range ingress {
		if old.RouterName != Name {
			continue
		}
		for _, c := range old.Conditions {
			if c.Type == routev1.RouteAdmitted && c.Status == status && c.LastTransitionTime != nil {
				entry.Conditions[0].LastTransitionTime = c.LastTransitionTime
			}
		}
		ingress[i] = entry
		return ingress
	}
	return append(ingress, entry)
}
