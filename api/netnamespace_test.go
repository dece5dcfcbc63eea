package api

import (
	"testing"

	networkv1 "github.com/openshift/api/network/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestNetNamespaces(t *testing.T) {
	t.Parallel()
	wish := map[string]string{ChangeNetworkAnnotation: "global"}
	for name, c := range map[string]struct {
		object networkv1.NetNamespace
		field  string
	}{
		"a number":       {networkv1.NetNamespace{NetID: 15}, ""},
		"a wish":         {networkv1.NetNamespace{ObjectMeta: metav1.ObjectMeta{Annotations: wish}}, ""},
		"both":           {networkv1.NetNamespace{NetID: 15, ObjectMeta: metav1.ObjectMeta{Annotations: wish}}, ""},
		"neither":        {networkv1.NetNamespace{}, "netid"},
		"a reserved one": {networkv1.NetNamespace{NetID: 9}, "netid"},
		"too large":      {networkv1.NetNamespace{NetID: MaxNetID + 1}, "netid"},
		"another's name": {networkv1.NetNamespace{NetID: 15, NetName: "bank"}, "netname"},
		"an address":     {networkv1.NetNamespace{NetID: 15, EgressIPs: []networkv1.NetNamespaceEgressIP{"192.0.2.1"}}, "egressIPs"},
	} {
		c.object.Name = "shop"
		Default(&c.object)
		got := ""
		if errs := Validate(&c.object); len(errs) > 0 {
			got = errs[0].Field
		}
		if got != c.field || c.object.NetName == "" {
			t.Errorf("%s: refused field %q, want %q", name, got, c.field)
		}
	}
}
