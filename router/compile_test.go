package router

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	routev1 "github.com/openshift/api/route/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
)

var update = flag.Bool("update", false, "write the golden files")

// aWorld is built up by tests.
type aWorld struct {
	World
	age int
}

func newTestWorld() *aWorld {
	return &aWorld{World: World{
		Routes: map[types.NamespacedName]*routev1.Route{}, Services: map[types.NamespacedName]*corev1.Service{},
		Endpoints: map[types.NamespacedName]*corev1.Endpoints{}, Suffix: "apps.example.com",
	}}
}

func split(s string) types.NamespacedName {
	ns, name, _ := strings.Cut(s, "/")
	return types.NamespacedName{Namespace: ns, Name: name}
}

// service adds a service with the ports http (8080) and admin (9090) and its addresses.
func (w *aWorld) service(key string, ips ...string) {
	k := split(key)
	w.Services[k] = &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: k.Namespace, Name: k.Name},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "http", Port: 80}, {Name: "admin", Port: 90}}},
	}
	var addresses []corev1.EndpointAddress
	for _, ip := range ips {
		addresses = append(addresses, corev1.EndpointAddress{IP: ip})
	}
	w.Endpoints[k] = &corev1.Endpoints{
		ObjectMeta: metav1.ObjectMeta{Namespace: k.Namespace, Name: k.Name},
		Subsets: []corev1.EndpointSubset{{
			Addresses: addresses, NotReadyAddresses: []corev1.EndpointAddress{{IP: "10.9.9.9"}},
			Ports: []corev1.EndpointPort{{Name: "admin", Port: 9090}, {Name: "http", Port: 8080}},
		}},
	}
}

// route adds a route to the service of the same project and name; each is younger than
// the one before.
func (w *aWorld) route(key, host string, options ...func(*routev1.Route)) {
	k := split(key)
	w.age++
	r := &routev1.Route{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: k.Namespace, Name: k.Name, UID: types.UID(fmt.Sprint(w.age)), Annotations: map[string]string{},
			CreationTimestamp: metav1.NewTime(time.Unix(int64(w.age), 0)),
		},
		Spec: routev1.RouteSpec{Host: host, To: routev1.RouteTargetReference{Kind: "Service", Name: k.Name}},
	}
	for _, o := range options {
		o(r)
	}
	w.Routes[k] = r
}

func atPath(p string) func(*routev1.Route) { return func(r *routev1.Route) { r.Spec.Path = p } }
func to(name string) func(*routev1.Route) {
	return func(r *routev1.Route) { r.Spec.To.Name = name }
}
func port(p string) func(*routev1.Route) {
	return func(r *routev1.Route) { r.Spec.Port = &routev1.RoutePort{TargetPort: intstr.Parse(p)} }
}
func note(key, value string) func(*routev1.Route) {
	return func(r *routev1.Route) { r.Annotations[key] = value }
}
func secure(termination routev1.TLSTerminationType, insecure routev1.InsecureEdgeTerminationPolicyType) func(*routev1.Route) {
	return func(r *routev1.Route) {
		r.Spec.TLS = &routev1.TLSConfig{Termination: termination, InsecureEdgeTerminationPolicy: insecure}
	}
}
func tlsWith(set func(*routev1.TLSConfig)) func(*routev1.Route) {
	return func(r *routev1.Route) { set(r.Spec.TLS) }
}
func weight(n int32) func(*routev1.Route) {
	return func(r *routev1.Route) { r.Spec.To.Weight = &n }
}
func alternate(name string, n int32) func(*routev1.Route) {
	return func(r *routev1.Route) {
		r.Spec.AlternateBackends = append(r.Spec.AlternateBackends, routev1.RouteTargetReference{Kind: "Service", Name: name, Weight: &n})
	}
}
func wildcard(r *routev1.Route) { r.Spec.WildcardPolicy = routev1.WildcardPolicySubdomain }

func (w *aWorld) String() string {
	t, verdicts := Compile(w.World)
	var b strings.Builder
	b.WriteString(t.String())
	byName := map[string]Verdict{}
	for k, v := range verdicts {
		byName[k.String()] = v
	}
	for _, name := range sortedKeys(byName) {
		if v := byName[name]; !v.Admitted() {
			fmt.Fprintf(&b, "refused %s %q: %s: %s\n", name, v.Host, v.Reason, v.Message)
		}
	}
	return b.String()
}

