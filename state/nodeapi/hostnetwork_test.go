package nodeapi_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
)

// TestAPodInTheNetworkOfItsNodeHasTheNodesAddress, and no other: endpoints are made of it.
func TestAPodInTheNetworkOfItsNodeHasTheNodesAddress(t *testing.T) {
	t.Parallel()
	s, c, _ := world(t)
	ctx := t.Context()
	var node corev1.Node
	s.must(s.state.Get(ctx, client.ObjectKey{Name: "mine"}, &node))
	metav1.SetMetaDataAnnotation(&node.ObjectMeta, api.NodeAddress, "192.0.2.7")
	s.must(s.state.Update(ctx, &node))
	agent := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "agent"}, Spec: corev1.PodSpec{
		NodeName: "mine", HostNetwork: true, Containers: []corev1.Container{{Name: "main", Image: "agent"}},
	}}
	s.must(s.state.Create(ctx, agent))
	for _, ip := range []string{"10.128.2.9", "192.0.2.8", "nonsense"} {
		lie := agent.DeepCopy()
		lie.Status.PodIP = ip
		s.refused(c.Status().Update(ctx, lie), "not the node's own, 192.0.2.7")
		lie.Status.PodIP, lie.Status.PodIPs = "192.0.2.7", []corev1.PodIP{{IP: ip}}
		s.refused(c.Status().Update(ctx, lie), "not the node's own, 192.0.2.7")
	}
	agent.Status.PodIP = "192.0.2.7"
	s.must(c.Status().Update(ctx, agent))
}
