package project_test

import (
	"strconv"
	"testing"

	networkv1 "github.com/openshift/api/network/v1"
	projectv1 "github.com/openshift/api/project/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/state/statetest"
)

// A project's network follows what is said of it, and who joined it follows, too.
func TestProjectsChangeTheirNetworks(t *testing.T) {
	c := statetest.New(t)
	run(t, c, &events{})
	for _, name := range []string{"shop", "bank", "guest"} {
		must(t, c.Create(t.Context(), &projectv1.Project{ObjectMeta: metav1.ObjectMeta{Name: name}}))
	}
	id := func(name string) string {
		var p projectv1.Project
		must(t, c.Get(t.Context(), types.NamespacedName{Name: name}, &p))
		return p.Annotations[api.NetIDAnnotation]
	}
	eventually(t, "three networks", func() bool {
		a, b, d := id("shop"), id("bank"), id("guest")
		return a != "" && b != "" && d != "" && a != b && b != d && a != d
	})
	said := func(name, wish string, number uint32) *networkv1.NetNamespace {
		n := &networkv1.NetNamespace{ObjectMeta: metav1.ObjectMeta{Name: name}, NetID: number}
		if wish != "" {
			n.Annotations = map[string]string{api.ChangeNetworkAnnotation: wish}
		}
		return n
	}
	guest := said("guest", "join:shop", 0)
	must(t, c.Create(t.Context(), guest))
	eventually(t, "the guest joins", func() bool { return id("guest") == id("shop") })
	shop := said("shop", "global", 0)
	must(t, c.Create(t.Context(), shop))
	eventually(t, "all of the shop is global", func() bool { return id("shop") == "0" && id("guest") == "0" })
	// The number that is asked for was given to another project.
	was := id("bank")
	n, err := strconv.ParseUint(was, 10, 32)
	must(t, err)
	must(t, c.Get(t.Context(), types.NamespacedName{Name: "shop"}, shop))
	shop.Annotations, shop.NetID = nil, uint32(n)
	must(t, c.Update(t.Context(), shop))
	eventually(t, "the shop has the bank's number, the guest follows, the bank gives way", func() bool {
		return id("shop") == was && id("guest") == was && id("bank") != was
	})
	must(t, c.Delete(t.Context(), guest))
	eventually(t, "the guest leaves", func() bool { return id("guest") != was })
}
