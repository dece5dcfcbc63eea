package reconciler

import (
	"context"
	"reflect"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
)

// concealing renders with stand-ins for generated and encrypted values.
type concealing struct{ Renderer }

func (c concealing) Render(ctx context.Context, q Rendering) (api.Desired, error) {
	q.Conceal = true
	return c.Renderer.Render(ctx, q)
}

// unapproved renders a revision that nobody has merged. Who may propose a change is not
// thereby one who may read secrets, and what he proposes could turn a value into anything,
// so that no mask would know it again: it is given stand-ins. Where an object has, at the
// same place, the same stand-in as in the revision that is followed, the value that this
// one gives is shown in its stead: then only what is proposed differs from live state.
func (p *preview) unapproved(ctx context.Context, app *v1alpha1.Application, rev api.Revision) (api.Desired, error) {
	followed, err := p.Sources.Revision(ctx, p.repository)
	if err == nil && followed.Commit == rev.Commit {
		return desired(ctx, p.Render, app, rev, false)
	}
	proposed, wrong := desired(ctx, concealing{p.Render}, app, rev, false)
	at := p.liveAt(app)
	if err != nil || wrong != nil || at < 0 || source(&p.live[at]) != p.repository {
		return proposed, wrong
	}
	covered, err := desired(ctx, concealing{p.Render}, &p.live[at], followed, false)
	if err != nil {
		return proposed, ignoreProblems(err)
	}
	open, err := desired(ctx, p.Render, &p.live[at], followed, false)
	if err != nil {
		return proposed, ignoreProblems(err)
	}
	return uncovered(proposed, covered, open), nil
}

// liveAt is the place of an Application among those of live state; -1: it is not there.
func (p *preview) liveAt(app *v1alpha1.Application) int {
	return slices.IndexFunc(p.live, func(l v1alpha1.Application) bool {
		return client.ObjectKeyFromObject(&l) == client.ObjectKeyFromObject(app)
	})
}

func ignoreProblems(err error) error {
	if _, bad := asProblems(err); bad {
		return nil
	}
	return err
}

// uncovered is what is proposed, and wherever that is equal to what is covered, what is
// open there. covered and open are one revision with and without stand-ins.
func uncovered(proposed, covered, open api.Desired) api.Desired {
	values := make(map[inventoryRef]api.DesiredObject, len(open.Objects))
	for _, o := range open.Objects {
		values[refOf(o.Unstructured)] = o
	}
	under := make(map[inventoryRef]api.DesiredObject, len(covered.Objects))
	for _, o := range covered.Objects {
		under[refOf(o.Unstructured)] = o
	}
	// Neither revision's hash is that of the mixture.
	out := api.Desired{Depends: proposed.Depends, Objects: slices.Clone(proposed.Objects)}
	for i, o := range out.Objects {
		ref := refOf(o.Unstructured)
		was, before := under[ref]
		value, known := values[ref]
		if !before || !known {
			continue
		}
		if mixed, ok := uncover(o.Object, was.Object, value.Object).(map[string]any); ok {
			out.Objects[i].Unstructured = &unstructured.Unstructured{Object: mixed}
		}
	}
	return out
}

func uncover(proposed, covered, open any) any {
	if reflect.DeepEqual(proposed, covered) {
		return open
	}
	switch p := proposed.(type) {
	case map[string]any:
		c, ok := covered.(map[string]any)
		o, also := open.(map[string]any)
		if !ok || !also {
			return proposed
		}
		out := make(map[string]any, len(p))
		for k, v := range p {
			out[k] = v
			if value, there := o[k]; there {
				out[k] = uncover(v, c[k], value)
			}
		}
		return out
	case []any:
		c, ok := covered.([]any)
		o, also := open.([]any)
		if !ok || !also || len(c) != len(o) {
			return proposed
		}
		out := slices.Clone(p)
		for i, v := range p {
			if at := sameItem(v, i, c); at >= 0 {
				out[i] = uncover(v, c[at], o[at])
			}
		}
		return out
	}
	return proposed
}

// sameItem is the place of an item in another list: by its name where items have names,
// else its own place; -1: it is not there.
func sameItem(item any, at int, in []any) int {
	name := itemName(item)
	switch {
	case name == "" && at < len(in):
		return at
	case name == "":
		return -1
	}
	return slices.IndexFunc(in, func(other any) bool { return itemName(other) == name })
}

func itemName(item any) string {
	m, _ := item.(map[string]any)
	name, _ := m["name"].(string)
	return name
}
