package runtime

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slipway.dev/slipway/runtime/engine/enginetest"
	"slipway.dev/slipway/state/statetest"
)

func TestOnlyPulledImagesThatNothingUsesAreRemoved(t *testing.T) {
	t.Parallel()
	docker, now := enginetest.Client(t), time.Now()
	a, err := New(Options{
		Node: "node-1", Client: statetest.New(t), Docker: docker, Dir: t.TempDir(),
		DiskHigh: 1, Clock: func() time.Time { return now }, // Every disk is fuller than 1 %, and never emptier than 0.
	})
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]string{}
	for _, n := range []string{"unused", "container", "pod", "foreign", "fresh", "older", "newer"} {
		names[n] = enginetest.Busybox(t, docker)
	}
	id := func(name string) string {
		i, err := docker.ImageInspect(t.Context(), names[name])
		if err != nil {
			return ""
		}
		return i.ID
	}
	note := func(name string, ago time.Duration) {
		if err := a.ledger.note(names[name], id(name), now.Add(-ago)); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range []string{"unused", "container", "pod"} {
		note(n, time.Hour)
	}
	note("fresh", time.Minute)
	// A name that was pulled twice: what it stood for before has no name any more.
	old := id("older")
	if err := errors.Join(docker.ImageTag(t.Context(), names["pod"], names["older"]), a.ledger.note(names["newer"], old, now),
		a.ledger.note(names["newer"], id("foreign"), now), a.ledger.note(names["newer"], id("newer"), now)); err != nil {
		t.Fatal(err)
	}
	c, err := docker.ContainerCreate(t.Context(), &container.Config{Image: names["container"]}, nil, nil, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := docker.ContainerRemove(context.Background(), c.ID, container.RemoveOptions{Force: true}); err != nil {
			t.Error(err)
		}
		// The helper wants to remove every image: put back what is rightly gone.
		if err := docker.ImageTag(context.Background(), names["pod"], names["unused"]); err != nil {
			t.Error(err)
		}
	})
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}, Spec: corev1.PodSpec{
		NodeName: "node-1", Containers: []corev1.Container{{Name: "main", Image: names["pod"]}},
	}}
	if err := a.Client.Create(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := a.sweepImages(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for n := range names {
		if gone := id(n) == ""; gone != (n == "unused") {
			t.Errorf("image %q: is it gone? %v", n, gone)
		}
	}
	if _, err := docker.ImageInspect(t.Context(), old); err == nil {
		t.Error("what a name stood for before is still there")
	}
	all, err := a.ledger.all()
	if err != nil || len(all) != 4 || slices.ContainsFunc(all, func(i pulledImage) bool { return i.Ref == names["unused"] || len(i.IDs) != 1 }) {
		t.Errorf("the ledger: %+v, %v", all, err)
	}
}

func TestAPullIsNotedBeforeItIsMade(t *testing.T) {
	t.Parallel()
	docker := enginetest.Client(t)
	a, err := New(Options{Node: "node-1", Client: statetest.New(t), Docker: docker, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("the connection broke")
	if err := a.Pulls(t.Context(), "127.0.0.1:1/shop/none:1", func() error {
		if !a.ledger.knows("127.0.0.1:1/shop/none:1") {
			t.Error("a crash now would leave an image that nobody knows")
		}
		return broken
	}); !errors.Is(err, broken) {
		t.Error(err)
	}
	there := enginetest.Busybox(t, docker)
	if err := a.Pulls(t.Context(), there, func() error { return nil }); err != nil || a.ledger.knows(there) {
		t.Errorf("an image that was there before is taken for the agent's: %v", err)
	}
	if err := a.sweepImages(t.Context()); err != nil {
		t.Errorf("one that is noted and was never pulled: %v", err)
	}
}

func TestTheLedgerIsOrderedByUse(t *testing.T) {
	t.Parallel()
	l := ledger{dir: filepath.Join(t.TempDir(), "images")}
	if all, err := l.all(); err != nil || len(all) != 0 || l.knows("a") || l.use("a", epoch) != nil {
		t.Errorf("an empty ledger: %v, %v", all, err)
	}
	for i, ref := range []string{"c", "a", "b"} {
		if err := l.note(ref, "", epoch.Add(time.Duration(i)*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(l.note("a", "id1", epoch), l.note("a", "id2", epoch), l.note("a", "id1", epoch.Add(time.Hour)), l.use("c", epoch.Add(time.Minute))); err != nil {
		t.Fatal(err)
	}
	all, err := l.all()
	var refs []string
	for _, i := range all {
		refs = append(refs, i.Ref)
	}
	if err != nil || !slices.Equal(refs, []string{"b", "c", "a"}) || !slices.Equal(all[2].IDs, []string{"id2", "id1"}) {
		t.Errorf("%+v, %v", all, err)
	}
	if err := errors.Join(l.forget("a", []string{"id1"}), l.forget("b", nil)); err != nil {
		t.Error(err)
	}
	if all, err := l.all(); err != nil || len(all) != 2 || !slices.Equal(all[1].IDs, []string{"id1"}) || !all[1].used.Equal(epoch.Add(time.Hour)) {
		t.Errorf("%+v, %v", all, err)
	}
}

func TestWhatANodeIsShortOf(t *testing.T) {
	t.Parallel()
	plenty := disk{total: 100, free: 50}
	for name, c := range map[string]struct {
		disk         disk
		err          error
		free         int64
		memory, full corev1.ConditionStatus
	}{
		"nothing": {plenty, nil, 1 << 30, corev1.ConditionFalse, corev1.ConditionFalse},
		"memory":  {plenty, nil, 50 << 20, corev1.ConditionTrue, corev1.ConditionFalse},
		"disk":    {disk{total: 100, free: 5}, nil, 1 << 30, corev1.ConditionFalse, corev1.ConditionTrue},
		"a look":  {disk{}, errors.New("no"), 1 << 30, corev1.ConditionFalse, corev1.ConditionUnknown},
	} {
		got := pressures(c.disk, c.err, c.free, nil, epoch)
		if len(got) != 2 || got[0].Type != corev1.NodeMemoryPressure || got[0].Status != c.memory || got[1].Type != corev1.NodeDiskPressure || got[1].Status != c.full {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
