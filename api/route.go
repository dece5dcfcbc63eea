package api

import (
	"fmt"
	"strings"

	routev1 "github.com/openshift/api/route/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func defaultRoute(r *routev1.Route) {
	setDefault(&r.Spec.WildcardPolicy, routev1.WildcardPolicyNone)
	defaultBackend(&r.Spec.To)
	for i := range r.Spec.AlternateBackends {
		defaultBackend(&r.Spec.AlternateBackends[i])
	}
	if t := r.Spec.TLS; t != nil {
		if t.DestinationCACertificate == "" {
			setDefault(&t.Termination, routev1.TLSTerminationEdge)
		}
		// Older clients wrote these words with a capital.
		switch t.Termination {
		case "Edge", "Reencrypt", "Passthrough":
			t.Termination = routev1.TLSTerminationType(strings.ToLower(string(t.Termination)))
		}
	}
	for i := range r.Status.Ingress {
		setDefault(&r.Status.Ingress[i].WildcardPolicy, routev1.WildcardPolicyNone)
	}
}

func defaultBackend(b *routev1.RouteTargetReference) {
	setDefault(&b.Kind, "Service")
	setPointer(&b.Weight, 100)
}

func validateRoute(r *routev1.Route) field.ErrorList {
	p := field.NewPath("spec")
	var errs field.ErrorList
	if r.Spec.Host != "" {
		errs = append(errs, validateHost(r, p.Child("host"))...)
	}
	if s := r.Spec.Subdomain; s != "" {
		errs = append(errs, invalid(p.Child("subdomain"), s, validation.IsDNS1123Subdomain(s))...)
	}
	errs = append(errs, oneOf(p.Child("wildcardPolicy"), r.Spec.WildcardPolicy, routev1.WildcardPolicyNone, routev1.WildcardPolicySubdomain)...)
	if r.Spec.WildcardPolicy == routev1.WildcardPolicySubdomain && r.Spec.Host == "" {
		errs = append(errs, field.Required(p.Child("host"), "with wildcardPolicy Subdomain"))
	}
	if path := r.Spec.Path; path != "" {
		switch {
		case !strings.HasPrefix(path, "/"):
			errs = append(errs, field.Invalid(p.Child("path"), path, "path must begin with /"))
		case strings.ContainsFunc(path, func(c rune) bool { return c <= ' ' || c == 0x7f }) || strings.ContainsAny(path, "#?"):
			errs = append(errs, field.Invalid(p.Child("path"), path, "path may not contain white space, control characters, '?' or '#'"))
		}
	}
	errs = append(errs, validateBackends(r, p)...)
	if r.Spec.Port != nil {
		at := p.Child("port", "targetPort")
		switch t := r.Spec.Port.TargetPort; {
		case t == intstr.FromInt32(0) || t == intstr.FromString(""):
			errs = append(errs, field.Required(at, ""))
		case t.Type == intstr.String:
			errs = append(errs, invalid(at, t.StrVal, validation.IsDNS1123Label(t.StrVal))...)
		default:
			errs = append(errs, port(at, t)...)
		}
	}
	if h := r.Spec.HTTPHeaders; h != nil {
		errs = append(errs, validateHeaders(h.Actions.Request, p.Child("httpHeaders", "actions", "request"))...)
		errs = append(errs, validateHeaders(h.Actions.Response, p.Child("httpHeaders", "actions", "response"))...)
		if r.Spec.TLS != nil && r.Spec.TLS.Termination == routev1.TLSTerminationPassthrough {
			errs = append(errs, field.Forbidden(p.Child("httpHeaders"), "passthrough termination does not see headers"))
		}
	}
	return append(errs, validateTLS(r, p.Child("tls"))...)
}

func validateHost(r *routev1.Route, p *field.Path) field.ErrorList {
	host := r.Spec.Host
	errs := invalid(p, host, validation.IsDNS1123Subdomain(host))
	for _, label := range strings.Split(host, ".") {
		if len(label) > validation.DNS1123LabelMaxLength {
			errs = append(errs, field.Invalid(p, host, "each label "+validation.MaxLenError(validation.DNS1123LabelMaxLength)))
		}
	}
	return errs
}

