package router

import (
	"context"
	"fmt"
	"net/http/httptest"
	"testing"
	"time"

	routev1 "github.com/openshift/api/route/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/state/loop"
	"slipway.dev/slipway/state/statetest"
)

// eventually polls until the condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if holds() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

func create(t *testing.T, c client.Client, objects ...client.Object) {
	t.Helper()
	for _, o := range objects {
		if err := c.Create(context.Background(), o); err != nil {
			t.Fatalf("%T %s: %v", o, o.GetName(), err)
		}
	}
}

func serviceAndEndpoints(ns string, p *pod) (*corev1.Service, *corev1.Endpoints) {
	meta := metav1.ObjectMeta{Namespace: ns, Name: "web"}
	return &corev1.Service{ObjectMeta: meta, Spec: corev1.ServiceSpec{ClusterIP: "172.30.0.1", Ports: []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromInt32(8080), Protocol: corev1.ProtocolTCP}}}},
		&corev1.Endpoints{ObjectMeta: meta, Subsets: []corev1.EndpointSubset{{
			Addresses: []corev1.EndpointAddress{{IP: p.addr.IP.String()}},
			Ports:     []corev1.EndpointPort{{Name: "http", Port: int32(p.addr.Port), Protocol: corev1.ProtocolTCP}},
		}}}
}

func TestControllers(t *testing.T) {
	t.Parallel()
	c := statetest.New(t)
	ctx, cancel := context.WithCancel(context.Background())
	r, err := New(Options{Client: c, HTTP: "127.0.0.1:0", Log: quiet(), Suffix: "apps.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 2)
	go func() { ended <- r.Serve(ctx) }()
	go func() { loop.Run(ctx, c, quiet(), r.Controllers()...); ended <- nil }()
	defer func() {
		cancel()
		for range 2 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	}()
	e := &edge{Router: r, t: t}
	a, b := startPod(t, "a", "127.0.0.2", nil, nil), startPod(t, "b", "127.0.0.3", nil, nil)
	svc, ep := serviceAndEndpoints("shop", a)
	web := &routev1.Route{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}, Spec: routev1.RouteSpec{To: routev1.RouteTargetReference{Kind: "Service", Name: "web"}}}
	create(t, c, svc, ep, web)
	eventually(t, "the route is served", func() bool { return e.get("http://web-shop.apps.example.com/").body == "a" })

	// The host is written into the route, and the status says that it is admitted.
	key := client.ObjectKeyFromObject(web)
	condition := func(key client.ObjectKey) (routev1.Route, routev1.RouteIngressCondition) {
		var got routev1.Route
		if err := c.Get(ctx, key, &got); err != nil {
			t.Fatal(err)
		}
		for _, i := range got.Status.Ingress {
			if i.RouterName == Name && len(i.Conditions) == 1 {
				return got, i.Conditions[0]
			}
		}
		return got, routev1.RouteIngressCondition{}
	}
	eventually(t, "admitted", func() bool {
		got, cond := condition(key)
		return got.Spec.Host == "web-shop.apps.example.com" && got.Annotations[GeneratedAnnotation] == "true" && cond.Status == corev1.ConditionTrue
	})

	// Endpoints move.
	if err := c.Get(ctx, client.ObjectKeyFromObject(ep), ep); err != nil {
		t.Fatal(err)
	}
	_, moved := serviceAndEndpoints("shop", b)
	ep.Subsets = moved.Subsets
	if err := c.Update(ctx, ep); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the other pod serves", func() bool { return e.get("http://web-shop.apps.example.com/").body == "b" })

	// Another project wants the host, and is told why it does not get it.
	thief := &routev1.Route{ObjectMeta: metav1.ObjectMeta{Namespace: "thief", Name: "web"}, Spec: routev1.RouteSpec{Host: "web-shop.apps.example.com", To: routev1.RouteTargetReference{Kind: "Service", Name: "web"}}}
	create(t, c, thief)
	eventually(t, "refused", func() bool {
		_, cond := condition(client.ObjectKeyFromObject(thief))
		return cond.Status == corev1.ConditionFalse && cond.Reason == ReasonHostAlreadyClaimed && cond.LastTransitionTime != nil
	})

	// Status is written when it changes, and not otherwise.
	settled, _ := condition(key)
	other := &routev1.Route{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "other"}, Spec: routev1.RouteSpec{Host: "other.example.com", To: routev1.RouteTargetReference{Kind: "Service", Name: "web"}}}
	create(t, c, other)
	eventually(t, "the other route is admitted", func() bool {
		_, cond := condition(client.ObjectKeyFromObject(other))
		return cond.Status == corev1.ConditionTrue
	})
	if again, _ := condition(key); again.ResourceVersion != settled.ResourceVersion {
		t.Errorf("a route was written that did not change: %s → %s", settled.ResourceVersion, again.ResourceVersion)
	}

	// The holder goes; the next in line is served.
	if err := c.Delete(ctx, web); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the next in line is admitted", func() bool {
		_, cond := condition(client.ObjectKeyFromObject(thief))
		return cond.Status == corev1.ConditionTrue && cond.Reason == ""
	})
	rec := httptest.NewRecorder()
	r.AdminHandler().ServeHTTP(rec, httptest.NewRequest("GET", "/healthz", nil))
	if rec.Code != 200 {
		t.Errorf("healthz: %d", rec.Code)
	}
}

// failing refuses reads while told to.
type failing struct {
	client.WithWatch
	fail bool
}

func (f *failing) List(ctx context.Context, l client.ObjectList, o ...client.ListOption) error {
	if f.fail {
		return fmt.Errorf("away")
	}
	return f.WithWatch.List(ctx, l, o...)
}

func (f *failing) Get(ctx context.Context, k client.ObjectKey, o client.Object, opts ...client.GetOption) error {
	if f.fail {
		return fmt.Errorf("away")
	}
	return f.WithWatch.Get(ctx, k, o, opts...)
}

// TestFailedReadKeepsTheTable: what cannot be read is not taken for gone.
func TestFailedReadKeepsTheTable(t *testing.T) {
	t.Parallel()
	f := &failing{WithWatch: statetest.New(t), fail: true}
	r, err := New(Options{Client: f, Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	if _, err := r.compile(ctx, loop.Key{}); err == nil || r.world.complete {
		t.Fatal("a table was made of nothing")
	}
	f.fail = false
	route := &routev1.Route{ObjectMeta: metav1.ObjectMeta{Namespace: "s", Name: "r"}, Spec: routev1.RouteSpec{Host: "h.example.com", To: routev1.RouteTargetReference{Kind: "Service", Name: "web"}}}
	create(t, f, route)
	go func() { <-r.world.judged }()
	if _, err := r.compile(ctx, loop.Key{}); err != nil || r.Table().Match("h.example.com", "/") == nil {
		t.Fatalf("%v\n%s", err, r.Table())
	}
	f.fail = true
	for _, ctl := range r.Controllers()[:3] {
		if _, err := ctl.Reconcile(ctx, client.ObjectKeyFromObject(route)); err == nil {
			t.Errorf("%s took a failed read for an answer", ctl.Name)
		}
	}
	if _, err := r.compile(ctx, loop.Key{}); err != nil || r.Table().Match("h.example.com", "/") == nil {
		t.Errorf("%v\n%s", err, r.Table())
	}
}