// TestCompile compares tables with testdata/*.golden; -update writes them.
func TestCompile(t *testing.T) {
	t.Parallel()
	for name, build := range map[string]func(*aWorld){
		"hosts": func(w *aWorld) {
			w.service("shop/web", "10.128.0.2", "10.128.0.3")
			w.route("shop/web", "")
			w.route("shop/web.v2", "", to("web"))
			w.route("shop/named", "Shop.Example.COM.", to("web"))
			w.route("shop/sub", "", to("web"), func(r *routev1.Route) { r.Spec.Subdomain = "front" })
			w.route("shop/"+strings.Repeat("long", 16), "", to("web"))
			w.route("shop/space", "a b.example.com")
			w.route("shop/address", "10.0.0.1")
			w.route("shop/inject", "a.example.com\n  server evil 6.6.6.6")
			w.route("shop/wild", "*.example.com")
		},
		"no-suffix": func(w *aWorld) {
			w.Suffix = ""
			w.route("shop/web", "")
		},
		"claims": func(w *aWorld) {
			w.service("old/web", "10.128.0.2")
			w.service("new/web", "10.128.0.3")
			w.route("old/web", "shop.example.com")
			w.route("new/web", "shop.example.com")
			w.route("new/path", "SHOP.example.com", atPath("/new"))
			w.route("old/path", "shop.example.com", atPath("/api"), to("web"))
			w.route("old/again", "shop.example.com", atPath("/api/"), to("web"))
			// Refused for another reason, and still the holder of its host.
			w.route("old/broken", "broken.example.com", note(annotationTimeout, "soon"))
			w.route("new/thief", "broken.example.com", to("web"))
		},
		"wildcards": func(w *aWorld) {
			w.AllowWildcards = true
			w.service("a/web", "10.128.0.2")
			w.service("b/web", "10.128.0.3")
			w.route("a/web", "www.a.example.com", wildcard)
			w.route("b/below", "x.a.example.com", to("web"))
			w.route("a/below", "x.a.example.com", to("web"))
			w.route("b/web", "www.b.example.com")
			w.route("a/around", "y.b.example.com", wildcard)
		},
		"wildcards-off": func(w *aWorld) { w.route("a/web", "www.a.example.com", wildcard) },
		"paths": func(w *aWorld) {
			w.service("shop/web", "10.128.0.2")
			for i, p := range []string{"/", "/a", "/a/b", "/ab", "nope"} {
				w.route(fmt.Sprintf("shop/p%d", i), "shop.example.com", atPath(p), to("web"))
			}
		},
		"ports": func(w *aWorld) {
			w.service("shop/web", "10.128.0.2")
			w.route("shop/web", "")
			w.route("shop/name", "", to("web"), port("admin"))
			w.route("shop/number", "", to("web"), port("9090"))
			w.route("shop/none", "", to("web"), port("nothing"))
			w.route("shop/missing", "", to("missing"))
		},
		"weights": func(w *aWorld) {
			w.service("shop/a", "10.128.0.1", "10.128.0.2")
			w.service("shop/b", "10.128.0.3")
			w.service("shop/empty")
			w.route("shop/even", "", to("a"), alternate("b", 100))
			w.route("shop/canary", "", to("a"), weight(99), alternate("b", 1))
			w.route("shop/off", "", to("a"), weight(0), alternate("b", 10))
			w.route("shop/gone", "", to("empty"), weight(200), alternate("b", 1))
			w.route("shop/many", "", to("a"), alternate("b", 1), alternate("b", 1), alternate("b", 1), alternate("b", 1))
			w.route("shop/heavy", "", to("a"), weight(257))
		},
		"tls": func(w *aWorld) {
			w.service("shop/web", "10.128.0.2")
			cert, key := certificate(t, "tls.example.com")
			own := func(c *routev1.TLSConfig) { c.Certificate, c.Key = cert, key }
			w.route("shop/edge", "", to("web"), secure("edge", ""))
			w.route("shop/edge-own", "", to("web"), secure("edge", "Redirect"), tlsWith(own))
			w.route("shop/edge-allow", "", to("web"), secure("edge", "Allow"))
			w.route("shop/pass", "", to("web"), secure("passthrough", "Redirect"))
			w.route("shop/re", "", to("web"), secure("reencrypt", "None"))
			w.route("shop/re-ca", "", to("web"), secure("reencrypt", "None"), tlsWith(func(c *routev1.TLSConfig) { c.DestinationCACertificate = cert }))
			w.route("shop/x-ca", "", to("web"), secure("reencrypt", "None"), tlsWith(func(c *routev1.TLSConfig) { c.DestinationCACertificate = "nope" }))
			w.route("shop/x-key", "", to("web"), secure("edge", ""), tlsWith(func(c *routev1.TLSConfig) { c.Certificate, c.Key = cert, "SECRET" }))
			w.route("shop/x-half", "", to("web"), secure("edge", ""), tlsWith(func(c *routev1.TLSConfig) { c.Certificate = cert }))
			w.route("shop/x-pass-path", "", to("web"), secure("passthrough", ""), atPath("/a"))
			w.route("shop/x-pass-allow", "", to("web"), secure("passthrough", "Allow"))
			w.route("shop/x-termination", "", to("web"), secure("magic", ""))
			w.route("shop/x-policy", "", to("web"), secure("edge", "Sometimes"))
		},
		"annotations": func(w *aWorld) {
			w.service("shop/web", "10.128.0.2")
			n := 0
			add := func(key, value string) {
				n++
				w.route(fmt.Sprintf("shop/r%02d", n), "", to("web"), secure("edge", ""), note(key, value))
			}
			for _, v := range []string{"5s", "100", "1h", "999999999d", "soon", "-1s", "1s\n"} {
				add(annotationTimeout, v)
			}
			for _, v := range []string{"source", "roundrobin", "leastconn", "fair"} {
				add(annotationBalance, v)
			}
			for _, v := range []string{"true", "false", "maybe"} {
				add(annotationCookies, v)
			}
			add(annotationCookie, "session")
			add(annotationCookie, "bad;name")
			for _, v := range []string{"10.0.0.1 192.168.0.0/16", "fe80::/10", " ", "10.0.0.1,10.0.0.2"} {
				add(annotationAllow, v)
			}
			for _, v := range []string{"max-age=31536000;includeSubDomains;preload", "max-age=1\r\nX-Evil: 1", "forever"} {
				add(annotationHSTS, v)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newTestWorld()
			build(w)
			got := w.String()
			file := filepath.Join("testdata", name+".golden")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			if strings.Contains(got, "SECRET") {
				t.Error("a key is in the output")
			}
		})
	}
}

