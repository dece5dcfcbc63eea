package state_test

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/state"
)

func TestSelectors(t *testing.T) { everywhere(t, selectors) }

func selectors(t *testing.T, c *state.Client) {
	ctx := t.Context()
	for i := range 4 {
		p := pod([]string{"a", "b"}[i%2], fmt.Sprintf("p%d", i), fmt.Sprintf("n%d", i/2))
		p.Labels = map[string]string{"app": []string{"web", "db"}[i/2]}
		must(t, c.Create(ctx, p))
		p.Status.Phase = corev1.PodRunning
		if i < 3 {
			must(t, c.Status().Update(ctx, p))
		}
	}
	sel := func(s string) client.ListOption {
		return client.MatchingFieldsSelector{Selector: fields.ParseSelectorOrDie(s)}
	}
	for _, tc := range []struct {
		name string
		opts []client.ListOption
		want []string
	}{
		{"all, by namespace and name", nil, []string{"p0", "p2", "p1", "p3"}},
		{"namespace", []client.ListOption{client.InNamespace("b")}, []string{"p1", "p3"}},
		{"namespace that begins another", []client.ListOption{client.InNamespace("")}, []string{"p0", "p2", "p1", "p3"}},
		{"labels", []client.ListOption{client.MatchingLabels{"app": "db"}}, []string{"p2", "p3"}},
		{"node", []client.ListOption{sel("spec.nodeName=n1")}, []string{"p2", "p3"}},
		{"name", []client.ListOption{sel("metadata.name=p1")}, []string{"p1"}},
		{"name and namespace", []client.ListOption{client.InNamespace("b"), sel("metadata.name=p1")}, []string{"p1"}},
		{"name in another namespace", []client.ListOption{client.InNamespace("a"), sel("metadata.name=p1")}, nil},
		{"namespace field", []client.ListOption{sel("metadata.namespace=a")}, []string{"p0", "p2"}},
		{"phase", []client.ListOption{sel("status.phase=Running,spec.nodeName=n1")}, []string{"p2"}},
		{"not", []client.ListOption{sel("status.phase!=Running")}, []string{"p3"}},
		{"no such field", []client.ListOption{sel("spec.nothing=x")}, nil},
		{"evil name", []client.ListOption{client.InNamespace("a"), sel(`metadata.name=../b/p1`)}, nil},
	} {
		var typed corev1.PodList
		must(t, c.List(ctx, &typed, tc.opts...))
		raw := &unstructured.UnstructuredList{}
		raw.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("PodList"))
		must(t, c.List(ctx, raw, tc.opts...))
		meta := &metav1.PartialObjectMetadataList{}
		meta.SetGroupVersionKind(raw.GroupVersionKind())
		must(t, c.List(ctx, meta, tc.opts...))
		var a, b, m []string
		for i := range typed.Items {
			a = append(a, typed.Items[i].Name)
		}
		for i := range raw.Items {
			b = append(b, raw.Items[i].GetName())
		}
		for i := range meta.Items {
			m = append(m, meta.Items[i].Name)
		}
		want := fmt.Sprint(tc.want)
		if fmt.Sprint(a) != want || fmt.Sprint(b) != want || fmt.Sprint(m) != want {
			t.Errorf("%s: typed %v, unstructured %v, metadata %v, want %v", tc.name, a, b, m, want)
		}
	}
}

func TestPages(t *testing.T) { everywhere(t, pages) }

func pages(t *testing.T, c *state.Client) {
	ctx := t.Context()
	for i := range 10 {
		cm := configMap("a", fmt.Sprintf("x%d", i))
		cm.Labels = map[string]string{"even": fmt.Sprint(i%2 == 0)}
		must(t, c.Create(ctx, cm))
	}
	for _, tc := range []struct {
		name  string
		opts  []client.ListOption
		limit int64
		want  int
	}{
		{"in one namespace", []client.ListOption{client.InNamespace("a")}, 3, 10},
		{"in all", nil, 4, 10},
		{"pages that end exactly", nil, 5, 10},
		{"with a selector", []client.ListOption{client.MatchingLabels{"even": "true"}}, 2, 5},
	} {
		seen, token, rv := map[string]bool{}, "", ""
		for n := 0; ; n++ {
			var l corev1.ConfigMapList
			must(t, c.List(ctx, &l, append(tc.opts, client.Limit(tc.limit), client.Continue(token))...))
			if n == 0 {
				rv = l.ResourceVersion
				// Later pages do not see what comes after the first.
				must(t, c.Create(ctx, configMap("a", "zz"+tc.name[:2]+fmt.Sprint(tc.limit))))
			}
			if l.ResourceVersion != rv || int64(len(l.Items)) > tc.limit {
				t.Errorf("%s: page %d: resourceVersion %s, want %s, %d items", tc.name, n, l.ResourceVersion, rv, len(l.Items))
			}
			for _, i := range l.Items {
				if seen[i.Name] {
					t.Errorf("%s: %s came twice", tc.name, i.Name)
				}
				seen[i.Name] = true
			}
			if token = l.Continue; token == "" {
				break
			}
			if left := l.RemainingItemCount; tc.name == "in one namespace" && (left == nil || int(*left) != tc.want-len(seen)) {
				t.Errorf("%s: remaining %v after %d", tc.name, left, len(seen))
			}
		}
		if len(seen) != tc.want {
			t.Errorf("%s: %d items, want %d", tc.name, len(seen), tc.want)
		}
		must(t, c.DeleteAllOf(ctx, &corev1.ConfigMap{}, client.MatchingFields{"metadata.name": "zz" + tc.name[:2] + fmt.Sprint(tc.limit)}))
	}
	if err := c.List(ctx, &corev1.ConfigMapList{}, client.Continue("bogus")); !apierrors.IsBadRequest(err) {
		t.Errorf("bogus token: %v", err)
	}
}

func TestExpiredPage(t *testing.T) {
	t.Parallel()
	s := open(t, state.Options{DataDir: t.TempDir()})
	c, ctx := s.Client(), t.Context()
	for i := range 3 {
		must(t, c.Create(ctx, configMap("a", fmt.Sprint("x", i))))
	}
	var l corev1.ConfigMapList
	must(t, c.List(ctx, &l, client.Limit(1)))
	must(t, c.Create(ctx, configMap("a", "y")))
	must(t, c.Create(ctx, configMap("a", "z")))
	var now corev1.ConfigMapList
	must(t, c.List(ctx, &now))
	must(t, c.Compact(ctx, revision(t, now.ResourceVersion)))
	if err := c.List(ctx, &l, client.Limit(1), client.Continue(l.Continue)); !apierrors.IsResourceExpired(err) {
		t.Errorf("error %v", err)
	}
}
