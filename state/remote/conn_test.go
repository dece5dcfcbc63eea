package remote_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/state/nodecert"
	"slipway.dev/slipway/state/remote"
	"slipway.dev/slipway/state/statetest"
)

// A node's certificate is replaced when two thirds of its life are over, and not before.
func TestTheCertificateIsKept(t *testing.T) {
	t.Parallel()
	c := statetest.New(t)
	f := newFront(t, c)
	i, dir := joined(t, c, f)
	first := i.Certificate()
	keep := func(at time.Time) (stop func()) {
		conn := remote.Dial(i, slog.New(slog.DiscardHandler))
		conn.At(func() time.Time { return at })
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); conn.KeepCertificate(ctx) }()
		return func() { cancel(); <-ended }
	}
	stop := keep(first.NotBefore.Add(nodecert.NodeLife / 2))
	time.Sleep(300 * time.Millisecond) // It would be done by now.
	stop()
	if !i.Certificate().Equal(first) {
		t.Error("the certificate is replaced when half of its life is over")
	}
	stop = keep(first.NotAfter.Add(-nodecert.NodeLife / 4))
	eventually(t, "the certificate is replaced", func() error {
		if i.Certificate().Equal(first) {
			return errors.New("it is the first")
		}
		return nil
	})
	stop()
	again, err := remote.Load(dir)
	must(t, err)
	if !again.Certificate().Equal(i.Certificate()) {
		t.Error("the next one is not on disk")
	}
	bare, err := remote.NewClient(remote.Dial(again, slog.New(slog.DiscardHandler)))
	must(t, err)
	must(t, bare.Get(t.Context(), client.ObjectKey{Name: "n1"}, &corev1.Node{}))
}

// away is live state that does not answer while it is cut off.
type away struct {
	client.WithWatch
	cut atomic.Bool
}

func (a *away) wait(ctx context.Context) error {
	if a.cut.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

func (a *away) Get(ctx context.Context, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
	if err := a.wait(ctx); err != nil {
		return err
	}
	return a.WithWatch.Get(ctx, key, o, opts...)
}

// Watch tells nothing meanwhile.
func (a *away) Watch(ctx context.Context, list client.ObjectList, opts ...client.ListOption) (watch.Interface, error) {
	w, err := a.WithWatch.Watch(ctx, list, opts...)
	if err != nil {
		return nil, err
	}
	q := quiet{w, make(chan watch.Event)}
	go func() {
		defer close(q.out)
		for e := range w.ResultChan() {
			for a.cut.Load() && ctx.Err() == nil {
				time.Sleep(10 * time.Millisecond)
			}
			select {
			case q.out <- e:
			case <-ctx.Done():
				return
			}
		}
	}()
	return q, nil
}

type quiet struct {
	watch.Interface
	out chan watch.Event
}

func (q quiet) ResultChan() <-chan watch.Event { return q.out }

// A server that answers but has lost its etcd is left: by what is asked, and by what is watched there.
func TestAServerWithoutLiveStateIsLeft(t *testing.T) {
	t.Parallel()
	c, ctx := statetest.New(t), t.Context()
	lost := &away{WithWatch: c}
	one, two := newFront(t, lost), newFront(t, c)
	i, dir := joined(t, c, one, two)
	m, _ := mirrored(t, i, dir)
	ready(t, m)
	lost.cut.Store(true)
	must(t, c.Create(ctx, pod("late", "n1", "")))
	sees(t, m, "late", "")
	eventually(t, "a write", func() error {
		var n corev1.Node
		if err := m.Get(ctx, client.ObjectKey{Name: "n1"}, &n); err != nil {
			return err
		}
		n.Status.NodeInfo.KernelVersion = "6"
		return m.Status().Update(ctx, &n)
	})
}

// Servers that come later are found in live state, and asked when those that the node was told of are away.
func TestServersAreFound(t *testing.T) {
	t.Parallel()
	c, ctx := statetest.New(t), t.Context()
	one, two := newFront(t, c), newFront(t, c)
	i, dir := joined(t, c, one)
	must(t, i.SetFound([]string{"http://not.a.server", "nonsense", two.url()}))
	i, err := remote.Load(dir)
	must(t, err)
	if got := i.Settings().Found; !slices.Equal(got, []string{two.url()}) {
		t.Errorf("found: %v", got)
	}
	m, _ := mirrored(t, i, dir)
	ready(t, m)
	one.stop()
	must(t, c.Create(ctx, pod("a", "n1", "")))
	sees(t, m, "a", "")
	must(t, remote.Dial(i, slog.New(slog.DiscardHandler)).Renew(ctx))
}

// A mirror without a folder keeps nothing on disk, and follows live state as others do.
func TestAMirrorInMemory(t *testing.T) {
	t.Parallel()
	c, ctx := statetest.New(t), t.Context()
	m, err := remote.NewMirror(c, "", slog.New(slog.DiscardHandler))
	must(t, err)
	running, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() { defer close(ended); m.Run(running) }()
	defer func() { cancel(); <-ended }()
	ready(t, m)
	must(t, c.Create(ctx, pod("a", "n1", "")))
	sees(t, m, "a", "")
	setPhase(t, m, "a", corev1.PodRunning)
	sees(t, m, "a", corev1.PodRunning)
	var all corev1.PodList
	must(t, m.List(ctx, &all))
	if len(all.Items) != 1 {
		t.Errorf("it lists %d pods", len(all.Items))
	}
	if files, err := filepath.Glob("*.json"); err != nil || len(files) > 0 {
		t.Error(fmt.Sprint("left on disk: ", files, err))
	}
}
