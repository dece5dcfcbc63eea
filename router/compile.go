package router

import (
	"fmt"
	"slices"
	"strings"

	routev1 "github.com/openshift/api/route/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"slipway.dev/slipway/api"
)

// The reasons of a Route that is not admitted, as OpenShift's router gives them.
const (
	ReasonHostAlreadyClaimed = "HostAlreadyClaimed"
	ReasonNoHost             = "NoHostValue"
	ReasonInvalidHost        = "InvalidHost"
	ReasonNotAdmitted        = "RouteNotAdmitted"
	ReasonInvalid            = "ExtendedValidationFailed"
)

// World is what a table is made from.
type World struct {
	Routes    map[types.NamespacedName]*routev1.Route
	Services  map[types.NamespacedName]*corev1.Service
	Endpoints map[types.NamespacedName]*corev1.Endpoints
	// Suffix is the domain of generated hosts.
	Suffix string
	// AllowWildcards admits routes with wildcardPolicy Subdomain.
	AllowWildcards bool
}

// Verdict is what became of a Route.
type Verdict struct {
	Host string
	// Reason and Message are empty for an admitted Route.
	Reason  string
	Message string
}

// Admitted says whether the Route is served.
func (v Verdict) Admitted() bool { return v.Reason == "" }

// Compile decides which Routes are served, and how. The oldest Route of a host claims
// it for its project; of two with the same host and path the older one wins. A Route
// which is refused for another reason keeps its claim: mending it must not find the host
// taken by somebody else.
func Compile(w World) (*Table, map[types.NamespacedName]Verdict) {
	verdicts := make(map[types.NamespacedName]Verdict, len(w.Routes))
	claims := claims{hosts: map[string]*routev1.Route{}, paths: map[string]*routev1.Route{}}
	var rules []*Rule
	for _, route := range byAge(w.Routes) {
		key := types.NamespacedName{Namespace: route.Namespace, Name: route.Name}
		host := HostFor(route, w.Suffix)
		v := Verdict{Host: host}
		v.Reason, v.Message = w.admit(route, host, claims)
		if v.Admitted() {
			rule, err := compileRule(w, route, normalHost(host))
			if err != nil {
				v.Reason, v.Message = ReasonInvalid, err.Error()
			} else {
				rules = append(rules, rule)
			}
		}
		verdicts[key] = v
	}
	return newTable(rules), verdicts
}

func byAge(routes map[types.NamespacedName]*routev1.Route) []*routev1.Route {
	all := make([]*routev1.Route, 0, len(routes))
	for _, r := range routes {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b *routev1.Route) int {
		return api.Older(a, b)
	})
	return all
}

// claims remember who was first.
type claims struct {
	// hosts and the domains of wildcards (as `*.domain`) by their oldest route.
	hosts map[string]*routev1.Route
	// paths by host and path.
	paths map[string]*routev1.Route
}

func (w World) admit(route *routev1.Route, host string, c claims) (reason, message string) {
	if host == "" {
		return ReasonNoHost, "spec.host: empty, and the router has no suffix to make one"
	}
	name := normalHost(host)
	if err := validHost(name); err != nil {
		return ReasonInvalidHost, fmt.Sprintf("spec.host: %v", err)
	}
	if route.Spec.WildcardPolicy == routev1.WildcardPolicySubdomain {
		if !w.AllowWildcards {
			return ReasonNotAdmitted, "spec.wildcardPolicy: this router does not admit wildcard routes"
		}
		name = "*." + domainOf(name)
	}
	// A wildcard and a name below it are one claim: who has the one decides on the other.
	for _, related := range []string{name, "*." + domainOf(name)} {
		if owner := c.hosts[related]; owner != nil && owner.Namespace != route.Namespace {
			return ReasonHostAlreadyClaimed, fmt.Sprintf("project %s holds the host %s", owner.Namespace, related)
		}
	}
	if strings.HasPrefix(name, "*.") {
		for taken, owner := range c.hosts {
			if owner.Namespace != route.Namespace && domainOf(taken) == domainOf(name) {
				return ReasonHostAlreadyClaimed, fmt.Sprintf("project %s holds the host %s", owner.Namespace, taken)
			}
		}
	}
	if c.hosts[name] == nil {
		c.hosts[name] = route
	}
	at := name + normalRulePath(route.Spec.Path)
	if owner := c.paths[at]; owner != nil {
		return ReasonHostAlreadyClaimed, fmt.Sprintf("route %s/%s is older and has the same host and path", owner.Namespace, owner.Name)
	}
	c.paths[at] = route
	return "", ""
}

func domainOf(host string) string {
	_, domain, _ := strings.Cut(host, ".")
	return domain
}
