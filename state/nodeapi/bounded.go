package nodeapi

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// patience is how long live state is waited for. It is less than nodes wait for a server: one that
// has lost its etcd tells them so, and they go on to another.
const patience = 5 * time.Second

// bounded is live state with an end to waiting. A watch waits for ever: see Server.guard.
type bounded struct{ client.WithWatch }

func within(ctx context.Context, do func(context.Context) error) error {
	short, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := do(short)
	if err != nil && short.Err() != nil && ctx.Err() == nil {
		return apierrors.NewServiceUnavailable("live state does not answer this server")
	}
	return err
}

func (b bounded) Get(ctx context.Context, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
	return within(ctx, func(ctx context.Context) error { return b.WithWatch.Get(ctx, key, o, opts...) })
}

func (b bounded) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	return within(ctx, func(ctx context.Context) error { return b.WithWatch.List(ctx, list, opts...) })
}

func (b bounded) Create(ctx context.Context, o client.Object, opts ...client.CreateOption) error {
	return within(ctx, func(ctx context.Context) error { return b.WithWatch.Create(ctx, o, opts...) })
}

func (b bounded) Update(ctx context.Context, o client.Object, opts ...client.UpdateOption) error {
	return within(ctx, func(ctx context.Context) error { return b.WithWatch.Update(ctx, o, opts...) })
}

func (b bounded) Patch(ctx context.Context, o client.Object, p client.Patch, opts ...client.PatchOption) error {
	return within(ctx, func(ctx context.Context) error { return b.WithWatch.Patch(ctx, o, p, opts...) })
}

func (b bounded) Delete(ctx context.Context, o client.Object, opts ...client.DeleteOption) error {
	return within(ctx, func(ctx context.Context) error { return b.WithWatch.Delete(ctx, o, opts...) })
}

func (b bounded) Status() client.SubResourceWriter { return boundedStatus{b.WithWatch.Status()} }

type boundedStatus struct{ client.SubResourceWriter }

func (b boundedStatus) Update(ctx context.Context, o client.Object, opts ...client.SubResourceUpdateOption) error {
	return within(ctx, func(ctx context.Context) error { return b.SubResourceWriter.Update(ctx, o, opts...) })
}
