package state

import (
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Delete implements client.Writer. An object with finalizers only gets a deletionTimestamp and goes
// when the last finalizer does. A Pod that is bound to a node and has not ended is asked to stop
// within its grace period: it goes when its node deletes it with grace 0. What an object owns is
// removed in the background by the garbage collector, for the propagation policies Background and
// Foreground alike; Orphan is refused.
func (c *Client) Delete(ctx context.Context, obj client.Object, opts ...client.DeleteOption) error {
	o := client.DeleteOptions{}
	o.ApplyOptions(opts)
	return c.delete(ctx, obj, &o)
}

func (c *Client) delete(ctx context.Context, obj client.Object, o *client.DeleteOptions) error {
	dry, err := dryRun(o.DryRun)
	if err != nil {
		return err
	}
	t, err := c.locate(obj)
	if err != nil {
		return err
	}
	if o.PropagationPolicy != nil && *o.PropagationPolicy == metav1.DeletePropagationOrphan {
		return apierrors.NewBadRequest(fmt.Sprintf("delete %s: the propagation policy Orphan is not supported", t))
	}
	for {
		resp, err := c.kv.Get(ctx, t.key)
		if err != nil {
			return t.failed("delete", err)
		}
		if len(resp.Kvs) == 0 {
			return t.notFound()
		}
		live := t.new()
		if err := c.load(t.kindInfo, resp.Kvs[0], live); err != nil {
			return err
		}
		if err := t.checkPreconditions(live, o.Preconditions); err != nil || dry {
			return err
		}
		op, err := c.deletion(t, live, o.GracePeriodSeconds)
		if err != nil || op == nil {
			return err
		}
		done, err := c.swap(ctx, []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(t.key), "=", resp.Kvs[0].ModRevision)}, []clientv3.Op{*op})
		if err != nil {
			return t.failed("delete", err)
		}
		if done.Succeeded {
			return nil
		}
	}
}

func (t target) checkPreconditions(live client.Object, p *metav1.Preconditions) error {
	if p == nil {
		return nil
	}
	if p.UID != nil && *p.UID != live.GetUID() {
		return t.conflict("precondition failed: uid %s was asked for, the object has %s", *p.UID, live.GetUID())
	}
	if p.ResourceVersion != nil && *p.ResourceVersion != live.GetResourceVersion() {
		return t.conflict("precondition failed: resourceVersion %s was asked for, the object has %s", *p.ResourceVersion, live.GetResourceVersion())
	}
	return nil
}

// deletion is the next step of an object's deletion, or nil where it only remains to wait.
func (c *Client) deletion(t target, live client.Object, asked *int64) (*clientv3.Op, error) {
	grace := graceOf(live, asked)
	if at := live.GetDeletionTimestamp(); at != nil {
		have := live.GetDeletionGracePeriodSeconds()
		if have != nil && grace < *have {
			began := at.Add(-time.Duration(*have) * time.Second)
			markDeleted(live, began, grace)
		} else {
			return nil, nil
		}
	} else {
		markDeleted(live, c.opts.Now(), grace)
		if g := live.GetGeneration(); g > 0 {
			live.SetGeneration(g + 1)
		}
	}
	if released(live) {
		op := clientv3.OpDelete(t.key)
		return &op, nil
	}
	data, err := encode(live)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", t, err)
	}
	op := clientv3.OpPut(t.key, string(c.stored(t.kindInfo, t.key, data)))
	return &op, nil
}

func markDeleted(obj client.Object, began time.Time, grace int64) {
	at := metav1.NewTime(began.Add(time.Duration(grace) * time.Second)).Rfc3339Copy()
	obj.SetDeletionTimestamp(&at)
	obj.SetDeletionGracePeriodSeconds(&grace)
}

// graceOf is how long an object may take to stop, in seconds; only running Pods may. Source: the
// rules of Kubernetes' pod registry.
func graceOf(obj client.Object, asked *int64) int64 {
	pod, ok := obj.(*corev1.Pod)
	if !ok || pod.Spec.NodeName == "" || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		return 0
	}
	grace := int64(corev1.DefaultTerminationGracePeriodSeconds)
	switch {
	case asked != nil:
		grace = *asked
	case pod.Spec.TerminationGracePeriodSeconds != nil:
		grace = *pod.Spec.TerminationGracePeriodSeconds
	}
	return max(grace, 0)
}

// DeleteAllOf implements client.Writer. Objects that vanish meanwhile are no error; the first other
// error ends it.
func (c *Client) DeleteAllOf(ctx context.Context, obj client.Object, opts ...client.DeleteAllOfOption) error {
	o := client.DeleteAllOfOptions{}
	o.ApplyOptions(opts)
	k, err := kindOf(obj)
	if err != nil {
		return err
	}
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(k.GroupVersion().WithKind(k.Kind.Kind + "List"))
	if err := c.List(ctx, list, &o.ListOptions); err != nil {
		return err
	}
	for i := range list.Items {
		if err := c.delete(ctx, &list.Items[i], &o.DeleteOptions); client.IgnoreNotFound(err) != nil {
			return err
		}
	}
	return nil
}
