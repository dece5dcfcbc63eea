package state

import (
	"context"
	"fmt"
	"strconv"

	clientv3 "go.etcd.io/etcd/client/v3"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// binding is the write of one pod that was given its node.
type binding struct {
	target
	pod   *corev1.Pod
	at    int
	rev   int64
	after []byte
}

// Bind writes pods that were given their nodes: each as it was read, with its resourceVersion, but for
// spec.nodeName. It answers in the same order, with what Update would have answered: a Conflict where a pod has
// changed since it was read, NotFound where it is gone. A pod that is written gets its new resourceVersion and
// generation. It differs in the cost: nothing is read, validated or merged, many pods are written by one
// transaction, and as in Kubernetes nobody becomes the owner of the field. The pods themselves are changed, what they
// point to is not.
func (c *Client) Bind(ctx context.Context, pods []*corev1.Pod) []error {
	errs := make([]error, len(pods))
	var batch []*binding
	size := 0
	for i, p := range pods {
		b, err := c.binding(p, i)
		if err != nil {
			errs[i] = err
			continue
		}
		if n := len(b.key) + len(b.after); len(batch) == batchObjects || size+n > batchBytes {
			c.bindAll(ctx, batch, errs)
			batch, size = nil, 0
		}
		batch, size = append(batch, b), size+len(b.key)+len(b.after)
	}
	c.bindAll(ctx, batch, errs)
	return errs
}

func (c *Client) binding(p *corev1.Pod, at int) (*binding, error) {
	t, err := c.locate(p)
	if err != nil {
		return nil, err
	}
	rev, err := strconv.ParseInt(p.ResourceVersion, 10, 64)
	if err != nil || rev <= 0 {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("bind %s: it has no resourceVersion", t))
	}
	if p.Spec.NodeName == "" {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("bind %s: it has no node", t))
	}
	next := *p
	next.SetGroupVersionKind(t.GroupVersionKind)
	next.Generation++
	after, err := encode(&next)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", t, err)
	}
	return &binding{target: t, pod: p, at: at, rev: rev, after: c.stored(t.kindInfo, t.key, after)}, nil
}

// bindAll writes a batch in one transaction, or, where some of the pods are not as they were read, the others.
func (c *Client) bindAll(ctx context.Context, batch []*binding, errs []error) {
	for len(batch) > 0 {
		ifs, ops, reads := make([]clientv3.Cmp, len(batch)), make([]clientv3.Op, len(batch)), make([]clientv3.Op, len(batch))
		for i, b := range batch {
			ifs[i] = clientv3.Compare(clientv3.ModRevision(b.key), "=", b.rev)
			ops[i], reads[i] = clientv3.OpPut(b.key, string(b.after)), clientv3.OpGet(b.key, clientv3.WithKeysOnly())
		}
		resp, err := c.swap(ctx, ifs, ops, reads...)
		if err != nil {
			for _, b := range batch {
				errs[b.at] = b.failed("bind", err)
			}
			return
		}
		if resp.Succeeded {
			for _, b := range batch {
				b.pod.ResourceVersion = strconv.FormatInt(resp.Header.Revision, 10)
				b.pod.Generation++
			}
			return
		}
		var left []*binding
		for i, b := range batch {
			switch kvs := resp.Responses[i].GetResponseRange().Kvs; {
			case len(kvs) == 0:
				errs[b.at] = b.notFound()
			case kvs[0].ModRevision != b.rev:
				errs[b.at] = b.conflict("the object has been modified (resourceVersion %d, now %d): apply the change to the latest version and try again", b.rev, kvs[0].ModRevision)
			default:
				left = append(left, b)
			}
		}
		batch = left
	}
}
