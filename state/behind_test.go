package state

import (
	"context"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// A watcher that has seen more than its hub, which etcd serves late, is sent nothing a second time.
func TestAWatcherAheadOfItsHub(t *testing.T) {
	t.Parallel()
	const seen, all = 2*takeAtOnce + 10, 3 * takeAtOnce
	c := &Client{opts: Options{bookmarkEvery: time.Hour}, hubs: &hubs{all: map[string]*hub{}}}
	list := &corev1.ConfigMapList{}
	k, err := kindOfList(list)
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.scan(k, &client.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w := &watcher{c: c, k: k, scan: s, from: s.from, typ: itemType(list), out: make(chan watch.Event, all), cancel: cancel, rev: seen}
	h := &hub{stop: func() {}, refs: 1, news: make(chan struct{})}
	for rev := 1; rev <= all; rev++ {
		h.add(clientv3.WatchResponse{Events: []*clientv3.Event{{Kv: &mvccpb.KeyValue{
			Key: []byte(s.from + "a/x"), Value: []byte(`{"metadata":{"name":"x","namespace":"a"}}`),
			ModRevision: int64(rev), CreateRevision: 1,
		}}}})
	}
	go w.shared(ctx, h, 0)
	for rev := seen + 1; rev <= all; rev++ {
		if ev := <-w.out; ev.Object.(*corev1.ConfigMap).ResourceVersion != formatRevision(int64(rev)) {
			t.Fatalf("%s %s, want revision %d", ev.Type, ev.Object.(*corev1.ConfigMap).ResourceVersion, rev)
		}
	}
}
