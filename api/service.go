package api

import (
	"fmt"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func defaultService(s *corev1.Service) {
	setDefault(&s.Spec.Type, corev1.ServiceTypeClusterIP)
	setDefault(&s.Spec.SessionAffinity, corev1.ServiceAffinityNone)
	if s.Spec.SessionAffinity == corev1.ServiceAffinityClientIP {
		setPointer(&s.Spec.SessionAffinityConfig, corev1.SessionAffinityConfig{})
		setPointer(&s.Spec.SessionAffinityConfig.ClientIP, corev1.ClientIPConfig{})
		setPointer(&s.Spec.SessionAffinityConfig.ClientIP.TimeoutSeconds, corev1.DefaultClientIPServiceAffinitySeconds)
	}
	if isPublished(s) {
		setDefault(&s.Spec.ExternalTrafficPolicy, corev1.ServiceExternalTrafficPolicyCluster)
	} else {
		letGoOfPorts(s)
	}
	for i := range s.Spec.Ports {
		p := &s.Spec.Ports[i]
		setDefault(&p.Protocol, corev1.ProtocolTCP)
		if p.TargetPort == intstr.FromInt32(0) || p.TargetPort == intstr.FromString("") {
			p.TargetPort = intstr.FromInt32(p.Port)
		}
	}
}

// letGoOfPorts takes the node ports from a service that was given them and is of another
// type now.
func letGoOfPorts(s *corev1.Service) {
	if _, given := s.Annotations[NodePortsAnnotation]; !given {
		return
	}
	delete(s.Annotations, NodePortsAnnotation)
	if len(s.Spec.ExternalIPs) == 0 {
		s.Spec.ExternalTrafficPolicy = ""
	}
	s.Spec.AllocateLoadBalancerNodePorts = nil
	for i := range s.Spec.Ports {
		s.Spec.Ports[i].NodePort = 0
	}
}

// validateService refuses what nothing would act on: health check ports, and limits on who
// may use a load balancer.
func validateService(s *corev1.Service) field.ErrorList {
	p := field.NewPath("spec")
	headless := s.Spec.ClusterIP == corev1.ClusterIPNone
	errs := metav1validation.ValidateLabels(s.Spec.Selector, p.Child("selector"))
	switch s.Spec.Type {
	case corev1.ServiceTypeExternalName:
		errs = append(errs, named(p.Child("externalName"), strings.TrimSuffix(s.Spec.ExternalName, "."), validation.IsDNS1123Subdomain)...)
		if s.Spec.ClusterIP != "" {
			errs = append(errs, field.Forbidden(p.Child("clusterIP"), "may not be set for ExternalName services"))
		}
	default:
		errs = append(errs, oneOf(p.Child("type"), s.Spec.Type, corev1.ServiceTypeClusterIP, corev1.ServiceTypeNodePort, corev1.ServiceTypeLoadBalancer, corev1.ServiceTypeExternalName)...)
		if len(s.Spec.Ports) == 0 && !headless {
			errs = append(errs, field.Required(p.Child("ports"), ""))
		}
		if headless && isPublished(s) {
			errs = append(errs, field.Invalid(p.Child("clusterIP"), s.Spec.ClusterIP, fmt.Sprintf("may not be None for %s services", s.Spec.Type)))
		}
	}
	if ip := s.Spec.ClusterIP; ip != "" && !headless {
		errs = append(errs, validation.IsValidIP(p.Child("clusterIP"), ip)...)
	}
	errs = append(errs, validateOutside(s, p)...)
	errs = append(errs, oneOf(p.Child("sessionAffinity"), s.Spec.SessionAffinity, corev1.ServiceAffinityNone, corev1.ServiceAffinityClientIP)...)
	if c := s.Spec.SessionAffinityConfig; c != nil && c.ClientIP != nil && c.ClientIP.TimeoutSeconds != nil {
		errs = append(errs, invalid(p.Child("sessionAffinityConfig", "clientIP", "timeoutSeconds"), *c.ClientIP.TimeoutSeconds,
			validation.IsInRange(int(*c.ClientIP.TimeoutSeconds), 1, 86400))...)
	}
	return append(errs, validateServicePorts(s, p.Child("ports"))...)
}

// isPublished says that a service is reached by ports of the nodes.
func isPublished(s *corev1.Service) bool {
	return s.Spec.Type == corev1.ServiceTypeNodePort || s.Spec.Type == corev1.ServiceTypeLoadBalancer
}

// validateOutside checks what is said about traffic from outside of the cluster.
func validateOutside(s *corev1.Service, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, text := range s.Spec.ExternalIPs {
		at := p.Child("externalIPs").Index(i)
		a, err := netip.ParseAddr(text)
		switch {
		case err != nil || !a.Is4():
			errs = append(errs, field.Invalid(at, text, "must be an IPv4 address"))
		case a.IsUnspecified() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsMulticast():
			errs = append(errs, field.Invalid(at, text, "may not be unspecified, loopback, link-local or multicast"))
		}
	}
	if len(s.Spec.ExternalIPs) > 0 && s.Spec.Type == corev1.ServiceTypeExternalName {
		errs = append(errs, field.Forbidden(p.Child("externalIPs"), "may not be set for ExternalName services"))
	}
	if e := s.Spec.ExternalTrafficPolicy; e != "" {
		errs = append(errs, oneOf(p.Child("externalTrafficPolicy"), e, corev1.ServiceExternalTrafficPolicyCluster, corev1.ServiceExternalTrafficPolicyLocal)...)
		if !isPublished(s) && len(s.Spec.ExternalIPs) == 0 {
			errs = append(errs, field.Invalid(p.Child("externalTrafficPolicy"), e, "may only be set for services that are reached from outside"))
		}
	}
	if i := s.Spec.InternalTrafficPolicy; i != nil {
		errs = append(errs, oneOf(p.Child("internalTrafficPolicy"), *i, corev1.ServiceInternalTrafficPolicyCluster, corev1.ServiceInternalTrafficPolicyLocal)...)
	}
	if s.Spec.AllocateLoadBalancerNodePorts != nil && s.Spec.Type != corev1.ServiceTypeLoadBalancer {
		errs = append(errs, field.Forbidden(p.Child("allocateLoadBalancerNodePorts"), "may only be set for LoadBalancer services"))
	}
	for name, set := range map[string]bool{"healthCheckNodePort": s.Spec.HealthCheckNodePort != 0, "loadBalancerSourceRanges": len(s.Spec.LoadBalancerSourceRanges) > 0,
		"loadBalancerIP": s.Spec.LoadBalancerIP != "", "loadBalancerClass": s.Spec.LoadBalancerClass != nil} {
		if set {
			errs = append(errs, field.Forbidden(p.Child(name), "is not served"))
		}
	}
	return errs
}

func validateServicePorts(s *corev1.Service, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	ports := s.Spec.Ports
	nodePorts := sets.New[string]()
	names, numbers := sets.New[string](), sets.New[string]()
	for i, sp := range ports {
		at := p.Index(i)
		switch {
		case sp.Name != "":
			errs = append(errs, invalid(at.Child("name"), sp.Name, validation.IsDNS1123Label(sp.Name))...)
			if names.Has(sp.Name) {
				errs = append(errs, field.Duplicate(at.Child("name"), sp.Name))
			}
			names.Insert(sp.Name)
		case len(ports) > 1:
			errs = append(errs, field.Required(at.Child("name"), "where there is more than one port"))
		}
		errs = append(errs, invalid(at.Child("port"), sp.Port, validation.IsValidPortNum(int(sp.Port)))...)
		errs = append(errs, oneOf(at.Child("protocol"), sp.Protocol, corev1.ProtocolTCP, corev1.ProtocolUDP)...)
		errs = append(errs, port(at.Child("targetPort"), sp.TargetPort)...)
		if sp.NodePort != 0 {
			errs = append(errs, validateNodePort(s, sp, at.Child("nodePort"), nodePorts)...)
		}
		key := fmt.Sprintf("%s/%d", sp.Protocol, sp.Port)
		if numbers.Has(key) {
			errs = append(errs, field.Duplicate(at.Child("port"), key))
		}
		numbers.Insert(key)
	}
	return errs
}

func validateNodePort(s *corev1.Service, sp corev1.ServicePort, at *field.Path, seen sets.Set[string]) field.ErrorList {
	if !isPublished(s) {
		return field.ErrorList{field.Forbidden(at, "may not be used when type is "+string(s.Spec.Type))}
	}
	if sp.NodePort < FirstNodePort || sp.NodePort > LastNodePort {
		return field.ErrorList{field.Invalid(at, sp.NodePort, fmt.Sprintf("must be from %d to %d", FirstNodePort, LastNodePort))}
	}
	key := fmt.Sprintf("%s/%d", sp.Protocol, sp.NodePort)
	if seen.Has(key) {
		return field.ErrorList{field.Duplicate(at, key)}
	}
	seen.Insert(key)
	return nil
}

// updateService keeps an address that was given, unless the type changes. It may be
// taken back, so that another is given where two services came to hold the same.
func updateService(n, old *corev1.Service) field.ErrorList {
	if old.Spec.ClusterIP == "" || n.Spec.ClusterIP == "" || n.Spec.Type != old.Spec.Type {
		return nil
	}
	return immutable(n.Spec.ClusterIP, old.Spec.ClusterIP, field.NewPath("spec", "clusterIP"))
}

func defaultEndpoints(e *corev1.Endpoints) {
	for i := range e.Subsets {
		for j := range e.Subsets[i].Ports {
			setDefault(&e.Subsets[i].Ports[j].Protocol, corev1.ProtocolTCP)
		}
	}
}

func validateEndpoints(e *corev1.Endpoints) field.ErrorList {
	var errs field.ErrorList
	for i, s := range e.Subsets {
		at := field.NewPath("subsets").Index(i)
		for name, list := range map[string][]corev1.EndpointAddress{"addresses": s.Addresses, "notReadyAddresses": s.NotReadyAddresses} {
			for j, a := range list {
				errs = append(errs, validation.IsValidIP(at.Child(name).Index(j).Child("ip"), a.IP)...)
			}
		}
		for j, p := range s.Ports {
			errs = append(errs, invalid(at.Child("ports").Index(j).Child("port"), p.Port, validation.IsValidPortNum(int(p.Port)))...)
			errs = append(errs, oneOf(at.Child("ports").Index(j).Child("protocol"), p.Protocol, corev1.ProtocolTCP, corev1.ProtocolUDP)...)
		}
	}
	return errs
}
