package state

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"slipway.dev/slipway/api"
)

func TestKeys(t *testing.T) {
	for _, tc := range []struct {
		kind      string
		name      types.NamespacedName
		want, err string
	}{
		{"Pod", types.NamespacedName{Namespace: "shop", Name: "web-1"}, "/slipway/core/pods/shop/web-1", ""},
		{"Project", types.NamespacedName{Name: "shop"}, "/slipway/project.openshift.io/projects/_/shop", ""},
		{"Image", types.NamespacedName{Name: "sha256:ab"}, "/slipway/image.openshift.io/images/_/sha256:ab", ""},
		{"Pod", types.NamespacedName{Name: "x"}, "", "namespace: is required"},
		{"Pod", types.NamespacedName{Namespace: "_", Name: "x"}, "", "reserved"},
		{"Pod", types.NamespacedName{Namespace: "a", Name: "b/c"}, "", `name: "b/c"`},
		{"Pod", types.NamespacedName{Namespace: "..", Name: "b"}, "", "namespace:"},
		{"Pod", types.NamespacedName{Namespace: "a", Name: "b\nc"}, "", "control character"},
	} {
		k, ok := api.KindNamed(tc.kind)
		if !ok {
			t.Fatal(tc.kind)
		}
		got, err := keyOf("/slipway", k, tc.name)
		if got != tc.want || (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%s %q: %q, %v", tc.kind, tc.name, got, err)
		}
	}
}

// FuzzKey: whatever the names, a key is either refused or leads back to exactly its object, below the
// prefix of its kind and namespace and of no other.
func FuzzKey(f *testing.F) {
	f.Add("shop", "web-1", "/slipway/core/pods/shop/web-1")
	f.Add("..", "a/b", "/slipway/core/pods/shop/")
	f.Add("_", "%2f", "/slipway/core/pods//x")
	f.Add("a\x00", "", "/slipway/core/podsx/a/b")
	f.Fuzz(func(t *testing.T, ns, name, key string) {
		for _, k := range api.Kinds() {
			want := types.NamespacedName{Namespace: ns, Name: name}
			if !k.Namespaced {
				want.Namespace = ""
			}
			if made, err := keyOf("/slipway", k, want); err == nil {
				got, err := nameIn("/slipway", k, made)
				if err != nil || got != want {
					t.Errorf("%q leads to %q, %v; want %q", made, got, err, want)
				}
				if strings.Count(made, "/") != 5 || !strings.HasPrefix(made, prefixOf("/slipway", k, ns)) {
					t.Errorf("key %q of %q breaks out", made, want)
				}
			}
			if got, err := nameIn("/slipway", k, key); err == nil {
				if back, err := keyOf("/slipway", k, got); err != nil || back != key {
					t.Errorf("%q leads to %q, which leads to %q, %v", key, got, back, err)
				}
			}
		}
	})
}
