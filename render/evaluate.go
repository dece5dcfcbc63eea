package render

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"time"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/render/document"
	"slipway.dev/slipway/render/sandbox"
)

// maxDeaths is how many children one render may use up: after that the files left are
// not looked at.
const maxDeaths = 3

// maxProblems bounds the mistakes that one render lists.
const maxProblems = 200

func isJsonnet(file string) bool { return path.Ext(file) == ".jsonnet" }

// source is a file and what it holds.
type source struct {
	file      string
	documents []document.Document
}

// evaluate hands every file to a child. A file that kills its child is a mistake of that
// file; the others are evaluated all the same.
func (r *rendering) evaluate(ctx context.Context) (sources []source, problems api.Problems, err error) {
	if len(r.files) == 0 {
		return nil, nil, nil
	}
	w, err := r.renderer.pool.Get(ctx)
	if err != nil {
		return nil, nil, err
	}
	began := time.Now()
	defer func() {
		r.took = time.Since(began)
		if w != nil {
			r.renderer.pool.Put(w)
		}
	}()
	session := r.renderer.session.Add(1)
	for i, file := range r.files {
		out, err := r.one(ctx, w, session, file)
		var death *sandbox.Death
		switch {
		case r.tree.broken != nil:
			return nil, nil, r.tree.broken
		case r.values.broken != nil:
			return nil, nil, r.values.broken
		case errors.As(err, &death):
			problems = append(problems, api.Problem{File: file, Message: "evaluating it " + death.Reason})
			if r.deaths++; r.deaths == maxDeaths {
				return sources, append(problems, api.Problem{File: file, Message: fmt.Sprintf("the %d files after it were not looked at", len(r.files)-i-1)}), nil
			}
			if w, err = r.renderer.pool.Replace(w); err != nil {
				return nil, nil, err
			}
		case err != nil:
			return nil, nil, err
		}
		sources, problems = append(sources, source{file, out.Documents}), append(problems, out.Problems...)
	}
	return sources, problems, nil
}

// one evaluates a file. What is wrong with it is in the result; an error is a dead child
// or a failure of the machine.
func (r *rendering) one(ctx context.Context, w *sandbox.Worker, session uint64, file string) (out evaluated, err error) {
	data, found, err := r.tree.file(file)
	var no refused
	if errors.As(err, &no) {
		return evaluated{Problems: api.Problems{{File: file, Message: string(no)}}}, nil
	}
	if err != nil || !found {
		return evaluated{}, err
	}
	j := job{Session: session, File: file, Data: data}
	if isJsonnet(file) {
		j.Data, j.Parameters = nil, r.Parameters
	}
	err = w.Do(ctx, j, &out, func(raw json.RawMessage) (any, error) { return r.answer(ctx, raw) })
	return out, err
}

// answer serves the child what an import or a template asks for.
func (r *rendering) answer(ctx context.Context, raw json.RawMessage) (any, error) {
	var q question
	if err := json.Unmarshal(raw, &q); err != nil {
		return nil, err
	}
	if q.Read != "" {
		data, found, err := r.tree.file(q.Read)
		return reply{Data: data, Found: found}, err
	}
	value, err := r.values.get(ctx, "template/"+r.Project+"/"+q.Instance, q.Name, q.Expression)
	return reply{Value: value}, err
}
