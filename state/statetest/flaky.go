package statetest

import (
	"context"
	"math/rand"
	"sync"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Flaky fails before or after every third write, as if a process died there.
type Flaky struct {
	client.Client
	mu  sync.Mutex
	rnd *rand.Rand // guarded by mu
}

// NewFlaky fails at random, as the seed has it.
func NewFlaky(c client.Client, seed int64) *Flaky {
	return &Flaky{Client: c, rnd: rand.New(rand.NewSource(seed))}
}

func (f *Flaky) try(write func() error) error {
	f.mu.Lock()
	n := f.rnd.Intn(6)
	f.mu.Unlock()
	if n == 0 {
		return ErrDied
	}
	err := write()
	if n == 1 {
		return ErrDied
	}
	return err
}

// Create implements client.Client.
func (f *Flaky) Create(ctx context.Context, o client.Object, opts ...client.CreateOption) error {
	return f.try(func() error { return f.Client.Create(ctx, o, opts...) })
}

// Update implements client.Client.
func (f *Flaky) Update(ctx context.Context, o client.Object, opts ...client.UpdateOption) error {
	return f.try(func() error { return f.Client.Update(ctx, o, opts...) })
}

// Delete implements client.Client.
func (f *Flaky) Delete(ctx context.Context, o client.Object, opts ...client.DeleteOption) error {
	return f.try(func() error { return f.Client.Delete(ctx, o, opts...) })
}

// Status implements client.Client.
func (f *Flaky) Status() client.SubResourceWriter { return flakyStatus{f.Client.Status(), f} }

type flakyStatus struct {
	client.SubResourceWriter
	f *Flaky
}

func (s flakyStatus) Update(ctx context.Context, o client.Object, opts ...client.SubResourceUpdateOption) error {
	return s.f.try(func() error { return s.SubResourceWriter.Update(ctx, o, opts...) })
}
