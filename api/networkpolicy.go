package api

import (
	"fmt"
	"net/netip"
	"strings"

	networkv1 "github.com/openshift/api/network/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// defaultNetworkPolicy: a policy is about what comes in, and with rules for what goes out
// about that, too.
func defaultNetworkPolicy(p *networkingv1.NetworkPolicy) {
	if len(p.Spec.PolicyTypes) == 0 {
		p.Spec.PolicyTypes = []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}
		if len(p.Spec.Egress) > 0 {
			p.Spec.PolicyTypes = append(p.Spec.PolicyTypes, networkingv1.PolicyTypeEgress)
		}
	}
	for i := range p.Spec.Ingress {
		defaultPolicyPorts(p.Spec.Ingress[i].Ports)
	}
	for i := range p.Spec.Egress {
		defaultPolicyPorts(p.Spec.Egress[i].Ports)
	}
}

func defaultPolicyPorts(ports []networkingv1.NetworkPolicyPort) {
	for i := range ports {
		setPointer(&ports[i].Protocol, corev1.ProtocolTCP)
	}
}

func validateNetworkPolicy(p *networkingv1.NetworkPolicy) field.ErrorList {
	at := field.NewPath("spec")
	errs := metav1validation.ValidateLabelSelector(&p.Spec.PodSelector, metav1validation.LabelSelectorValidationOptions{}, at.Child("podSelector"))
	for i, t := range p.Spec.PolicyTypes {
		errs = append(errs, oneOf(at.Child("policyTypes").Index(i), t, networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress)...)
	}
	for i, r := range p.Spec.Ingress {
		errs = append(errs, validateTraffic(r.From, r.Ports, at.Child("ingress").Index(i), "from")...)
	}
	for i, r := range p.Spec.Egress {
		errs = append(errs, validateTraffic(r.To, r.Ports, at.Child("egress").Index(i), "to")...)
	}
	return errs
}

func validateTraffic(peers []networkingv1.NetworkPolicyPeer, ports []networkingv1.NetworkPolicyPort, p *field.Path, word string) field.ErrorList {
	var errs field.ErrorList
	for i := range peers {
		errs = append(errs, validatePolicyPeer(&peers[i], p.Child(word).Index(i))...)
	}
	for i := range ports {
		errs = append(errs, validatePolicyPort(&ports[i], p.Child("ports").Index(i))...)
	}
	return errs
}

func validatePolicyPeer(peer *networkingv1.NetworkPolicyPeer, p *field.Path) field.ErrorList {
	selects := peer.PodSelector != nil || peer.NamespaceSelector != nil
	switch {
	case peer.IPBlock == nil && !selects:
		return field.ErrorList{field.Required(p, "must name podSelector, namespaceSelector or ipBlock")}
	case peer.IPBlock != nil && selects:
		return field.ErrorList{field.Forbidden(p, "may not name ipBlock beside podSelector or namespaceSelector")}
	case peer.IPBlock != nil:
		return validateIPBlock(peer.IPBlock, p.Child("ipBlock"))
	}
	var errs field.ErrorList
	if peer.PodSelector != nil {
		errs = append(errs, metav1validation.ValidateLabelSelector(peer.PodSelector, metav1validation.LabelSelectorValidationOptions{}, p.Child("podSelector"))...)
	}
	if peer.NamespaceSelector != nil {
		errs = append(errs, metav1validation.ValidateLabelSelector(peer.NamespaceSelector, metav1validation.LabelSelectorValidationOptions{}, p.Child("namespaceSelector"))...)
	}
	return errs
}

func validateIPBlock(b *networkingv1.IPBlock, p *field.Path) field.ErrorList {
	whole, err := netip.ParsePrefix(b.CIDR)
	if err != nil {
		return field.ErrorList{field.Invalid(p.Child("cidr"), b.CIDR, "must be a network, such as 192.0.2.0/24")}
	}
	var errs field.ErrorList
	for i, text := range b.Except {
		part, err := netip.ParsePrefix(text)
		switch at := p.Child("except").Index(i); {
		case err != nil:
			errs = append(errs, field.Invalid(at, text, "must be a network, such as 192.0.2.0/24"))
		case !whole.Contains(part.Addr()) || part.Bits() <= whole.Bits():
			errs = append(errs, field.Invalid(at, text, "must be a part of "+b.CIDR))
		}
	}
	return errs
}

func validatePolicyPort(port *networkingv1.NetworkPolicyPort, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if port.Protocol != nil {
		errs = append(errs, oneOf(p.Child("protocol"), *port.Protocol, corev1.ProtocolTCP, corev1.ProtocolUDP)...)
	}
	switch {
	case port.Port == nil:
	case port.Port.Type == intstr.Int:
		errs = append(errs, invalid(p.Child("port"), port.Port.IntVal, validation.IsValidPortNum(int(port.Port.IntVal)))...)
	default:
		errs = append(errs, invalid(p.Child("port"), port.Port.StrVal, validation.IsValidPortName(port.Port.StrVal))...)
	}
	if end := port.EndPort; end != nil {
		if port.Port == nil || port.Port.Type == intstr.String {
			return append(errs, field.Forbidden(p.Child("endPort"), "needs a port that is a number"))
		}
		if errs = append(errs, invalid(p.Child("endPort"), *end, validation.IsValidPortNum(int(*end)))...); *end < port.Port.IntVal {
			errs = append(errs, field.Invalid(p.Child("endPort"), *end, "must not be below port"))
		}
	}
	return errs
}

// mostEgressRules is how many rules an EgressNetworkPolicy may have (OpenShift 3).
const mostEgressRules = 50

func validateEgressNetworkPolicy(e *networkv1.EgressNetworkPolicy) field.ErrorList {
	at := field.NewPath("spec", "egress")
	var errs field.ErrorList
	if len(e.Spec.Egress) > mostEgressRules {
		errs = append(errs, field.TooMany(at, len(e.Spec.Egress), mostEgressRules))
	}
	for i, r := range e.Spec.Egress {
		p := at.Index(i)
		errs = append(errs, oneOf(p.Child("type"), r.Type, networkv1.EgressNetworkPolicyRuleAllow, networkv1.EgressNetworkPolicyRuleDeny)...)
		switch to := p.Child("to"); {
		case (r.To.CIDRSelector == "") == (r.To.DNSName == ""):
			errs = append(errs, field.Invalid(to, fmt.Sprint(r.To), "must name either cidrSelector or dnsName"))
		case r.To.DNSName != "":
			errs = append(errs, invalid(to.Child("dnsName"), r.To.DNSName, validation.IsDNS1123Subdomain(strings.ToLower(strings.TrimSuffix(r.To.DNSName, "."))))...)
		default:
			if net, err := netip.ParsePrefix(r.To.CIDRSelector); err != nil || !net.Addr().Is4() {
				errs = append(errs, field.Invalid(to.Child("cidrSelector"), r.To.CIDRSelector, "must be an IPv4 network, such as 192.0.2.0/24"))
			}
		}
	}
	return errs
}
