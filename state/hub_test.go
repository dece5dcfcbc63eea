package state_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/state"
)

// Many watchers, some slow, some late, each see every change of every object in its order, and what one
// does to its copy no other sees.
func TestWatchersLoseNothing(t *testing.T) { everywhere(t, watchersLoseNothing) }

func watchersLoseNothing(t *testing.T, c *state.Client) {
	ctx := t.Context()
	const objects, changes, watchers = 20, 3000, 30
	for i := range objects {
		must(t, c.Create(ctx, configMap("a", fmt.Sprintf("x%d", i), "n", "0")))
	}
	var l corev1.ConfigMapList
	must(t, c.List(ctx, &l))
	var wg sync.WaitGroup
	follow := func(w watch.Interface, who int) {
		defer w.Stop()
		last := map[string]int{}
		for seen := 0; seen < changes; seen++ {
			ev, ok := <-w.ResultChan()
			if !ok || ev.Type != watch.Modified {
				t.Errorf("watcher %d after %d: %v %v", who, seen, ok, ev)
				return
			}
			cm := ev.Object.(*corev1.ConfigMap)
			n, err := strconv.Atoi(cm.Data["n"])
			if err != nil || n != last[cm.Name]+1 || cm.Labels["mine"] != "" {
				t.Errorf("watcher %d: %s %v after %d, labels %v", who, cm.Name, cm.Data, last[cm.Name], cm.Labels)
				return
			}
			last[cm.Name] = n
			cm.Labels = map[string]string{"mine": "1"}
			cm.Data["n"] = "spoilt"
			// One in ten falls behind by more than is kept.
			if who%10 == 0 && seen < 500 {
				time.Sleep(2 * time.Millisecond)
			}
		}
	}
	start := func(who int) {
		w, err := c.Watch(ctx, &corev1.ConfigMapList{}, client.InNamespace("a"), from(l.ResourceVersion))
		must(t, err)
		wg.Go(func() { follow(w, who) })
	}
	for who := range watchers / 2 {
		start(who)
	}
	for i := range changes {
		cm := configMap("a", fmt.Sprintf("x%d", i%objects), "n", strconv.Itoa(i/objects+1))
		must(t, c.Update(ctx, cm))
		// The others start from the same old revision while it goes on, the last when it is no longer kept.
		if i%(changes/(watchers/2)) == 0 {
			start(watchers/2 + i)
		}
	}
	wg.Wait()
}

// A watch that begins at a transaction of many objects sends all of them: its caller may have seen
// only the first before it was cut off. After a transaction of one, which is any other write, it does not.
func TestWatchResumesInTheMidstOfABatch(t *testing.T) { everywhere(t, watchResumesInTheMidstOfABatch) }

func watchResumesInTheMidstOfABatch(t *testing.T, c *state.Client) {
	ctx := t.Context()
	idle, stop := context.WithCancel(ctx)
	defer stop()
	other, err := c.Watch(idle, &corev1.ConfigMapList{}) // keeps the hub of the kind
	must(t, err)
	defer other.Stop()
	must(t, c.Create(ctx, configMap("b", "before")))
	var batch []*unstructured.Unstructured
	for i := range 3 {
		batch = append(batch, manifest(t, `{apiVersion: v1, kind: ConfigMap, metadata: {namespace: a, name: x%d}}`, i))
	}
	// One batch of few objects is spread over the cores: let it be one transaction.
	results := c.ApplyMany(ctx, append(batch, manifests(400)...), client.ApplyOptions{FieldManager: "git"})
	revisions := map[string][]string{}
	for _, r := range results {
		must(t, r.Err)
		if r.Object.GetKind() == "ConfigMap" {
			rv := r.Object.GetResourceVersion()
			revisions[rv] = append(revisions[rv], r.Object.GetName())
		}
	}
	for rv, names := range revisions {
		w, err := c.Watch(ctx, &corev1.ConfigMapList{}, from(rv))
		must(t, err)
		if len(names) > 1 {
			got := map[string]bool{}
			for range names {
				got[next(t, w).Object.(*corev1.ConfigMap).Name] = true
			}
			for _, n := range names {
				if !got[n] {
					t.Errorf("revision %s: %s is lost", rv, n)
				}
			}
		}
		w.Stop()
	}
	single := configMap("a", "single")
	must(t, c.Create(ctx, single))
	w, err := c.Watch(ctx, &corev1.ConfigMapList{}, from(single.ResourceVersion))
	must(t, err)
	defer w.Stop()
	must(t, c.Create(ctx, configMap("a", "after")))
	expect(t, w, watch.Added, "after")
}

