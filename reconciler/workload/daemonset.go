package workload

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"sync"
	"time"

	projectv1 "github.com/openshift/api/project/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/utils/dump"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/reconciler/pods"
	"slipway.dev/slipway/state/loop"
)

var daemonKind = appsv1.SchemeGroupVersion.WithKind("DaemonSet")

type daemonSets struct{ Deps }

func (c daemonSets) pass(ctx context.Context, key loop.Key) (acted bool, after time.Duration, err error) {
	var set appsv1.DaemonSet
	if err := c.Client.Get(ctx, key, &set); err != nil {
		return false, 0, client.IgnoreNotFound(err)
	}
	if set.DeletionTimestamp != nil {
		return false, 0, nil
	}
	selector, err := metav1.LabelSelectorAsSelector(set.Spec.Selector)
	if err != nil {
		return false, 0, err
	}
	kept := templates{client: c.Client, owner: &set, kind: daemonKind, template: &set.Spec.Template, collisions: set.Status.CollisionCount}
	revisions, err := kept.newest(ctx)
	if errors.Is(err, errTaken) {
		set.Status.CollisionCount = raised(set.Status.CollisionCount)
		return true, 0, c.Client.Status().Update(ctx, &set)
	}
	if err != nil {
		return false, 0, err
	}
	d := Daemons{Set: &set, Revision: revisions[len(revisions)-1].Labels[labelHash], Now: c.Clock()}
	if d.Nodes, err = c.nodes(ctx); err != nil {
		return false, 0, err
	}
	if d.Selector, err = c.selector(ctx, set.Namespace); err != nil {
		return false, 0, err
	}
	owner := pods.Owner{Client: c.Client, Events: c.Events, Object: &set, Kind: daemonKind, Selector: selector}
	if d.Pods, err = owner.Claim(ctx); err != nil {
		return false, 0, err
	}
	change := DecideDaemons(d)
	if len(change.Create)+len(change.Delete) > 0 {
		return true, 0, c.carryOut(ctx, owner, d, change)
	}
	status := DaemonStatus(d)
	if !equality.Semantic.DeepEqual(status, set.Status) {
		set.Status = status
		if err := c.Client.Status().Update(ctx, &set); err != nil {
			return false, 0, client.IgnoreNotFound(err)
		}
	}
	used := map[string]bool{revisions[len(revisions)-1].Name: true}
	for _, r := range revisions {
		for _, p := range d.Pods {
			if p.Labels[appsv1.DefaultDaemonSetUniqueLabelKey] == r.Labels[labelHash] {
				used[r.Name] = true
			}
		}
	}
	return false, change.After, kept.remove(ctx, old(revisions, set.Spec.RevisionHistoryLimit, used))
}

func (c daemonSets) nodes(ctx context.Context) ([]*corev1.Node, error) {
	var list corev1.NodeList
	if err := c.Client.List(ctx, &list); err != nil {
		return nil, fmt.Errorf("read the nodes: %w", err)
	}
	var out []*corev1.Node
	for i := range list.Items {
		if list.Items[i].DeletionTimestamp == nil {
			out = append(out, &list.Items[i])
		}
	}
	return out, nil
}

// selector is the node selector that the scheduler will add to the pods of a project: a pod for another
// node would wait for ever.
func (c daemonSets) selector(ctx context.Context, project string) (map[string]string, error) {
	p, config := &projectv1.Project{}, &corev1.ConfigMap{}
	if err := c.Client.Get(ctx, client.ObjectKey{Name: project}, p); apierrors.IsNotFound(err) {
		p = nil
	} else if err != nil {
		return nil, err
	}
	if err := c.Client.Get(ctx, client.ObjectKey{Namespace: api.SystemProject, Name: api.SchedulerConfig}, config); apierrors.IsNotFound(err) {
		config = nil
	} else if err != nil {
		return nil, err
	}
	s, err := api.ProjectSelector(p, config)
	if err != nil {
		return nil, fmt.Errorf("node selector of project %s: %w", project, err)
	}
	return s, nil
}

func (c daemonSets) carryOut(ctx context.Context, owner pods.Owner, d Daemons, change DaemonChange) error {
	for _, p := range change.Delete {
		if err := owner.Delete(ctx, p); err != nil {
			return err
		}
	}
	for _, node := range change.Create {
		p := owner.New(d.template(node))
		if err := owner.Made(p, c.Client.Create(ctx, p)); err != nil {
			return err
		}
	}
	return nil
}

// everywhere remembers which DaemonSets there are and what was seen of each node, so that
// a node wakes all sets when something changes that decides about pods, and not with each
// sign of life.
type everywhere struct {
	mu sync.Mutex
	// sets there are or were; guarded by mu
	sets map[loop.Key]bool
	// nodes by name: a hash of labels and spec; guarded by mu
	nodes map[string]uint64
}

func (e *everywhere) set(o client.Object) []loop.Key {
	key := client.ObjectKeyFromObject(o)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sets[key] = true
	return []loop.Key{key}
}

func (e *everywhere) all(client.Object) []loop.Key {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []loop.Key
	for key := range e.sets {
		out = append(out, key)
	}
	return out
}

// project wakes a project's sets: its node selector may have changed.
func (e *everywhere) project(o client.Object) []loop.Key {
	return slices.DeleteFunc(e.all(o), func(k loop.Key) bool { return k.Namespace != o.GetName() })
}

// config wakes all sets where the scheduler's settings change, with the cluster's node selector.
func (e *everywhere) config(o client.Object) []loop.Key {
	if o.GetNamespace() != api.SystemProject || o.GetName() != api.SchedulerConfig {
		return nil
	}
	return e.all(o)
}

func (e *everywhere) same(event watch.EventType, o client.Object) bool {
	n, ok := o.(*corev1.Node)
	if !ok {
		return false
	}
	h := fnv.New64a()
	_, _ = fmt.Fprint(h, dump.ForHash([]any{n.Labels, n.Spec.Taints, n.Spec.Unschedulable, n.UID, n.DeletionTimestamp != nil}))
	e.mu.Lock()
	defer e.mu.Unlock()
	before, known := e.nodes[n.Name]
	e.nodes[n.Name] = h.Sum64()
	if event == watch.Deleted {
		delete(e.nodes, n.Name)
		return false
	}
	return known && before == h.Sum64()
}
