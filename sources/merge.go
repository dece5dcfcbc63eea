package sources

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/memory"
	"k8s.io/apimachinery/pkg/types"

	"slipway.dev/slipway/api"
)

// ErrConflict says that a branch cannot be merged without somebody's decision.
var ErrConflict = errors.New("merge conflict")

// Merged is what merging a branch, tag or commit into what a repository follows would
// give: the revision of ref, with the tree of the merge. What only one side changed since
// the newest commit that both have is taken from that side; a file that both changed, each
// otherwise, is a conflict, even where git could merge its lines. No commit is made. Where
// signatures are asked for, ref must be signed.
func (s *Sources) Merged(ctx context.Context, repository types.NamespacedName, ref string) (api.Revision, error) {
	head, err := s.Revision(ctx, repository)
	if err != nil {
		return head, err
	}
	p, err := s.find(ctx, repository)
	if err != nil {
		return api.Revision{}, err
	}
	t, err := p.at(ctx, ref, "")
	if err != nil {
		return api.Revision{}, fmt.Errorf("gitrepository %s: %w", repository, err)
	}
	rev, err := s.verifiedRevision(ctx, p, repository, t)
	if err != nil {
		return rev, err
	}
	m := merger{p.mirror.objects, memory.NewStorage()}
	root, err := m.commits(head.Commit, rev.Commit)
	if err != nil {
		return api.Revision{}, fmt.Errorf("gitrepository %s: merge %s into %s: %w", repository, ref, abbreviated(head.Commit), err)
	}
	tree := rev.Tree.(treeFS)
	tree.top.entry.Hash = root
	rev.Tree = tree
	return rev, nil
}

func abbreviated(commit string) string { return commit[:min(len(commit), 7)] }

// merger merges trees; made gets the new ones.
type merger struct {
	objects *objects
	made    *memory.Storage
}

// commits is the tree of the merge of two commits.
func (m merger) commits(ours, theirs string) (plumbing.Hash, error) {
	a, err := m.objects.commit(plumbing.NewHash(ours))
	if err != nil {
		return plumbing.ZeroHash, err
	}
	b, err := m.objects.commit(plumbing.NewHash(theirs))
	if err != nil {
		return plumbing.ZeroHash, err
	}
	base, err := m.base(a, b)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	folder := func(h plumbing.Hash) *object.TreeEntry { return &object.TreeEntry{Mode: filemode.Dir, Hash: h} }
	var old *object.TreeEntry
	if base != nil {
		old = folder(base.TreeHash)
	}
	var conflicts []string
	root, err := m.entry("", old, folder(a.TreeHash), folder(b.TreeHash), &conflicts)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	if len(conflicts) > 0 {
		return plumbing.ZeroHash, fmt.Errorf("%w: both sides changed %s; merge what is followed into the branch first", ErrConflict, strings.Join(conflicts, ", "))
	}
	if root == nil {
		return emptyTree, m.objects.put(emptyStorage())
	}
	return root.Hash, m.objects.put(m.made)
}

// base is the newest commit that both have; nil: they share no history.
func (m merger) base(a, b *object.Commit) (*object.Commit, error) {
	if a.Hash == b.Hash {
		return a, nil
	}
	w := &walk{objects: m.objects, seen: map[plumbing.Hash]mark{}, counts: func(m mark) bool { return m&stale == 0 }}
	if err := w.begin(a.Hash.String(), wanted, b.Hash.String(), excluded); err != nil {
		return nil, err
	}
	var taken []*object.Commit
	for w.goesOn(taken, maxHistory) {
		c, _, err := w.next()
		if err != nil {
			return nil, err
		}
		taken = append(taken, c)
	}
	for _, c := range taken {
		if w.seen[c.Hash] == wanted|excluded {
			return c, nil
		}
	}
	return nil, nil
}

// entry merges what is at one path; nil: nothing is there.
func (m merger) entry(at string, old, ours, theirs *object.TreeEntry, conflicts *[]string) (*object.TreeEntry, error) {
	switch {
	case same(ours, theirs), same(old, theirs):
		return ours, nil
	case same(old, ours):
		return theirs, nil
	case !isFolder(ours) || !isFolder(theirs):
		*conflicts = append(*conflicts, at)
		return ours, nil
	}
	var names []string
	sides := [3]map[string]object.TreeEntry{}
	for i, side := range []*object.TreeEntry{old, ours, theirs} {
		if !isFolder(side) {
			continue
		}
		entries, err := m.objects.rawTree(side.Hash)
		if err != nil {
			return nil, err
		}
		sides[i] = map[string]object.TreeEntry{}
		for _, e := range entries {
			sides[i][e.Name] = e
			names = append(names, e.Name)
		}
	}
	slices.Sort(names)
	var merged []object.TreeEntry
	for _, name := range slices.Compact(names) {
		below := strings.TrimPrefix(at+"/"+name, "/")
		e, err := m.entry(below, find(sides[0], name), find(sides[1], name), find(sides[2], name), conflicts)
		if err != nil {
			return nil, err
		}
		if e != nil {
			merged = append(merged, object.TreeEntry{Name: name, Mode: e.Mode, Hash: e.Hash})
		}
	}
	if len(merged) == 0 {
		return nil, nil
	}
	h, err := rewriter(m).store(plumbing.ZeroHash, merged, at)
	return &object.TreeEntry{Mode: filemode.Dir, Hash: h}, err
}

func find(entries map[string]object.TreeEntry, name string) *object.TreeEntry {
	if e, ok := entries[name]; ok {
		return &e
	}
	return nil
}

func isFolder(e *object.TreeEntry) bool { return e != nil && e.Mode == filemode.Dir }

func same(a, b *object.TreeEntry) bool {
	return a == nil && b == nil || a != nil && b != nil && a.Mode == b.Mode && a.Hash == b.Hash
}
