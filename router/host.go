package router

import (
	"fmt"
	"net"
	"path"
	"strings"

	routev1 "github.com/openshift/api/route/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

// GeneratedAnnotation marks a Route whose host was made by the router.
const GeneratedAnnotation = "openshift.io/host.generated"

// HostFor is the Route's host, or the one that is made for it below the suffix:
// `<subdomain>.<suffix>`, or `<name>-<project>.<suffix>` with the dots of the name as
// dashes. It is empty if there is neither.
func HostFor(route *routev1.Route, suffix string) string {
	switch {
	case route.Spec.Host != "":
		return route.Spec.Host
	case suffix == "":
		return ""
	case route.Spec.Subdomain != "":
		return route.Spec.Subdomain + "." + suffix
	}
	return strings.ReplaceAll(route.Name, ".", "-") + "-" + route.Namespace + "." + suffix
}

// normalHost makes hosts comparable: no port, no final dot, lower case.
func normalHost(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// validHost accepts names of DNS; addresses are no hosts.
func validHost(host string) error {
	if errs := validation.IsDNS1123Subdomain(host); len(errs) > 0 {
		return fmt.Errorf("%q: %s", clip(host), strings.Join(errs, "; "))
	}
	for label := range strings.SplitSeq(host, ".") {
		if len(label) > validation.DNS1123LabelMaxLength {
			return fmt.Errorf("%q: the label %s… is longer than %d characters", clip(host), label[:20], validation.DNS1123LabelMaxLength)
		}
	}
	if net.ParseIP(host) != nil {
		return fmt.Errorf("%q: an address is no host name", host)
	}
	return nil
}

// normalPath is the path by which a request is routed: what a server that resolves dots
// would make of it, so that /public/../admin does not slip past a rule for /admin. The
// backend gets the path as it came.
func normalPath(p string) string {
	if !strings.HasPrefix(p, "/") {
		return "/"
	}
	if !strings.Contains(p, "/.") && !strings.Contains(p, "//") {
		return p
	}
	clean := path.Clean(p)
	if strings.HasSuffix(p, "/") && clean != "/" {
		clean += "/"
	}
	return clean
}

// normalRulePath is a rule's path: / is the same as none, and a final slash is dropped.
func normalRulePath(p string) string { return strings.TrimRight(p, "/") }

// clip keeps tenants' values short in messages.
func clip(s string) string {
	if len(s) > 120 {
		return s[:120] + "…"
	}
	return s
}
