package sources

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/filemode"
	"k8s.io/apimachinery/pkg/types"
)

// Changes are the paths of all files that differ between two full commits of a
// repository, sorted: added, removed, changed in content or mode. Only folders that
// differ are looked into. What spec.ignore and .sourceignore files hide is in neither
// tree. An empty from is a commit without files. A submodule that is not read is a
// path of its own.
func (s *Sources) Changes(ctx context.Context, repository types.NamespacedName, from, to string) ([]string, error) {
	p, err := s.find(ctx, repository)
	if err != nil {
		return nil, err
	}
	var trees [2]*treeFS
	for i, commit := range []string{from, to} {
		if commit == "" && i == 0 {
			continue
		}
		if !isHash(commit) {
			return nil, fmt.Errorf("gitrepository %s: %w: %.80q is not a full commit", repository, ErrNoRevision, commit)
		}
		t, err := p.at(ctx, "", commit)
		if err != nil {
			return nil, fmt.Errorf("gitrepository %s: %w", repository, err)
		}
		rev, err := p.revision(ctx, t)
		if err != nil {
			return nil, fmt.Errorf("gitrepository %s: %w", repository, err)
		}
		tree := rev.Tree.(treeFS)
		trees[i] = &tree
	}
	d := differ{from: trees[0], to: trees[1]}
	var a *node
	if d.from != nil {
		a = &d.from.top
	}
	if err := d.walk(a, &d.to.top); err != nil {
		return nil, fmt.Errorf("gitrepository %s: changes from %s to %s: %w", repository, from, to, err)
	}
	slices.Sort(d.paths)
	return d.paths, nil
}

type differ struct {
	from, to *treeFS
	paths    []string
}

// walk compares what is at one path in both trees; nil: nothing.
func (d *differ) walk(a, b *node) error {
	if a != nil && b != nil && d.from.digest(*a) == d.to.digest(*b) {
		return nil
	}
	below := [2][]node{}
	isFile := false
	for i, side := range []struct {
		tree *treeFS
		n    *node
	}{{d.from, a}, {d.to, b}} {
		switch {
		case side.n == nil:
		case !side.tree.opens(*side.n):
			isFile = true
		default:
			list, err := side.tree.list(*side.n)
			if err != nil {
				return &fs.PathError{Op: "readdir", Path: strings.Join(side.n.path, "/"), Err: err}
			}
			below[i] = list
		}
	}
	if isFile {
		n := b
		if n == nil {
			n = a
		}
		d.paths = append(d.paths, strings.Join(n.path, "/"))
	}
	return d.merge(below[0], below[1])
}

// merge walks two listings, both sorted by name, side by side.
func (d *differ) merge(a, b []node) error {
	for len(a) > 0 || len(b) > 0 {
		var x, y *node
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].entry.Name < b[0].entry.Name:
			x, a = &a[0], a[1:]
		case len(a) == 0 || b[0].entry.Name < a[0].entry.Name:
			y, b = &b[0], b[1:]
		default:
			x, y, a, b = &a[0], &b[0], a[1:], b[1:]
		}
		if err := d.walk(x, y); err != nil {
			return err
		}
	}
	return nil
}

// opens says whether a node is looked into: folders, and submodules that are read.
func (f treeFS) opens(n node) bool {
	return n.entry.Mode == filemode.Dir || n.entry.Mode == filemode.Submodule && f.view != nil && f.view.modules != nil
}
