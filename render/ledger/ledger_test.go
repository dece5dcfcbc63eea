package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/render/ledger"
	"slipway.dev/slipway/state/statetest"
)

func TestValuesAreKeptForGood(t *testing.T) {
	c := statetest.New(t)
	l := ledger.Ledger{Client: c}
	expect := func(application, instance string, want map[string]string) {
		t.Helper()
		got, err := l.Values(t.Context(), application, instance)
		if err != nil || !maps.Equal(got, want) {
			t.Errorf("%s %s: got %v, %v", application, instance, got, err)
		}
	}
	keep := func(application, instance string, values map[string]string) {
		t.Helper()
		if err := l.Keep(t.Context(), application, instance, values); err != nil {
			t.Error(err)
		}
	}
	expect("a/b", "c", map[string]string{})
	keep("a/b", "c", map[string]string{"P": "first"})
	keep("a/b", "c", map[string]string{"P": "second", "Q": "new"})
	keep("a/b", "", map[string]string{"P": "other"})
	expect("a/b", "c", map[string]string{"P": "first", "Q": "new"})
	expect("a", "b/c", map[string]string{})
	expect("a/b", "", map[string]string{"P": "other"})

	var s corev1.Secret
	if err := c.Get(t.Context(), ledger.Key("a/b", "c"), &s); err != nil {
		t.Fatal(err)
	}
	if s.Type != ledger.SecretType || s.Namespace != ledger.Project || !strings.HasPrefix(s.Name, "parameters-") {
		t.Errorf("kept in %s/%s of type %s", s.Namespace, s.Name, s.Type)
	}
	s.Annotations[ledger.InstanceAnnotation] = "x"
	if err := c.Update(t.Context(), &s); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Values(t.Context(), "a/b", "c"); err == nil {
		t.Error("a Secret of another instance is taken for this one's")
	}
}

func TestRacingRendersAgree(t *testing.T) {
	l := ledger.Ledger{Client: statetest.New(t)}
	var all sync.WaitGroup
	seen := make([]map[string]string, 8)
	for i := range seen {
		all.Go(func() {
			mine := map[string]string{"P": fmt.Sprint("p", i), fmt.Sprint("OWN", i): "x"}
			if err := l.Keep(t.Context(), "a/b", "c", mine); err != nil {
				t.Error(err)
			}
			got, err := l.Values(t.Context(), "a/b", "c")
			if err != nil {
				t.Error(err)
			}
			seen[i] = got
		})
	}
	all.Wait()
	for i, got := range seen {
		if got["P"] == "" || got["P"] != seen[0]["P"] || got[fmt.Sprint("OWN", i)] != "x" {
			t.Errorf("render %d saw %v, the first saw %v", i, got, seen[0])
		}
	}
}

// unreachable is a live state that cannot be read.
type unreachable struct{ client.Client }

func (unreachable) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	return errors.New("etcd is away")
}

func TestAFailedReadIsNotAnEmptyLedger(t *testing.T) {
	c := statetest.New(t)
	l := ledger.Ledger{Client: unreachable{c}}
	if got, err := l.Values(t.Context(), "a/b", "c"); err == nil {
		t.Errorf("got %v", got)
	}
	if err := l.Keep(t.Context(), "a/b", "c", map[string]string{"P": "x"}); err == nil {
		t.Error("a write without a read before it")
	}
	if got, err := (ledger.Ledger{Client: c}).Values(t.Context(), "a/b", "c"); err != nil || len(got) > 0 {
		t.Errorf("written without having been read: %v, %v", got, err)
	}
}