func TestMatch(t *testing.T) {
	t.Parallel()
	w := newTestWorld()
	w.AllowWildcards = true
	w.route("s/root", "h.example.com")
	w.route("s/a", "h.example.com", atPath("/a"))
	w.route("s/ab", "h.example.com", atPath("/a/b/"))
	w.route("s/only", "only.example.com", atPath("/only"))
	w.route("s/wild", "x.wild.example.com", wildcard)
	table, _ := Compile(w.World)
	for _, k := range []struct{ host, path, want string }{
		{"h.example.com", "/", "s/root"}, {"H.EXAMPLE.com:8080", "/", "s/root"}, {"h.example.com.", "/", "s/root"},
		{"h.example.com", "/a", "s/a"}, {"h.example.com", "/a/", "s/a"}, {"h.example.com", "/abc", "s/root"},
		{"h.example.com", "/a/b", "s/ab"}, {"h.example.com", "/a/b/c", "s/ab"}, {"h.example.com", "/x/../a/b", "s/ab"},
		{"h.example.com", "/a/../x", "s/root"}, {"h.example.com", "//a", "s/a"}, {"h.example.com", "/a/./b/", "s/ab"},
		{"h.example.com", "*", "s/root"}, {"h.example.com", "", "s/root"},
		{"only.example.com", "/", ""}, {"only.example.com", "/only/x", "s/only"},
		{"other.wild.example.com", "/", "s/wild"}, {"a.b.wild.example.com", "/", ""}, {"wild.example.com", "/", ""},
		{"", "/", ""}, {"example.com", "/", ""},
	} {
		got := ""
		if r := table.Match(normalHost(k.host), normalPath(k.path)); r != nil {
			got = r.Route.String()
		}
		if got != k.want {
			t.Errorf("%s%s: got %q, want %q", k.host, k.path, got, k.want)
		}
	}
}

func TestReported(t *testing.T) {
	t.Parallel()
	then, now := metav1.Unix(1000, 0), metav1.Unix(2000, 0)
	other := routev1.RouteIngress{Host: "h", RouterName: "other"}
	route := &routev1.Route{Status: routev1.RouteStatus{Ingress: []routev1.RouteIngress{other}}}
	route.Status.Ingress = reported(route, Verdict{Host: "h"}, then)
	if len(route.Status.Ingress) != 2 || route.Status.Ingress[0].RouterName != "other" || route.Status.Ingress[1].Conditions[0].Status != corev1.ConditionTrue {
		t.Fatalf("%+v", route.Status.Ingress)
	}
	if got := reported(route, Verdict{Host: "h"}, now); !got[1].Conditions[0].LastTransitionTime.Equal(&then) {
		t.Errorf("the time changed though nothing did: %+v", got[1])
	}
	got := reported(route, Verdict{Host: "h", Reason: ReasonHostAlreadyClaimed, Message: "m"}, now)
	if c := got[1].Conditions[0]; c.Status != corev1.ConditionFalse || c.Reason != ReasonHostAlreadyClaimed || !c.LastTransitionTime.Equal(&now) {
		t.Errorf("%+v", c)
	}
}
