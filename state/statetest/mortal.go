package statetest

import (
	"context"
	"errors"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// ErrDied is what a Mortal answers once it is dead.
var ErrDied = errors.New("the process is dead")

// Mortal is live state for a process that dies at one of its writes, and can do nothing from
// then on: a test that has it die at each of them knows that any process may die at any line.
type Mortal struct {
	client.WithWatch
	// Left are the writes until death, the last of which does not happen, unless After.
	Left  int
	After bool
	// Dead says that it died, at the write Last.
	Dead bool
	Last string
}

func (m *Mortal) write(what string, do func() error) error {
	if m.Dead {
		return ErrDied
	}
	if m.Left--; m.Left > 0 {
		return do()
	}
	m.Dead, m.Last = true, what
	if m.After {
		_ = do()
	}
	return ErrDied
}

// Get implements client.Client.
func (m *Mortal) Get(ctx context.Context, k client.ObjectKey, o client.Object, opts ...client.GetOption) error {
	if m.Dead {
		return ErrDied
	}
	return m.WithWatch.Get(ctx, k, o, opts...)
}

// List implements client.Client.
func (m *Mortal) List(ctx context.Context, l client.ObjectList, opts ...client.ListOption) error {
	if m.Dead {
		return ErrDied
	}
	return m.WithWatch.List(ctx, l, opts...)
}

// Create implements client.Client.
func (m *Mortal) Create(ctx context.Context, o client.Object, opts ...client.CreateOption) error {
	return m.write("create "+o.GetName(), func() error { return m.WithWatch.Create(ctx, o, opts...) })
}

// Update implements client.Client.
func (m *Mortal) Update(ctx context.Context, o client.Object, opts ...client.UpdateOption) error {
	return m.write("update "+o.GetName(), func() error { return m.WithWatch.Update(ctx, o, opts...) })
}

// Patch implements client.Client.
func (m *Mortal) Patch(ctx context.Context, o client.Object, p client.Patch, opts ...client.PatchOption) error {
	return m.write("patch "+o.GetName(), func() error { return m.WithWatch.Patch(ctx, o, p, opts...) })
}

// Delete implements client.Client.
func (m *Mortal) Delete(ctx context.Context, o client.Object, opts ...client.DeleteOption) error {
	return m.write("delete "+o.GetName(), func() error { return m.WithWatch.Delete(ctx, o, opts...) })
}

// Status implements client.Client.
func (m *Mortal) Status() client.SubResourceWriter { return mortalStatus{m.WithWatch.Status(), m} }

type mortalStatus struct {
	client.SubResourceWriter
	m *Mortal
}

func (s mortalStatus) Update(ctx context.Context, o client.Object, opts ...client.SubResourceUpdateOption) error {
	return s.m.write("status of "+o.GetName(), func() error { return s.SubResourceWriter.Update(ctx, o, opts...) })
}

func (s mortalStatus) Patch(ctx context.Context, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
	return s.m.write("status of "+o.GetName(), func() error { return s.SubResourceWriter.Patch(ctx, o, p, opts...) })
}
