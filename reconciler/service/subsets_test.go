package service

import (
	"net/netip"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func pod(name, ip string, change ...func(*corev1.Pod)) corev1.Pod {
	p := corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop", UID: types.UID(name), Labels: map[string]string{"app": "web"}},
		Spec:       corev1.PodSpec{NodeName: "n1", Containers: []corev1.Container{{Name: "c", Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}}}}},
		Status:     corev1.PodStatus{PodIP: ip, Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
	}
	for _, f := range change {
		f(&p)
	}
	return p
}

func unready(p *corev1.Pod)  { p.Status.Conditions[0].Status = corev1.ConditionFalse }
func deleting(p *corev1.Pod) { now := metav1.Now(); p.DeletionTimestamp = &now }
func ended(p *corev1.Pod)    { p.Status.Phase = corev1.PodSucceeded }
func port(n int32) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Spec.Containers[0].Ports[0].ContainerPort = n }
}
func nameless(p *corev1.Pod) { p.Spec.Containers[0].Ports[0].Name = "other" }

func web(change ...func(*corev1.Service)) *corev1.Service {
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop"},
		Spec: corev1.ServiceSpec{Selector: map[string]string{"app": "web"}, Ports: []corev1.ServicePort{
			{Port: 80, TargetPort: intstr.FromString("http")}}},
	}
	for _, f := range change {
		f(s)
	}
	return s
}

// show writes subsets as `ready|notready:ports`, one a word.
func show(subsets []corev1.EndpointSubset) string {
	var words []string
	for _, s := range subsets {
		list := func(as []corev1.EndpointAddress) string {
			var ips []string
			for _, a := range as {
				ips = append(ips, a.IP)
			}
			return strings.Join(ips, ",")
		}
		words = append(words, list(s.Addresses)+"|"+list(s.NotReadyAddresses)+":"+strings.TrimSpace(describe(s.Ports)))
	}
	return strings.Join(words, "; ")
}

func TestSubsets(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		service *corev1.Service
		pods    []corev1.Pod
		want    string
	}{
		"none":               {web(), nil, ""},
		"ready and not":      {web(), []corev1.Pod{pod("b", "10.0.0.2"), pod("a", "10.0.0.1"), pod("c", "10.0.0.3", unready)}, "10.0.0.1,10.0.0.2|10.0.0.3:/TCP/8080"},
		"deleting leaves":    {web(), []corev1.Pod{pod("a", "10.0.0.1", deleting), pod("b", "10.0.0.2")}, "10.0.0.2|:/TCP/8080"},
		"ended leaves":       {web(), []corev1.Pod{pod("a", "10.0.0.1", ended)}, ""},
		"no address yet":     {web(), []corev1.Pod{pod("a", "")}, ""},
		"named port differs": {web(), []corev1.Pod{pod("a", "10.0.0.1"), pod("b", "10.0.0.2", port(9090))}, "10.0.0.1|:/TCP/8080; 10.0.0.2|:/TCP/9090"},
		"named port missing": {web(), []corev1.Pod{pod("a", "10.0.0.1", nameless)}, ""},
		"number": {web(func(s *corev1.Service) { s.Spec.Ports[0].TargetPort = intstr.FromInt32(7000) }),
			[]corev1.Pod{pod("a", "10.0.0.1")}, "10.0.0.1|:/TCP/7000"},
		"two ports, one missing": {web(func(s *corev1.Service) {
			s.Spec.Ports = []corev1.ServicePort{{Name: "x", Port: 80, TargetPort: intstr.FromString("http")}, {Name: "y", Port: 81, TargetPort: intstr.FromString("gone")}}
		}), []corev1.Pod{pod("a", "10.0.0.1")}, "10.0.0.1|:x/TCP/8080"},
		"not ready published": {web(func(s *corev1.Service) { s.Spec.PublishNotReadyAddresses = true }),
			[]corev1.Pod{pod("a", "10.0.0.1", unready)}, "10.0.0.1|:/TCP/8080"},
		"headless without ports": {web(func(s *corev1.Service) { s.Spec.Ports = nil }), []corev1.Pod{pod("a", "10.0.0.1")}, "10.0.0.1|:"},
	} {
		if got := show(Subsets(c.service, c.pods)); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

func TestAllocate(t *testing.T) {
	t.Parallel()
	network := netip.MustParsePrefix("10.9.0.0/28")
	taken := map[netip.Addr]bool{}
	isTaken := func(a netip.Addr) bool { return taken[a] }
	none := func(netip.Addr) bool { return false }
	for i := range 14 {
		a, err := Allocate(network, "shop", string(rune('a'+i)), isTaken)
		if err != nil {
			t.Fatal(err)
		}
		if taken[a] || !network.Contains(a) || a == network.Addr() || a == netip.MustParseAddr("10.9.0.15") {
			t.Fatalf("address %d: %s", i, a)
		}
		taken[a] = true
	}
	if a, err := Allocate(network, "shop", "z", isTaken); err == nil {
		t.Fatalf("a full network gave %s", a)
	}
	first, _ := Allocate(DefaultNetwork, "shop", "web", none)
	again, _ := Allocate(DefaultNetwork, "shop", "web", none)
	if first != again {
		t.Errorf("the same service got %s, then %s", first, again)
	}
	next, _ := Allocate(DefaultNetwork, "shop", "web", func(a netip.Addr) bool { return a == first })
	if next == first {
		t.Error("a taken address was given")
	}
	if _, err := Allocate(netip.MustParsePrefix("10.9.0.0/31"), "a", "b", none); err == nil {
		t.Error("a network without usable addresses passes")
	}
	if a, err := Allocate(netip.MustParsePrefix("fd00::/64"), "a", "b", none); err != nil || !a.Is6() {
		t.Errorf("IPv6: %v %v", a, err)
	}
}
