package api

import (
	"testing"

	networkv1 "github.com/openshift/api/network/v1"
	projectv1 "github.com/openshift/api/project/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestNetNamespaces(t *testing.T) {
	t.Parallel()
	wish := map[string]string{ChangeNetworkAnnotation: "global"}
	const at = "metadata.annotations[" + ChangeNetworkAnnotation + "]"
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
		"a wrong wish":   {networkv1.NetNamespace{NetID: 15, ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{ChangeNetworkAnnotation: "everybody"}}}, at},
		"joins nobody":   {networkv1.NetNamespace{NetID: 15, ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{ChangeNetworkAnnotation: "join:"}}}, at},
		"joins":          {networkv1.NetNamespace{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{ChangeNetworkAnnotation: "join:bank"}}}, ""},
		"isolates":       {networkv1.NetNamespace{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{ChangeNetworkAnnotation: "isolate"}}}, ""},
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
	p := &projectv1.Project{ObjectMeta: metav1.ObjectMeta{Name: "shop", Annotations: map[string]string{ChangeNetworkAnnotation: "join bank"}}}
	if errs := Validate(p); len(errs) != 1 || errs[0].Field != at {
		t.Errorf("a project: %v", errs)
	}
}
