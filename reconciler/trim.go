package reconciler

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/reconciler/live"
)

// records knows the names of each Application's Records, oldest first, so that the oldest
// goes without a look at all of them. Nobody else writes Records; they are listed once, by
// the first that needs to know.
type records struct {
	client client.Client

	mu     sync.Mutex
	loaded bool
	names  map[types.NamespacedName][]string // guarded by mu
	// added are those of this process, up to when the list is loaded.
	added map[types.NamespacedName][]string // guarded by mu
}

func newRecords(c client.Client) *records {
	return &records{client: c, names: map[types.NamespacedName][]string{}, added: map[types.NamespacedName][]string{}}
}

// add notes a Record that was just written.
func (r *records) add(app *v1alpha1.Application, name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key, to := client.ObjectKeyFromObject(app), r.names
	if !r.loaded {
		to = r.added
	}
	to[key] = append(to[key], name)
}

// trim deletes the Application's oldest Records beyond maxRecords.
func (r *records) trim(ctx context.Context, app *v1alpha1.Application) error {
	if err := r.load(ctx); err != nil {
		return err
	}
	key := client.ObjectKeyFromObject(app)
	for {
		r.mu.Lock()
		names := r.names[key]
		r.mu.Unlock()
		if len(names) <= maxRecords {
			return nil
		}
		old := &v1alpha1.Record{ObjectMeta: metav1.ObjectMeta{Namespace: app.Namespace, Name: names[0]}}
		if err := r.client.Delete(ctx, old); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("delete record %s: %w", old.Name, err)
		}
		r.mu.Lock()
		r.names[key] = slices.DeleteFunc(slices.Clone(r.names[key]), func(n string) bool { return n == old.Name })
		r.mu.Unlock()
	}
}

// forget drops what is known of an Application that is gone.
func (r *records) forget(app types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.names, app)
	delete(r.added, app)
}

// recordsAtOnce is how many Records are read in one go.
const recordsAtOnce = 1000

// load lists the names of all Records, once.
func (r *records) load(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.loaded {
		return nil
	}
	type named struct {
		name    string
		version int64
	}
	all := map[types.NamespacedName][]named{}
	list := &metav1.PartialObjectMetadataList{}
	for {
		next := list.Continue
		list = &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("RecordList"))
		if err := r.client.List(ctx, list, client.Limit(recordsAtOnce), client.Continue(next)); err != nil {
			return fmt.Errorf("read the records: %w", err)
		}
		for _, o := range list.Items {
			key := types.NamespacedName{Namespace: o.Namespace, Name: o.Labels[OwnerName]}
			// Records do not change: the version says in which order they were made.
			version, _ := live.Version(o.ResourceVersion)
			all[key] = append(all[key], named{o.Name, version})
		}
		if list.Continue == "" {
			break
		}
	}
	for key, list := range all {
		slices.SortFunc(list, func(a, b named) int { return cmp.Or(cmp.Compare(a.version, b.version), cmp.Compare(a.name, b.name)) })
		for _, n := range list {
			r.names[key] = append(r.names[key], n.name)
		}
	}
	for key, names := range r.added {
		for _, n := range names {
			if !slices.Contains(r.names[key], n) {
				r.names[key] = append(r.names[key], n)
			}
		}
	}
	r.added, r.loaded = nil, true
	return nil
}
