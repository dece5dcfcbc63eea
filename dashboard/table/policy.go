package table

import (
	"time"

	networkv1 "github.com/openshift/api/network/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func networkPolicyCells(p *networkingv1.NetworkPolicy, now time.Time) []any {
	return []any{p.Name, metav1.FormatLabelSelector(&p.Spec.PodSelector), age(p.CreationTimestamp, now)}
}

func egressPolicyCells(e *networkv1.EgressNetworkPolicy, now time.Time) []any {
	return []any{e.Name, len(e.Spec.Egress), age(e.CreationTimestamp, now)}
}
