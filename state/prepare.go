package state

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Prepared is what applying one object would do: a dry run that can be carried out later without being
// worked out again.
type Prepared struct {
	// Before is the object as it is; nil: it does not exist.
	Before *unstructured.Unstructured
	// Changed says that applying the object would write it.
	Changed bool
	// Err is what Patch with client.Apply would have answered.
	Err error

	application application
}

// After is the object as it would be stored; Before where nothing would change.
func (p *Prepared) After() (*unstructured.Unstructured, error) {
	a := &p.application
	switch {
	case p.Err != nil:
		return nil, p.Err
	case !p.Changed:
		return p.Before, nil
	}
	obj := &unstructured.Unstructured{}
	return obj, decode(a.w.kindInfo, a.after, a.rev, obj)
}

// Committed is what became of one object of Commit.
type Committed struct {
	// ResourceVersion of what is stored now.
	ResourceVersion string
	// Err is what Patch with client.Apply would have answered.
	Err error
}

// Prepare works out what ApplyMany would do with every object, and writes nothing; o.DryRun is not
// looked at. The objects must stay as they are until the last Commit of what was prepared.
func (c *Client) Prepare(ctx context.Context, objects []*unstructured.Unstructured, o client.ApplyOptions) []*Prepared {
	results := make([]ApplyResult, len(objects))
	all := make([]application, len(objects))
	for i, obj := range objects {
		all[i] = application{c: c, from: obj, result: &results[i], force: o.Force != nil && *o.Force, bare: true}
		all[i].w = write{verb: "patch", dryRun: true, manager: o.FieldManager}
	}
	c.applyAll(ctx, all)
	out := make([]*Prepared, len(objects))
	for i, r := range results {
		out[i] = &Prepared{Before: r.Before, Changed: r.Changed, Err: r.Err, application: all[i]}
	}
	return out
}

// Commit carries out what was prepared, and answers in the same order. What is as it was then is written
// as it was prepared, its uid and creation time included; what another writer has changed since is
// applied anew, as ApplyMany does. What could not be prepared is answered with its error.
func (c *Client) Commit(ctx context.Context, prepared []*Prepared) []Committed {
	results := make([]ApplyResult, len(prepared))
	all := make([]application, len(prepared))
	var good []*application
	for i, p := range prepared {
		// A copy: what was prepared can be committed again.
		all[i] = p.application
		a := &all[i]
		a.result, a.w.dryRun, a.stored = &results[i], false, a.rev
		if results[i].Err = p.Err; p.Err == nil {
			good = append(good, a)
		}
	}
	first, again := together(good)
	// What is given again was prepared without what the first one changes.
	first = slices.DeleteFunc(first, func(a *application) bool { return !a.moves })
	eachBatch(first, func(batch []*application) { c.commitAll(ctx, batch) })
	for _, a := range again {
		a.alone(ctx)
	}
	out := make([]Committed, len(prepared))
	for i := range all {
		if out[i].Err = results[i].Err; out[i].Err == nil {
			out[i].ResourceVersion = formatRevision(all[i].stored)
		}
	}
	return out
}
