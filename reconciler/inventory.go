package reconciler

import (
	"slices"
	"strings"

	"github.com/fluxcd/cli-utils/pkg/object"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

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

// entry is the reference as Flux's inventory writes it.
func (r inventoryRef) entry() v1alpha1.InventoryEntry {
	m := object.ObjMetadata{Namespace: r.Namespace, Name: r.Name, GroupKind: r.GroupKind()}
	return v1alpha1.InventoryEntry{ID: m.String(), Version: r.Version}
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

// order is the place of a kind in an apply; kinds that are not known come last.
func order(gk schema.GroupKind) int {
	for i, k := range api.Kinds() {
		if k.GroupKind() == gk {
			return i
		}
	}
	return len(api.Kinds())
}
