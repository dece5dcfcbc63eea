package api_test

import (
	"strings"
	"testing"

	networkv1 "github.com/openshift/api/network/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slipway.dev/slipway/api"
)

func TestHostSubnets(t *testing.T) {
	t.Parallel()
	good := func() *networkv1.HostSubnet {
		return &networkv1.HostSubnet{ObjectMeta: metav1.ObjectMeta{Name: "a"}, HostIP: "192.0.2.1", Subnet: "10.128.0.0/23"}
	}
	for want, change := range map[string]func(*networkv1.HostSubnet){
		"":            func(h *networkv1.HostSubnet) { h.HostIP = "" },
		"host":        func(h *networkv1.HostSubnet) { h.Host = "b" },
		"hostIP":      func(h *networkv1.HostSubnet) { h.HostIP = "fd00::1" },
		"subnet":      func(h *networkv1.HostSubnet) { h.Subnet = "10.128.0.1/23" },
		"egressIPs":   func(h *networkv1.HostSubnet) { h.EgressIPs = []networkv1.HostSubnetEgressIP{"192.0.2.9"} },
		"egressCIDRs": func(h *networkv1.HostSubnet) { h.EgressCIDRs = []networkv1.HostSubnetEgressCIDR{"192.0.2.0/24"} },
	} {
		h := good()
		change(h)
		api.Default(h)
		errs := api.Validate(h)
		switch {
		case want == "" && len(errs) > 0:
			t.Errorf("a good one: %v", errs)
		case want != "" && (len(errs) != 1 || errs[0].Field != want):
			t.Errorf("%s: got %v", want, errs)
		}
	}
	old, now := good(), good()
	now.Subnet = "10.128.2.0/23"
	if errs := api.ValidateUpdate(now, old); len(errs) != 1 || !strings.Contains(errs[0].Detail, "cannot change") {
		t.Errorf("another subnet: got %v", errs)
	}
}