func validateBackends(r *routev1.Route, p *field.Path) field.ErrorList {
	backends := append([]routev1.RouteTargetReference{r.Spec.To}, r.Spec.AlternateBackends...)
	var errs field.ErrorList
	if n := len(r.Spec.AlternateBackends); n > 3 {
		errs = append(errs, field.TooMany(p.Child("alternateBackends"), n, 3))
	}
	names := sets.New[string]()
	for i, b := range backends {
		at := p.Child("to")
		if i > 0 {
			at = p.Child("alternateBackends").Index(i - 1)
		}
		errs = append(errs, oneOf(at.Child("kind"), b.Kind, "Service")...)
		errs = append(errs, named(at.Child("name"), b.Name, validation.IsDNS1123Subdomain)...)
		if b.Weight != nil && (*b.Weight < 0 || *b.Weight > 256) {
			errs = append(errs, field.Invalid(at.Child("weight"), *b.Weight, "weight must be an integer between 0 and 256"))
		}
		if names.Has(b.Name) && b.Name != "" {
			errs = append(errs, field.Duplicate(at.Child("name"), b.Name))
		}
		names.Insert(b.Name)
	}
	return errs
}

func validateHeaders(headers []routev1.RouteHTTPHeader, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(headers) > 20 {
		errs = append(errs, field.TooMany(p, len(headers), 20))
	}
	names := sets.New[string]()
	for i, h := range headers {
		at := p.Index(i)
		errs = append(errs, named(at.Child("name"), h.Name, validation.IsHTTPHeaderName)...)
		switch lower := strings.ToLower(h.Name); {
		case lower == "host" || lower == "cookie" || lower == "set-cookie" || lower == "proxy" || lower == "strict-transport-security":
			errs = append(errs, field.Forbidden(at.Child("name"), fmt.Sprintf("the header %q may not be changed", h.Name)))
		case names.Has(lower):
			errs = append(errs, field.Duplicate(at.Child("name"), h.Name))
		default:
			names.Insert(lower)
		}
		errs = append(errs, oneOf(at.Child("action", "type"), h.Action.Type, routev1.Set, routev1.Delete)...)
		if (h.Action.Type == routev1.Set) != (h.Action.Set != nil) {
			errs = append(errs, field.Required(at.Child("action", "set"), "is required when type is Set, and forbidden otherwise"))
		}
		if s := h.Action.Set; s != nil && (s.Value == "" || strings.ContainsFunc(s.Value, func(c rune) bool { return c < ' ' || c == 0x7f })) {
			errs = append(errs, field.Invalid(at.Child("action", "set", "value"), s.Value, "must not be empty or contain control characters"))
		}
	}
	return errs
}

func validateTLS(r *routev1.Route, p *field.Path) field.ErrorList {
	t := r.Spec.TLS
	if t == nil {
		return nil
	}
	errs := oneOf(p.Child("termination"), t.Termination, routev1.TLSTerminationEdge, routev1.TLSTerminationPassthrough, routev1.TLSTerminationReencrypt)
	policies := []routev1.InsecureEdgeTerminationPolicyType{"", routev1.InsecureEdgeTerminationPolicyNone, routev1.InsecureEdgeTerminationPolicyAllow, routev1.InsecureEdgeTerminationPolicyRedirect}
	only := func(name, value string) {
		if value != "" {
			errs = append(errs, field.Invalid(p.Child(name), "redacted", fmt.Sprintf("%s termination does not support %s", t.Termination, name)))
		}
	}
	switch t.Termination {
	case routev1.TLSTerminationPassthrough:
		policies = []routev1.InsecureEdgeTerminationPolicyType{"", routev1.InsecureEdgeTerminationPolicyNone, routev1.InsecureEdgeTerminationPolicyRedirect}
		only("certificate", t.Certificate)
		only("key", t.Key)
		only("caCertificate", t.CACertificate)
		only("destinationCACertificate", t.DestinationCACertificate)
		if r.Spec.Path != "" {
			errs = append(errs, field.Invalid(field.NewPath("spec", "path"), r.Spec.Path, "passthrough termination does not support paths"))
		}
	case routev1.TLSTerminationEdge:
		only("destinationCACertificate", t.DestinationCACertificate)
	}
	if (t.Certificate == "") != (t.Key == "") {
		errs = append(errs, field.Required(p.Child("key"), "certificate and key go together"))
	}
	if t.ExternalCertificate != nil {
		errs = append(errs, field.Forbidden(p.Child("externalCertificate"), "is not supported: write certificate and key"))
	}
	return append(errs, oneOf(p.Child("insecureEdgeTerminationPolicy"), t.InsecureEdgeTerminationPolicy, policies...)...)
}

func updateRoute(n, old *routev1.Route) field.ErrorList {
	return immutable(n.Spec.WildcardPolicy, old.Spec.WildcardPolicy, field.NewPath("spec", "wildcardPolicy"))
}
