package state_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/state"
)

// cluster is an etcd of the test's own that is reached over a socket, as a real user's.
func cluster(t *testing.T) string {
	t.Helper()
	e, endpoint, err := startCluster(t.TempDir())
	must(t, err)
	t.Cleanup(e.Close)
	return endpoint
}

func TestExistingCluster(t *testing.T) {
	t.Parallel()
	endpoint, key := cluster(t), filepath.Join(t.TempDir(), "seal.key")
	o := state.Options{Endpoints: []string{endpoint}, KeyFile: key, EventTTL: time.Minute}
	one, two := open(t, o), open(t, o)
	a, b, ctx := one.Client(), two.Client(), t.Context()
	must(t, one.Healthy(ctx))

	w, err := b.Watch(ctx, &corev1.SecretList{})
	must(t, err)
	defer w.Stop()
	must(t, a.Create(ctx, secret("s")))
	got := expect(t, w, watch.Added, "s").(*corev1.Secret)
	if string(got.Data["k"]) != canary {
		t.Errorf("through the other server: %q", got.Data)
	}
	must(t, b.Patch(ctx, manifest(t, dcManifest, "c", "i", "A"), client.Apply, client.FieldOwner("m")))
	must(t, b.Delete(ctx, got))
	if gone := expect(t, w, watch.Deleted, "s").(*corev1.Secret); string(gone.Data["k"]) != canary {
		t.Errorf("deleted event: %q", gone.Data)
	}

	first, stop := context.WithCancel(ctx)
	led, ended := make(chan string, 2), make(chan error, 2)
	lead := func(ctx context.Context, c *state.Client, who string) {
		ended <- c.Lead(ctx, "server", func(ctx context.Context) { led <- who; <-ctx.Done() })
	}
	go lead(first, a, "one")
	if who := <-led; who != "one" {
		t.Errorf("%s leads", who)
	}
	second, stopSecond := context.WithCancel(ctx)
	go lead(second, b, "two")
	stop()
	<-ended
	if who := <-led; who != "two" {
		t.Errorf("%s leads", who)
	}
	stopSecond()
	<-ended
}

func TestClusterThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	s, err := state.Open(ctx, state.Options{Endpoints: []string{"unix://" + t.TempDir() + "/none"}, KeyFile: t.TempDir() + "/k"})
	if err == nil {
		s.Close()
		t.Error("opened")
	}
}
