package runtime

import (
	"maps"
	"net/netip"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestExpand(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"": "", "plain": "plain", "$(A)": "1", "a$(A)b$(B)": "a1b2", "$(NONE)": "$(NONE)", "$$(A)": "$(A)", "$$$(A)": "$1",
		"$A": "$A", "$": "$", "$(": "$(", "$(A": "$(A", "$()": "$()", "$$": "$", "100%$": "100%$",
	} {
		if got := expand(in, map[string]string{"A": "1", "B": "2"}); got != want {
			t.Errorf("%q: %q, not %q", in, got, want)
		}
	}
}

func FuzzExpand(f *testing.F) {
	for _, s := range []string{"$(A)", "$$(A)", "$(", "$", "a$(A)b", "$((A))"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		// Without a dollar sign nothing changes; with every one doubled, what was doubled
		// comes back.
		if !strings.Contains(s, "$") && expand(s, nil) != s {
			t.Errorf("%q changes", s)
		}
		if got := expand(strings.ReplaceAll(s, "$", "$$"), map[string]string{"A": "1"}); got != s {
			t.Errorf("%q comes back as %q", s, got)
		}
	})
}

func TestServiceVariables(t *testing.T) {
	t.Parallel()
	got := serviceVariables([]corev1.Service{
		{ObjectMeta: metav1.ObjectMeta{Name: "redis-main"}, Spec: corev1.ServiceSpec{ClusterIP: "172.30.0.11", Ports: []corev1.ServicePort{
			{Name: "client-port", Port: 6379}, {Name: "metrics", Port: 9121, Protocol: corev1.ProtocolUDP},
		}}},
		{ObjectMeta: metav1.ObjectMeta{Name: "headless"}, Spec: corev1.ServiceSpec{ClusterIP: "None", Ports: []corev1.ServicePort{{Port: 1}}}},
		{ObjectMeta: metav1.ObjectMeta{Name: "pending"}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 1}}}},
	})
	want := map[string]string{
		"REDIS_MAIN_SERVICE_HOST": "172.30.0.11", "REDIS_MAIN_SERVICE_PORT": "6379",
		"REDIS_MAIN_SERVICE_PORT_CLIENT_PORT": "6379", "REDIS_MAIN_SERVICE_PORT_METRICS": "9121",
		"REDIS_MAIN_PORT": "tcp://172.30.0.11:6379", "REDIS_MAIN_PORT_6379_TCP": "tcp://172.30.0.11:6379",
		"REDIS_MAIN_PORT_6379_TCP_PROTO": "tcp", "REDIS_MAIN_PORT_6379_TCP_PORT": "6379", "REDIS_MAIN_PORT_6379_TCP_ADDR": "172.30.0.11",
		"REDIS_MAIN_PORT_9121_UDP": "udp://172.30.0.11:9121", "REDIS_MAIN_PORT_9121_UDP_PROTO": "udp",
		"REDIS_MAIN_PORT_9121_UDP_PORT": "9121", "REDIS_MAIN_PORT_9121_UDP_ADDR": "172.30.0.11",
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, not %v", got, want)
	}
}

func TestFields(t *testing.T) {
	t.Parallel()
	s := surroundings{
		pod: &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop", UID: "u1", Labels: map[string]string{"b": "2", "a": `1"`}, Annotations: map[string]string{"x.y/z": "v"}},
			Spec:       corev1.PodSpec{NodeName: "n1", ServiceAccountName: "default"},
		},
		addresses: Addresses{Host: netip.MustParseAddr("192.0.2.1"), Pod: netip.MustParseAddr("10.128.0.2")},
		node:      corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("8Gi")},
	}
	for path, want := range map[string]string{
		"metadata.name": "web", "metadata.namespace": "shop", "metadata.uid": "u1", "metadata.labels": "a=\"1\\\"\"\nb=\"2\"",
		"metadata.labels['b']": "2", "metadata.annotations['x.y/z']": "v", "spec.nodeName": "n1",
		"spec.serviceAccountName": "default", "status.podIP": "10.128.0.2", "status.hostIP": "192.0.2.1",
	} {
		if got, err := s.field(path); err != nil || got != want {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
	if _, err := s.field("spec.containers"); err == nil {
		t.Error("spec.containers is no field that may be referred to")
	}
	c := &corev1.Container{Name: "main", Resources: corev1.ResourceRequirements{
		Limits: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1500m")}, Requests: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("64Mi"), corev1.ResourceCPU: resource.MustParse("1009m")},
	}}
	for _, r := range []struct{ resource, divisor, want string }{
		{"limits.cpu", "", "2"}, {"limits.cpu", "1m", "1500"}, {"requests.memory", "1Mi", "64"}, {"limits.memory", "1Gi", "8"}, {"requests.cpu", "", "2"}, {"requests.cpu", "1m", "1009"}, {"requests.memory", "1G", "1"}, {"requests.ephemeral-storage", "", "0"},
	} {
		ref := &corev1.ResourceFieldSelector{Resource: r.resource}
		if r.divisor != "" {
			ref.Divisor = resource.MustParse(r.divisor)
		}
		if got, err := s.resource(c, ref); err != nil || got != r.want {
			t.Errorf("%s by %s: %q, %v, not %q", r.resource, r.divisor, got, err, r.want)
		}
	}
}
