package reconciler

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/reconciler/health"
)

func beating(name string, owned bool, conditions ...any) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "slipway.dev/v1alpha1", "kind": "Application",
		"metadata": map[string]any{"namespace": "pp", "name": name}, "status": map[string]any{"conditions": conditions},
	}}
	if owned {
		o.SetLabels(map[string]string{OwnerName: "root", OwnerNamespace: "slipway"})
	}
	return o
}

func readyCondition(status, reason string) map[string]any {
	return map[string]any{"type": Ready, "status": status, "reason": reason}
}

func TestPulse(t *testing.T) {
	t.Parallel()
	var (
		b       = &beat{}
		p       = pulse{applicationKind: b}
		refs    = []inventoryRef{refOf(beating("a", true)), refOf(beating("b", true))}
		waiting = readyCondition("Unknown", ReasonProgressing)
		good    = readyCondition("True", ReasonApplied)
		bad     = readyCondition("False", ReasonInvalid)
	)
	says := func(when string, sick int, sure bool) {
		t.Helper()
		if e, ok := p.progress(refs); ok != sure || ok && len(e.sick) != sick {
			t.Errorf("%s: %v, %v", when, e, ok)
		}
	}
	says("nothing was seen", 0, false)
	b.Listed([]client.Object{beating("a", true, waiting), beating("b", true, good), beating("c", false, waiting)}, "1")
	says("one is on its way", 1, true)
	if b.Saw(watch.Modified, beating("a", true, waiting)); !b.skip("", nil) {
		t.Error("nothing changed, and somebody is woken")
	}
	if b.Saw(watch.Modified, beating("c", false, good)); !b.skip("", nil) {
		t.Error("of what nobody owns somebody is woken")
	}
	if b.Saw(watch.Modified, beating("b", true, waiting)); b.skip("", nil) {
		t.Error("nobody is woken by a change")
	}
	says("both are", 2, true)
	b.Saw(watch.Modified, beating("b", true, bad))
	if h, known := p.of(refs[1]); !known || h.State != health.Failed {
		t.Fatalf("b is %v", h)
	}
	says("one failed: that has to be read", 0, false)
	b.Saw(watch.Modified, beating("b", true, good))
	b.Saw(watch.Modified, beating("a", true, good))
	says("all are well: that has to be read", 0, false)
	b.Saw(watch.Modified, beating("a", true, waiting))
	if b.Saw(watch.Deleted, beating("a", true, waiting)); b.skip("", nil) {
		t.Error("nobody is woken by an end")
	}
	says("it is gone", 0, false)
	b.Saw(watch.Added, beating("a", true, waiting))
	b.Lost()
	says("the watch is lost", 0, false)
	b.Saw(watch.Modified, beating("a", true, waiting))
	says("a straggler came after that", 0, false)
	if _, known := p.of(inventoryRef{GroupVersionKind: schema.GroupVersionKind{Kind: "ConfigMap"}, Name: "x"}); known {
		t.Error("a kind that nobody follows is known")
	}
}
