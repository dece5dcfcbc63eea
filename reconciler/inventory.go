package reconciler

import (
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"sync"

	"github.com/fluxcd/cli-utils/pkg/object"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
)

// inventoryRef is an object that an application owns.
type inventoryRef struct {
	schema.GroupVersionKind
	Namespace, Name string
}

func refOf(o *unstructured.Unstructured) inventoryRef {
	return inventoryRef{GroupVersionKind: o.GroupVersionKind(), Namespace: o.GetNamespace(), Name: o.GetName()}
}

func (r inventoryRef) key() types.NamespacedName {
	return types.NamespacedName{Namespace: r.Namespace, Name: r.Name}
}

// entry is the reference as Flux's inventory writes it.
func (r inventoryRef) entry() v1alpha1.InventoryEntry {
	return v1alpha1.InventoryEntry{ID: r.id().String(), Version: r.Version}
}

// id identifies the object whatever its version.
func (r inventoryRef) id() object.ObjMetadata {
	return object.ObjMetadata{Namespace: r.Namespace, Name: r.Name, GroupKind: r.GroupKind()}
}

func parseEntry(e v1alpha1.InventoryEntry) (inventoryRef, error) {
	m, err := object.ParseObjMetadata(e.ID)
	if err != nil {
		return inventoryRef{}, err
	}
	return inventoryRef{GroupVersionKind: m.GroupKind.WithVersion(e.Version), Namespace: m.Namespace, Name: m.Name}, nil
}

// entries is the inventory that the references make, sorted, each once.
func entries(refs ...inventoryRef) []v1alpha1.InventoryEntry {
	out := make([]v1alpha1.InventoryEntry, 0, len(refs))
	for _, r := range refs {
		out = append(out, r.entry())
	}
	slices.SortFunc(out, func(a, b v1alpha1.InventoryEntry) int { return strings.Compare(a.ID, b.ID) })
	return slices.Compact(out)
}

// seed makes sums of references that are good for this process.
var seed = maphash.MakeSeed()

// sumOf identifies a list of references. Two of them in another order are not the same list.
func sumOf(refs []inventoryRef) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	for _, r := range refs {
		maphash.WriteComparable(&h, r)
	}
	return h.Sum64()
}

// lists says that a status is known to list refs and nothing else.
func (k *known) lists(s *v1alpha1.ApplicationStatus, refs []inventoryRef) bool {
	k.mu.Lock()
	packed, owned := k.packed, k.owned
	k.mu.Unlock()
	return packed != "" && packed == s.PackedInventory && owned == sumOf(refs)
}

// list makes a status list refs.
func (k *known) list(s *v1alpha1.ApplicationStatus, refs []inventoryRef) {
	if k.lists(s, refs) {
		return
	}
	api.SetInventory(s, entries(refs...))
	k.note(func(k *known) { k.packed, k.owned = s.PackedInventory, sumOf(refs) })
}

// claim adds refs to what a status lists.
func (k *known) claim(s *v1alpha1.ApplicationStatus, refs []inventoryRef) error {
	if k.lists(s, refs) {
		return nil
	}
	have, err := api.Inventory(s)
	if err != nil {
		return err
	}
	if len(have) == 0 {
		k.list(s, refs)
		return nil
	}
	want := entries(refs...)
	all := merge(have, want)
	switch {
	case len(all) == len(want):
		k.list(s, refs)
	case len(all) > len(have):
		api.SetInventory(s, all)
	}
	return nil
}

// merge is what either list holds, sorted.
func merge(a, b []v1alpha1.InventoryEntry) []v1alpha1.InventoryEntry {
	seen := make(map[string]bool, len(a))
	out := append([]v1alpha1.InventoryEntry(nil), a...)
	for _, e := range a {
		seen[e.ID] = true
	}
	for _, e := range b {
		if !seen[e.ID] {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b v1alpha1.InventoryEntry) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// leftBehind are the objects of the Application's inventory that are not among refs.
func (k *known) leftBehind(app *v1alpha1.Application, refs []inventoryRef) ([]inventoryRef, error) {
	if k.lists(&app.Status, refs) {
		return nil, nil
	}
	have, err := api.Inventory(&app.Status)
	if err != nil {
		return nil, fmt.Errorf("application %s: %w", app.Name, err)
	}
	kept := make(map[object.ObjMetadata]bool, len(refs))
	for _, r := range refs {
		kept[r.id()] = true
	}
	var out []inventoryRef
	for _, e := range have {
		ref, err := parseEntry(e)
		if err != nil {
			return nil, fmt.Errorf("inventory of application %s: %w", app.Name, err)
		}
		if !kept[ref.id()] {
			out = append(out, ref)
		}
	}
	return out, nil
}

var places = sync.OnceValue(func() map[schema.GroupKind]int {
	m := map[schema.GroupKind]int{}
	for i, k := range api.Kinds() {
		m[k.GroupKind()] = i
	}
	return m
})

// order is the place of a kind in an apply; kinds that are not known come last.
func order(gk schema.GroupKind) int {
	if isNamespace(gk) {
		return -1
	}
	if i, ok := places()[gk]; ok {
		return i
	}
	return len(places())
}
