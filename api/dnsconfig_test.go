package api_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"slipway.dev/slipway/api"
)

// plainPod has one container, and is changed.
func plainPod(change func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}, Spec: corev1.PodSpec{
		Containers: []corev1.Container{{Name: "main", Image: "web:1"}},
	}}
	change(p)
	api.Default(p)
	return p
}

func TestDNSConfig(t *testing.T) {
	t.Parallel()
	value := "2\nnameserver 192.0.2.66"
	for want, c := range map[string]corev1.PodDNSConfig{
		"":                                {Nameservers: []string{"192.0.2.1", "2001:db8::1"}, Searches: []string{"example.com.", "_a.example", "."}, Options: []corev1.PodDNSConfigOption{{Name: "edns0"}}},
		"spec.dnsConfig.nameservers[0]":   {Nameservers: []string{"192.0.2.1\noptions x"}},
		"more than 3 nameservers":         {Nameservers: []string{"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"}},
		"spec.dnsConfig.searches[0]":      {Searches: []string{"a\nnameserver 192.0.2.66"}},
		"more than 32 search paths":       {Searches: strings.Split(strings.Repeat("a ", 33), " ")},
		"more than 2048 characters":       {Searches: []string{strings.Repeat("a.", 1025)}},
		"spec.dnsConfig.options[0].value": {Options: []corev1.PodDNSConfigOption{{Name: "ndots", Value: &value}}},
		"spec.dnsConfig.options[0].name":  {Options: []corev1.PodDNSConfigOption{{Name: "a b"}}},
	} {
		errs := api.Validate(plainPod(func(p *corev1.Pod) { p.Spec.DNSConfig = &c }))
		if got := errs.ToAggregate(); want == "" && got != nil || want != "" && (got == nil || !strings.Contains(got.Error(), want)) {
			t.Errorf("%q: %v", want, got)
		}
	}
}

// A probe is made by the node, which reaches more than the pod does.
func TestProbesAskTheirOwnPodOnly(t *testing.T) {
	t.Parallel()
	get := &corev1.HTTPGetAction{Host: "192.0.2.7", Port: intstr.FromInt32(80)}
	socket := &corev1.TCPSocketAction{Host: "db.other.svc", Port: intstr.FromInt32(80)}
	for field, change := range map[string]func(*corev1.Container){
		"livenessProbe.httpGet.host": func(c *corev1.Container) {
			c.LivenessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: get}}
		},
		"readinessProbe.tcpSocket.host": func(c *corev1.Container) {
			c.ReadinessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: socket}}
		},
		"lifecycle.postStart.httpGet.host": func(c *corev1.Container) {
			c.Lifecycle = &corev1.Lifecycle{PostStart: &corev1.LifecycleHandler{HTTPGet: get}}
		},
	} {
		err := api.Validate(plainPod(func(p *corev1.Pod) { change(&p.Spec.Containers[0]) })).ToAggregate()
		if err == nil || !strings.Contains(err.Error(), "spec.containers[0]."+field) {
			t.Errorf("%s: %v", field, err)
		}
	}
}
