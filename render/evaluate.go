package render

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
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

// The bounds of one job: so many files, or bytes.
const (
	maxJobFiles = 256
	maxJobBytes = 1 << 20
)

func isJsonnet(file string) bool { return path.Ext(file) == ".jsonnet" }

// source is a file and what it holds.
type source struct {
	file      string
	documents []document.Document
	// kept is what an earlier render kept of it, instead of documents; nil: nothing.
	kept *entry
	// key to keep it by; empty: it is not to be kept.
	key string
	// reads are the names of other files that it looked for.
	reads []string
	// opened: it was encrypted.
	opened bool
}

// held is what a child keeps from one render to the next.
type held struct {
	session uint64
	// names of the files that were imported, or looked for in vain, and their digests.
	names map[string]string
	// bytes of what was imported.
	bytes int
}

// The bounds of what a child keeps. A syntax tree takes many times its text.
const (
	maxHeldNames = 4096
	maxHeldBytes = 2 << 20
)

// evaluate hands the files to a child, but for those of which the outcome is kept. A file
// that kills its child is a mistake of that file; the others are evaluated all the same.
func (r *rendering) evaluate(ctx context.Context) (sources []source, problems api.Problems, err error) {
	sources, left, err := r.recall()
	if err != nil || len(left) == 0 {
		return sources, nil, err
	}
	at := map[string]*source{}
	for i := range sources {
		at[sources[i].file] = &sources[i]
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
	for len(left) > 0 {
		files, skipped, err := r.load(left)
		if err != nil {
			return nil, nil, err
		}
		problems = append(problems, skipped...)
		left = left[len(files)+len(skipped):]
		for len(files) > 0 {
			done, err := r.job(ctx, w, files)
			for i, out := range done {
				s := at[files[i].name]
				s.documents, s.reads, problems = out.documents, out.reads, append(problems, out.problems...)
				if out.individual || len(out.problems) > 0 {
					s.key = ""
				}
			}
			files = files[len(done):]
			var death *sandbox.Death
			switch {
			case r.tree.broken != nil:
				return nil, nil, r.tree.broken
			case r.values.broken != nil:
				return nil, nil, r.values.broken
			case errors.As(err, &death):
				file := files[0].name
				files, at[file].key = files[1:], ""
				problems = append(problems, api.Problem{File: file, Message: "evaluating it " + death.Reason})
				if r.deaths++; r.deaths == maxDeaths {
					for _, f := range append(names(files), left...) {
						at[f].key = ""
					}
					return sources, append(problems, api.Problem{File: file, Message: fmt.Sprintf("the %d files after it were not looked at", len(files)+len(left))}), nil
				}
				if w, err = r.renderer.pool.Replace(w); err != nil {
					return nil, nil, err
				}
			case err != nil:
				return nil, nil, err
			case len(files) > 0:
				return nil, nil, fmt.Errorf("the render child left %d files out", len(files))
			}
		}
	}
	return sources, problems, nil
}

func names(files []content) []string {
	out := make([]string, len(files))
	for i, f := range files {
		out[i] = f.name
	}
	return out
}

// load reads files for a job, from the first one on. Each is loaded or is a problem.
func (r *rendering) load(names []string) (files []content, problems api.Problems, err error) {
	size := 0
	for _, name := range names {
		if len(files)+len(problems) == maxJobFiles || size > maxJobBytes {
			break
		}
		data, found, err := r.tree.file(name)
		var no refused
		switch {
		case errors.As(err, &no):
			problems = append(problems, api.Problem{File: name, Message: string(no)})
		case err != nil:
			return nil, nil, err
		case !found:
			problems = append(problems, api.Problem{File: name, Message: "is not there any more"})
		default:
			files = append(files, content{name, data})
			size += len(data)
		}
	}
	return files, problems, nil
}

// job has a child evaluate files and returns what it finished of them, in order. What is
// wrong with a file is in its result; an error is a dead child, which died of the first
// file that is missing in the result, or a failure of the machine.
func (r *rendering) job(ctx context.Context, w *sandbox.Worker, files []content) (done []evaluated, err error) {
	h, err := r.holds(w)
	if err != nil {
		return nil, err
	}
	j := job{session: h.session, dir: r.dir, parameters: r.Parameters, files: files}
	// asked is what the file at work asked for itself.
	var asked evaluated
	reads := map[string]bool{}
	var broken error
	_, err = w.Do(ctx, j.encode(), func(raw []byte) ([]byte, error) {
		q, err := decodeQuestion(raw)
		if err != nil {
			return nil, err
		}
		if q.read == "" {
			asked.individual = true
		} else {
			asked.reads = append(asked.reads, q.read)
		}
		return r.answer(ctx, h, q)
	}, func(raw []byte, tooLarge error) {
		var out evaluated
		if tooLarge != nil && len(done) < len(files) {
			out.problems = api.Problems{{File: files[len(done)].name, Message: "evaluating it: " + tooLarge.Error()}}
		} else if tooLarge == nil {
			var wrong error
			out, wrong = decodeEvaluated(raw)
			broken = errors.Join(broken, wrong)
		}
		for _, name := range out.reads {
			reads[name] = true
		}
		out.reads, out.individual = append(out.reads, asked.reads...), asked.individual
		done, asked = append(done, out), evaluated{}
	})
	if len(done) > len(files) || broken != nil {
		return nil, errors.Join(err, broken, fmt.Errorf("the render child answers %d of %d files", len(done), len(files)))
	}
	var death *sandbox.Death
	if errors.As(err, &death) {
		// What it had found before it died is not known.
		for name := range h.names {
			reads[name] = true
		}
	}
	return done, errors.Join(err, r.remember(h, reads))
}

// holds is what a child keeps that is of use to this render: all that it imported is the
// same in this tree. Otherwise it is to start anew.
func (r *rendering) holds(w *sandbox.Worker) (*held, error) {
	h, _ := w.Held.(*held)
	same := h != nil && len(h.names) <= maxHeldNames && h.bytes <= maxHeldBytes
	if same {
		for name, was := range h.names {
			now, err := r.tree.now(name)
			if err != nil {
				return nil, err
			}
			if same = now == was; !same {
				break
			}
		}
	}
	if !same {
		h = &held{session: r.renderer.session.Add(1), names: map[string]string{}}
		w.Held = h
	}
	return h, nil
}

// remember notes what files were looked for: the result depends on them, and the child
// holds them.
func (r *rendering) remember(h *held, reads map[string]bool) error {
	for _, name := range slices.Sorted(maps.Keys(reads)) {
		if err := r.tree.note(name); err != nil {
			return err
		}
		digest := r.tree.digests[name]
		if _, refused := r.tree.refusals[name]; refused || digest == "" && (r.dir == "." || strings.HasPrefix(name, r.dir+"/")) {
			continue
		}
		h.names[name] = digest
	}
	return nil
}

// answer serves the child what an import or a template asks for.
func (r *rendering) answer(ctx context.Context, h *held, q question) ([]byte, error) {
	if q.read != "" {
		data, found, err := r.tree.file(q.read)
		if err != nil || !found {
			return nil, err
		}
		h.bytes += len(data)
		return append([]byte{foundFile}, data...), nil
	}
	value, err := r.values.get(ctx, "template/"+r.Project+"/"+q.instance, q.name, q.expression)
	return []byte(value), err
}
