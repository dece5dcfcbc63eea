package api

import (
	"fmt"

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
	for i := range s.Spec.Ports {
		p := &s.Spec.Ports[i]
		setDefault(&p.Protocol, corev1.ProtocolTCP)
		if p.TargetPort == intstr.FromInt32(0) || p.TargetPort == intstr.FromString("") {
			p.TargetPort = intstr.FromInt32(p.Port)
		}
	}
}

// validateService refuses node ports, load balancers and external addresses: traffic
// enters through Routes.
func validateService(s *corev1.Service) field.ErrorList {
	p := field.NewPath("spec")
	headless := s.Spec.ClusterIP == corev1.ClusterIPNone
	errs := metav1validation.ValidateLabels(s.Spec.Selector, p.Child("selector"))
	switch s.Spec.Type {
	case corev1.ServiceTypeNodePort, corev1.ServiceTypeLoadBalancer:
		errs = append(errs, field.NotSupported(p.Child("type"), s.Spec.Type, []corev1.ServiceType{corev1.ServiceTypeClusterIP, corev1.ServiceTypeExternalName}))
	case corev1.ServiceTypeExternalName:
		errs = append(errs, named(p.Child("externalName"), s.Spec.ExternalName, validation.IsDNS1123Subdomain)...)
		if s.Spec.ClusterIP != "" {
			errs = append(errs, field.Forbidden(p.Child("clusterIP"), "may not be set for ExternalName services"))
		}
	default:
		errs = append(errs, oneOf(p.Child("type"), s.Spec.Type, corev1.ServiceTypeClusterIP, corev1.ServiceTypeExternalName)...)
		if len(s.Spec.Ports) == 0 && !headless {
			errs = append(errs, field.Required(p.Child("ports"), ""))
		}
	}
	if ip := s.Spec.ClusterIP; ip != "" && !headless {
		errs = append(errs, validation.IsValidIP(p.Child("clusterIP"), ip)...)
	}
	if len(s.Spec.ExternalIPs) > 0 {
		errs = append(errs, field.Forbidden(p.Child("externalIPs"), "are not supported: publish the service with a Route"))
	}
	errs = append(errs, oneOf(p.Child("sessionAffinity"), s.Spec.SessionAffinity, corev1.ServiceAffinityNone, corev1.ServiceAffinityClientIP)...)
	if c := s.Spec.SessionAffinityConfig; c != nil && c.ClientIP != nil && c.ClientIP.TimeoutSeconds != nil {
		errs = append(errs, invalid(p.Child("sessionAffinityConfig", "clientIP", "timeoutSeconds"), *c.ClientIP.TimeoutSeconds,
			validation.IsInRange(int(*c.ClientIP.TimeoutSeconds), 1, 86400))...)
	}
	return append(errs, validateServicePorts(s.Spec.Ports, p.Child("ports"))...)
}

func validateServicePorts(ports []corev1.ServicePort, p *field.Path) field.ErrorList {
	var errs field.ErrorList
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
			errs = append(errs, field.Forbidden(at.Child("nodePort"), "node ports are not supported: publish the service with a Route"))
		}
		key := fmt.Sprintf("%s/%d", sp.Protocol, sp.Port)
		if numbers.Has(key) {
			errs = append(errs, field.Duplicate(at.Child("port"), key))
		}
		numbers.Insert(key)
	}
	return errs
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
