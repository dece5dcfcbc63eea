package api_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
)

func inventory(n int) []v1alpha1.InventoryEntry {
	r := rand.New(rand.NewPCG(1, 2))
	var out []v1alpha1.InventoryEntry
	for i := range n {
		out = append(out, v1alpha1.InventoryEntry{ID: fmt.Sprintf("shop-production_orders-%06x-%d_apps.openshift.io_DeploymentConfig", r.Uint32()&0xffffff, i), Version: "v1"})
	}
	return out
}

func TestInventoriesOfEverySize(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 249, 250, 10_000, 100_000} {
		var s v1alpha1.ApplicationStatus
		want := inventory(n)
		api.SetInventory(&s, want)
		got, err := api.Inventory(&s)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%d entries come back as %d: %v", n, len(got), err)
		}
		// What etcd takes, with room for the rest of the status.
		if size := len(s.PackedInventory); size > 1400<<10 || (n >= 250) == (s.Inventory != nil) && n > 0 {
			t.Errorf("%d entries take %d bytes", n, size)
		}
	}
}

func FuzzInventory(f *testing.F) {
	var s v1alpha1.ApplicationStatus
	api.SetInventory(&s, inventory(300))
	f.Add(s.PackedInventory)
	f.Add("not base64")
	f.Add("AAAA")
	f.Fuzz(func(t *testing.T, packed string) {
		_, _ = api.Inventory(&v1alpha1.ApplicationStatus{PackedInventory: packed})
	})
}
