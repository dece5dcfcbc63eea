package sources

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"sort"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/memory"
	"k8s.io/apimachinery/pkg/types"

	"slipway.dev/slipway/api"
)

// RestorePath commits the folder or file at path as it was at an older commit: one
// commit on top of the branch's head (empty: see api.CommitRequest.Branch), after which
// git sees no difference there to that commit, modes and links included; every other
// path keeps its object. path "." is the whole tree. It answers the commit that the
// branch is at, which is the one it was at before where nothing changes.
//
// It is an error, and nothing is written, if the old commit has nothing at path.
func (s *Sources) RestorePath(ctx context.Context, repository types.NamespacedName, branch, path, commit, message string, trailers []api.Trailer) (string, error) {
	return s.Restore(ctx, api.CommitRequest{Repository: repository, Branch: branch, Message: message, Trailers: trailers}, path, commit)
}

// Restore is RestorePath with everything that a CommitRequest says, other than Changes.
func (s *Sources) Restore(ctx context.Context, req api.CommitRequest, path, commit string) (string, error) {
	if req.Changes != nil {
		return "", fmt.Errorf("gitrepository %s: a restored path takes no other changes", req.Repository)
	}
	if !fs.ValidPath(path) || !isHash(commit) {
		return "", fmt.Errorf("gitrepository %s: %q at %.80q is no path in a full commit", req.Repository, path, commit)
	}
	return s.commit(ctx, req, func(ctx context.Context, p place) (change, error) {
		if _, err := p.at(ctx, "", commit); err != nil {
			return nil, err
		}
		return restored(path, plumbing.NewHash(commit)), nil
	})
}

// restored is a change of path to what it was at an old commit.
func restored(path string, old plumbing.Hash) change {
	return func(_ context.Context, a attempt, root plumbing.Hash, made *memory.Storage) (plumbing.Hash, error) {
		o := a.r.objects
		c, err := o.commit(old)
		if err != nil {
			return root, err
		}
		if yes, _ := a.r.descends(a.parent, old); !yes && a.vouch != nil {
			if err := a.vouch(old); err != nil {
				return root, err
			}
		}
		n, err := newTreeFS(o, c.TreeHash, c.Committer.When, nil).look("restore", path)
		if err != nil {
			return root, fmt.Errorf("commit %s: %w", old, err)
		}
		if path == "." {
			return c.TreeHash, a.carry(old, n.entry, made)
		}
		changed, err := rewriter{o, made}.graft(root, strings.Split(path, "/"), "", n.entry)
		if err != nil {
			return root, fmt.Errorf("commit to %s: %w", a.l, err)
		}
		return changed, a.carry(old, n.entry, made)
	}
}

// carry puts what is at e into the pack where the server may have lost it: an old
// commit that a rewritten history left behind.
func (a attempt) carry(old plumbing.Hash, e object.TreeEntry, made *memory.Storage) error {
	if yes, _ := a.r.descends(a.parent, old); yes {
		return nil
	}
	for left := []object.TreeEntry{e}; len(left) > 0; {
		e, left = left[0], left[1:]
		if e.Mode == filemode.Submodule || made.HasEncodedObject(e.Hash) == nil {
			continue
		}
		if e.Mode == filemode.Dir {
			below, err := a.r.objects.rawTree(e.Hash)
			if err != nil {
				return err
			}
			left = append(left, below...)
		}
		if err := a.r.objects.copy(e.Hash, made); err != nil {
			return err
		}
	}
	return nil
}

// graft puts an entry at a path of the tree old (zero: none), under the path's last name.
func (w rewriter) graft(old plumbing.Hash, path []string, at string, e object.TreeEntry) (plumbing.Hash, error) {
	entries := map[string]object.TreeEntry{}
	if !old.IsZero() {
		read, err := w.objects.rawTree(old)
		if err != nil {
			return old, err
		}
		for _, entry := range read {
			entries[entry.Name] = entry
		}
	}
	name := path[0]
	if len(path) > 1 {
		below, exists := entries[name]
		if exists && below.Mode != filemode.Dir {
			return old, fmt.Errorf("%s is a %s, not a folder", at+name, modeName(below.Mode))
		}
		h, err := w.graft(below.Hash, path[1:], at+name+"/", e)
		if err != nil {
			return old, err
		}
		e = object.TreeEntry{Mode: filemode.Dir, Hash: h}
	}
	e.Name = name
	entries[name] = e
	return w.store(old, slices.Collect(maps.Values(entries)), at)
}

// store makes a folder; one that is as it was is not made again.
func (w rewriter) store(old plumbing.Hash, entries []object.TreeEntry, at string) (plumbing.Hash, error) {
	t := &object.Tree{Entries: entries}
	sort.Sort(object.TreeEntrySorter(t.Entries))
	obj := &plumbing.MemoryObject{}
	if err := t.Encode(obj); err != nil {
		return old, fmt.Errorf("%s: %w", at, err)
	}
	if obj.Hash() == old {
		return old, nil
	}
	return w.made.SetEncodedObject(obj)
}
