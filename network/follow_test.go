package network

import (
	"errors"
	"strconv"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// TestFollowsIsTrue moves a service's Endpoints to and fro: as soon as the driver says that it
// follows, no connection arrives elsewhere.
func TestFollowsIsTrue(t *testing.T) {
	t.Parallel()
	x := newNode(t, nil)
	x.project("shop", "10")
	pods := []pod{x.pod("shop", "a"), x.pod("shop", "b")}
	client0 := x.pod("shop", "client")
	web := x.service("shop", "web", 1, pods[1])
	key := client.ObjectKey{Namespace: "shop", Name: "web"}
	var endpoints corev1.Endpoints
	if err := x.client.Get(t.Context(), key, &endpoints); err != nil {
		t.Fatal(err)
	}
	if x.driver.Follows(client.ObjectKey{Namespace: "shop", Name: "none"}, 1) {
		t.Error("the driver says that it follows what there is not")
	}
	for n := range 20 {
		p := pods[n%2]
		endpoints.Subsets = subset(p)
		if err := x.client.Update(t.Context(), &endpoints); err != nil {
			t.Fatal(err)
		}
		revision := x.follows(&endpoints)
		for _, network := range []string{"tcp", "udp"} {
			if got, err := client0.ask(network, web); err != nil || got != p.name.Name {
				t.Errorf("%s arrives at %q, %v, want %q", network, got, err, p.name.Name)
			}
		}
		if x.driver.Follows(key, revision+1) {
			t.Error("the driver says that it follows what is to come")
		}
	}
}

// follows waits until the driver follows Endpoints.
func (x *node) follows(e *corev1.Endpoints) (revision uint64) {
	x.t.Helper()
	revision, err := strconv.ParseUint(e.ResourceVersion, 10, 64)
	if err != nil {
		x.t.Fatal(err)
	}
	eventually(x.t, "the driver follows", func() error {
		if !x.driver.Follows(client.ObjectKeyFromObject(e), revision) {
			return errors.New("it does not")
		}
		return nil
	})
	return revision
}
