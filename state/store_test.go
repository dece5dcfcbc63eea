package state_test

import (
	"context"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/state"
	"slipway.dev/slipway/state/statetest"
)

// eventually asks until it is so; only a test that fails takes long.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("not within 30 s: %s", what)
}

func TestStateOutlivesTheProcess(t *testing.T) {
	t.Parallel()
	dir, ctx := t.TempDir(), t.Context()
	cm := configMap("a", "x", "k", "v")
	for i := range 3 {
		s, err := state.Open(ctx, state.Options{DataDir: dir})
		must(t, err)
		if i == 0 {
			must(t, s.Client().Create(ctx, cm))
		}
		var got corev1.ConfigMap
		must(t, s.Client().Get(ctx, client.ObjectKeyFromObject(cm), &got))
		if got.ResourceVersion != cm.ResourceVersion || got.UID != cm.UID {
			t.Errorf("start %d: %+v", i, got.ObjectMeta)
		}
		s.Close()
		s.Close()
	}
}

func TestOneProcessPerDirectory(t *testing.T) {
	t.Parallel()
	o := state.Options{DataDir: t.TempDir()}
	s := open(t, o)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if other, err := state.Open(ctx, o); err == nil {
		other.Close()
		t.Error("opened twice")
	} else if !strings.Contains(err.Error(), "in use") || !strings.Contains(err.Error(), o.DataDir) {
		t.Errorf("error %v", err)
	}
	// One that starts while the other ends waits for it.
	opened := make(chan error)
	go func() {
		next, err := state.Open(t.Context(), o)
		if err == nil {
			next.Close()
		}
		opened <- err
	}()
	s.Close()
	must(t, <-opened)
}

// A leader that was killed must not keep its successor in the same directory waiting.
func TestLeadsAtOnceAfterACrash(t *testing.T) {
	t.Parallel()
	o := state.Options{DataDir: t.TempDir()}
	s := open(t, o)
	must(t, s.Client().PutRaw(t.Context(), "/slipway/.lead/server/1", "a process that is gone"))
	s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	must(t, open(t, o).Client().Lead(ctx, "server", func(context.Context) {}))
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	file := t.TempDir() + "/file"
	must(t, os.WriteFile(file, nil, 0o600))
	for name, tc := range map[string]struct {
		o    state.Options
		want string
	}{
		"no directory":    {state.Options{}, "data directory is required"},
		"no slash":        {state.Options{DataDir: t.TempDir(), Prefix: "slipway"}, "prefix"},
		"only a slash":    {state.Options{DataDir: t.TempDir(), Prefix: "/"}, "prefix"},
		"not a directory": {state.Options{DataDir: file}, "data directory"},
	} {
		if s, err := state.Open(t.Context(), tc.o); err == nil {
			s.Close()
			t.Errorf("%s: opened", name)
		} else if !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPrefixesAreApart(t *testing.T) {
	t.Parallel()
	a, b, ctx := statetest.New(t), statetest.New(t), t.Context()
	must(t, a.Create(ctx, configMap("a", "x")))
	if err := b.Get(ctx, client.ObjectKey{Namespace: "a", Name: "x"}, &corev1.ConfigMap{}); !apierrors.IsNotFound(err) {
		t.Errorf("seen from another test: %v", err)
	}
}

func TestEventsExpire(t *testing.T) {
	t.Parallel()
	c, ctx := open(t, state.Options{DataDir: t.TempDir(), EventTTL: time.Second}).Client(), t.Context()
	must(t, c.Create(ctx, configMap("a", "x")))
	ev := &corev1.Event{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "e"}}
	must(t, c.Create(ctx, ev))
	eventually(t, "the event is gone", func() bool {
		return apierrors.IsNotFound(c.Get(ctx, client.ObjectKeyFromObject(ev), ev))
	})
	must(t, c.Get(ctx, client.ObjectKey{Namespace: "a", Name: "x"}, &corev1.ConfigMap{}))
}

func TestOnlyOneLeads(t *testing.T) { everywhere(t, onlyOneLeads) }

func onlyOneLeads(t *testing.T, c *state.Client) {
	var leading, terms atomic.Int32
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 3)
	lead := func(ctx context.Context) {
		ended <- c.Lead(ctx, "server", func(ctx context.Context) {
			if leading.Add(1) != 1 {
				t.Error("two lead")
			}
			terms.Add(1)
			<-ctx.Done()
			leading.Add(-1)
		})
	}
	first, stopFirst := context.WithCancel(ctx)
	go lead(first)
	eventually(t, "the first leads", func() bool { return terms.Load() == 1 })
	go lead(ctx)
	go lead(ctx)
	stopFirst()
	if err := <-ended; err != context.Canceled {
		t.Errorf("the first ended with %v", err)
	}
	eventually(t, "another takes over", func() bool { return terms.Load() == 2 })
	stop()
	<-ended
	<-ended
	if leading.Load() != 0 {
		t.Error("someone still leads")
	}
	if err := c.Lead(t.Context(), "done", func(context.Context) {}); err != nil {
		t.Errorf("a leader that has done its work: %v", err)
	}
	if err := c.Lead(t.Context(), "a/b", func(context.Context) {}); err == nil {
		t.Error("a name with a slash was accepted")
	}
}
