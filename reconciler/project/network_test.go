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
		statetest.Must(t, c.Create(t.Context(), &projectv1.Project{ObjectMeta: metav1.ObjectMeta{Name: name}}))
	}
	id := func(name string) string {
		var p projectv1.Project
		statetest.Must(t, c.Get(t.Context(), types.NamespacedName{Name: name}, &p))
		return p.Annotations[api.NetIDAnnotation]
	}
	statetest.Eventually(t, "three networks", func() bool {
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
	statetest.Must(t, c.Create(t.Context(), guest))
	statetest.Eventually(t, "the guest joins", func() bool { return id("guest") == id("shop") })
	shop := said("shop", "global", 0)
	statetest.Must(t, c.Create(t.Context(), shop))
	statetest.Eventually(t, "all of the shop is global", func() bool { return id("shop") == "0" && id("guest") == "0" })
	// The number that is asked for was given to another project.
	was := id("bank")
	n, err := strconv.ParseUint(was, 10, 32)
	statetest.Must(t, err)
	statetest.Must(t, c.Get(t.Context(), types.NamespacedName{Name: "shop"}, shop))
	shop.Annotations, shop.NetID = nil, uint32(n)
	statetest.Must(t, c.Update(t.Context(), shop))
	statetest.Eventually(t, "the shop has the bank's number, the guest follows, the bank gives way", func() bool {
		return id("shop") == was && id("guest") == was && id("bank") != was
	})
	statetest.Must(t, c.Delete(t.Context(), guest))
	statetest.Eventually(t, "the guest leaves", func() bool { return id("guest") != was })
}
