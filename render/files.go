package render

import (
	"encoding/json"
	"path"
	"slices"
	"strings"

	"slipway.dev/slipway/api"
)

// What a file of a larger application gives is kept, too: where one file of many changes,
// the others are neither evaluated nor checked again. That needs a tree that tells digests,
// and a file that no generated or encrypted value went into, nor any mistake.

// fileKeys makes the keys of files; it is nil where none are kept.
func (r *rendering) fileKeys() func(file string) string {
	if r.tree.digester == nil || len(r.files) < 2 {
		return nil
	}
	raw, err := json.Marshal(r.Parameters)
	if err != nil {
		return nil
	}
	return func(file string) string {
		digest := r.tree.identity(file)
		if digest == "" || path.Base(file) == lockFile {
			return ""
		}
		key := []string{r.Project, file, digest}
		if isJsonnet(file) {
			key = append(key, string(raw))
		}
		return strings.Join(key, "\x00")
	}
}

// recall finds what is kept of each file, and lists the files that are to be evaluated.
func (r *rendering) recall() (sources []source, left []string, err error) {
	key := r.fileKeys()
	sources = make([]source, len(r.files))
	for i, file := range r.files {
		sources[i].file = file
		if key != nil {
			sources[i].key = key(file)
		}
		if sources[i].kept, err = r.recallOne(sources[i]); err != nil {
			return nil, nil, err
		}
		if sources[i].kept == nil {
			left = append(left, file)
		}
	}
	return sources, left, nil
}

func (r *rendering) recallOne(s source) (*entry, error) {
	if s.key == "" {
		return nil, nil
	}
	e := r.renderer.files.look(s.key)
	if e == nil {
		return nil, nil
	}
	for name, was := range e.reads {
		if now, err := r.tree.now(name); err != nil || now != was {
			return nil, err
		}
	}
	if err := r.tree.note(s.file); err != nil {
		return nil, err
	}
	for name := range e.reads {
		if err := r.tree.note(name); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// take adds a file's objects.
func (r *rendering) take(s source) {
	if s.kept != nil {
		r.objects = append(r.objects, s.kept.desired.Objects...)
		for _, o := range s.kept.desired.Objects {
			r.good[o.Unstructured] = true
		}
		return
	}
	before := len(r.objects)
	for _, d := range s.documents {
		r.add(d, s.file)
	}
	if s.key == "" || s.opened {
		return
	}
	e := &entry{key: s.key, reads: map[string]string{}, desired: api.Desired{Objects: slices.Clone(r.objects[before:])}}
	for _, name := range s.reads {
		e.reads[name] = r.tree.digests[name]
	}
	r.fresh = append(r.fresh, e)
}

// keepFiles keeps what is new and was found to be without mistakes.
func (r *rendering) keepFiles() {
	wrong := map[string]bool{}
	for _, p := range r.problems {
		wrong[p.File] = true
	}
	for _, e := range r.fresh {
		file := strings.Split(e.key, "\x00")[1]
		if wrong[file] {
			continue
		}
		r.renderer.files.put(e, nil)
		for _, o := range e.desired.Objects {
			r.good[o.Unstructured] = true
		}
	}
}
