package service

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Subsets makes the Endpoints of a service from the pods that it selects. Pods with
// the same ports come together, ready ones and others apart, in the order of their
// addresses, so that the same pods always give the same result. A pod that is to be
// deleted, has ended, or has no address is left out; so is one that has none of the
// ports which the service names.
func Subsets(s *corev1.Service, pods []corev1.Pod) []corev1.EndpointSubset {
	groups := map[string]*corev1.EndpointSubset{}
	for i := range pods {
		pod := &pods[i]
		if !serves(pod) {
			continue
		}
		ports := portsOf(s, pod)
		if len(ports) == 0 && len(s.Spec.Ports) > 0 {
			continue
		}
		key := describe(ports)
		if groups[key] == nil {
			groups[key] = &corev1.EndpointSubset{Ports: ports}
		}
		if group := groups[key]; ready(pod) || s.Spec.PublishNotReadyAddresses {
			group.Addresses = append(group.Addresses, addressIn(s, pod))
		} else {
			group.NotReadyAddresses = append(group.NotReadyAddresses, addressIn(s, pod))
		}
	}
	var subsets []corev1.EndpointSubset
	for _, group := range groups {
		slices.SortFunc(group.Addresses, byAddress)
		slices.SortFunc(group.NotReadyAddresses, byAddress)
		subsets = append(subsets, *group)
	}
	slices.SortFunc(subsets, func(a, b corev1.EndpointSubset) int {
		return strings.Compare(describe(a.Ports), describe(b.Ports))
	})
	return subsets
}

func serves(pod *corev1.Pod) bool {
	return pod.DeletionTimestamp == nil && pod.Status.PodIP != "" &&
		pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed
}

func ready(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func addressIn(s *corev1.Service, pod *corev1.Pod) corev1.EndpointAddress {
	a := corev1.EndpointAddress{
		IP:        pod.Status.PodIP,
		TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
	}
	if pod.Spec.NodeName != "" {
		a.NodeName = &pod.Spec.NodeName
	}
	if pod.Spec.Hostname != "" && pod.Spec.Subdomain == s.Name {
		a.Hostname = pod.Spec.Hostname
	}
	return a
}

func byAddress(a, b corev1.EndpointAddress) int {
	return cmp.Or(strings.Compare(a.IP, b.IP), strings.Compare(string(a.TargetRef.UID), string(b.TargetRef.UID)))
}

// portsOf finds a service's target ports on a pod. A port that the pod does not have by
// that name is left out.
func portsOf(s *corev1.Service, pod *corev1.Pod) []corev1.EndpointPort {
	var ports []corev1.EndpointPort
	for _, sp := range s.Spec.Ports {
		protocol := cmp.Or(sp.Protocol, corev1.ProtocolTCP)
		if number, ok := target(sp, protocol, pod); ok {
			ports = append(ports, corev1.EndpointPort{Name: sp.Name, Port: number, Protocol: protocol, AppProtocol: sp.AppProtocol})
		}
	}
	return ports
}

func target(sp corev1.ServicePort, protocol corev1.Protocol, pod *corev1.Pod) (int32, bool) {
	if sp.TargetPort.Type == intstr.Int {
		return cmp.Or(sp.TargetPort.IntVal, sp.Port), true
	}
	if sp.TargetPort.StrVal == "" {
		return sp.Port, true
	}
	for _, c := range pod.Spec.Containers {
		for _, p := range c.Ports {
			if p.Name == sp.TargetPort.StrVal && cmp.Or(p.Protocol, corev1.ProtocolTCP) == protocol {
				return p.ContainerPort, true
			}
		}
	}
	return 0, false
}

func describe(ports []corev1.EndpointPort) string {
	var b strings.Builder
	for _, p := range ports {
		fmt.Fprintf(&b, "%s/%s/%d ", p.Name, p.Protocol, p.Port)
	}
	return b.String()
}
