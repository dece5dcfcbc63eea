package router

import (
	"context"
	"strconv"
	"strings"
	"testing"

	routev1 "github.com/openshift/api/route/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/state/loop"
	"slipway.dev/slipway/state/statetest"
)

// TestFollowsIsTrue moves a service's Endpoints to and fro: as soon as the router says that it
// follows, its table leads there and nowhere else.
func TestFollowsIsTrue(t *testing.T) {
	t.Parallel()
	c := statetest.New(t)
	r, err := New(Options{Client: c, Log: quiet(), Suffix: "apps.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); loop.Run(ctx, c, quiet(), r.Controllers()...) }()
	defer func() { cancel(); <-ended }()
	pods := []*pod{startPod(t, "a", "127.0.0.2", nil, nil), startPod(t, "b", "127.0.0.3", nil, nil)}
	service, endpoints := serviceAndEndpoints("shop", pods[0])
	web := &routev1.Route{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}, Spec: routev1.RouteSpec{To: routev1.RouteTargetReference{Kind: "Service", Name: "web"}}}
	key := client.ObjectKeyFromObject(service)
	if r.Follows(key, 1) {
		t.Error("the router says that it follows what it has not seen")
	}
	create(t, c, service, endpoints, web)
	for n := range 20 {
		at, not := pods[n%2].addr.String(), pods[(n+1)%2].addr.String()
		_, moved := serviceAndEndpoints("shop", pods[n%2])
		endpoints.Subsets = moved.Subsets
		if err := c.Update(ctx, endpoints); err != nil {
			t.Fatal(err)
		}
		revision, err := strconv.ParseUint(endpoints.ResourceVersion, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "the router follows", func() bool { return r.Follows(key, revision) })
		if table := r.Table().String(); strings.Contains(table, not) || n > 0 && !strings.Contains(table, at) {
			t.Errorf("the router says that it leads to %s, and not to %s: %s", at, not, table)
		}
		if r.Follows(key, revision+1) {
			t.Error("the router says that it follows what is to come")
		}
	}
	if err := c.Delete(ctx, endpoints); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the router follows nothing", func() bool { return !r.Follows(key, 1) })
}