// Watchers of different Go types and selectors share a hub and get each its own.
func TestWatchersOfOneHubDiffer(t *testing.T) { everywhere(t, watchersOfOneHubDiffer) }

func watchersOfOneHubDiffer(t *testing.T, c *state.Client) {
	ctx := t.Context()
	u := &unstructured.UnstructuredList{}
	u.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("PodList"))
	m := &metav1.PartialObjectMetadataList{}
	m.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("PodList"))
	start := func(l client.ObjectList, opts ...client.ListOption) watch.Interface {
		w, err := c.Watch(ctx, l, opts...)
		must(t, err)
		t.Cleanup(w.Stop)
		return w
	}
	typed, untyped, meta := start(&corev1.PodList{}), start(u), start(m, client.MatchingFields{"spec.nodeName": "n1"})
	elsewhere := start(&corev1.PodList{}, client.InNamespace("b"))
	must(t, c.Create(ctx, pod("a", "x", "n1")))
	must(t, c.Create(ctx, pod("b", "y", "n2")))
	must(t, c.Delete(ctx, pod("a", "x", ""), client.GracePeriodSeconds(0)))
	if p := expect(t, typed, watch.Added, "x").(*corev1.Pod); p.Spec.NodeName != "n1" {
		t.Errorf("typed: %+v", p.Spec)
	}
	if p := expect(t, untyped, watch.Added, "x").(*unstructured.Unstructured); p.GetKind() != "Pod" || p.GetResourceVersion() == "" {
		t.Errorf("unstructured: %v", p.Object)
	}
	expect(t, typed, watch.Added, "y")
	expect(t, typed, watch.Deleted, "x")
	expect(t, meta, watch.Added, "x")
	expect(t, meta, watch.Deleted, "x")
	expect(t, elsewhere, watch.Added, "y")
}

// BenchmarkWatchFanOut has 1,000 watchers of everything while a hundred objects change 500 times a
// second, for b.N seconds, and reports how late the watchers see the changes.
func BenchmarkWatchFanOut(b *testing.B) {
	const objects, watchers, rate = 100, 1000, 500
	c, ctx := opened(b).Client(), b.Context()
	for i := range objects {
		if err := c.Create(ctx, configMap("a", fmt.Sprintf("x%d", i), "at", "0", "text", "some text of a usual length")); err != nil {
			b.Fatal(err)
		}
	}
	var l corev1.ConfigMapList
	if err := c.List(ctx, &l); err != nil {
		b.Fatal(err)
	}
	total := rate * b.N
	late := make([][]time.Duration, watchers)
	var wg sync.WaitGroup
	for who := range watchers {
		w, err := c.Watch(ctx, &corev1.ConfigMapList{}, from(l.ResourceVersion))
		if err != nil {
			b.Fatal(err)
		}
		wg.Go(func() {
			defer w.Stop()
			for len(late[who]) < total {
				ev := <-w.ResultChan()
				at, err := strconv.ParseInt(ev.Object.(*corev1.ConfigMap).Data["at"], 10, 64)
				if err != nil {
					b.Error(err)
					return
				}
				late[who] = append(late[who], time.Since(time.Unix(0, at)))
			}
		})
	}
	b.ResetTimer()
	begin := time.Now()
	const writers = 5 // each with objects of its own
	for me := range writers {
		wg.Go(func() {
			for i := me; i < total; i += writers {
				time.Sleep(time.Until(begin.Add(time.Duration(i) * time.Second / rate)))
				data := fmt.Sprintf(`{"data":{"at":"%d"}}`, time.Now().UnixNano())
				if err := c.Patch(ctx, configMap("a", fmt.Sprintf("x%d", i%objects)), client.RawPatch(types.MergePatchType, []byte(data))); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	var all []time.Duration
	for _, l := range late {
		all = append(all, l...)
	}
	slices.Sort(all)
	b.ReportMetric(float64(len(all))/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(all[len(all)/2].Milliseconds()), "p50-ms")
	b.ReportMetric(float64(all[len(all)*99/100].Milliseconds()), "p99-ms")
}
