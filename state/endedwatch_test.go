package state

import (
	"context"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// A watch that has ended leaves nothing with the client, which lives as long as its process.
func TestAClientForgetsEndedWatches(t *testing.T) {
	t.Parallel()
	s, err := Open(t.Context(), Options{DataDir: filepath.Join(t.TempDir(), "state"), NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	c, life := *s.Client(), &counted{Context: s.Client().life}
	c.life = life
	for range 3 {
		w, err := c.Watch(t.Context(), &corev1.ConfigMapList{})
		if err != nil {
			t.Fatal(err)
		}
		w.Stop()
	}
	for end := time.Now().Add(30 * time.Second); life.waiting.Load() != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d watches that have ended are kept", life.waiting.Load())
		}
	}
}

// counted counts who waits for its end.
type counted struct {
	context.Context
	waiting atomic.Int64
}

// Value hides what kind of context it is: of its own kinds, package context asks nothing.
func (*counted) Value(any) any { return nil }

// AfterFunc is what context.AfterFunc asks of a context of another kind than its own.
func (c *counted) AfterFunc(f func()) (stop func() bool) {
	c.waiting.Add(1)
	stopIt := context.AfterFunc(c.Context, f)
	return func() bool {
		stopped := stopIt()
		if stopped {
			c.waiting.Add(-1)
		}
		return stopped
	}
}
