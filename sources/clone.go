package sources

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/go-git/go-billy/v5/osfs"
	gogit "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

// Clone is a repository on this machine's disk, such as a working copy. It is read out of
// its object store: neither is anything checked out, nor is anything written.
type Clone struct {
	repo    *gogit.Repository
	objects *objects
}

// OpenClone opens the repository of the folder, or of one above it.
func OpenClone(dir string) (*Clone, error) {
	repo, err := gogit.PlainOpenWithOptions(dir, &gogit.PlainOpenOptions{DetectDotGit: true, EnableDotGitCommonDir: true})
	if errors.Is(err, gogit.ErrRepositoryNotExists) {
		return nil, fmt.Errorf("%s is not in a git repository", dir)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	store, ok := repo.Storer.(*filesystem.Storage)
	if !ok {
		return nil, fmt.Errorf("%s: the repository is not on disk", dir)
	}
	// It may build upon the objects of another repository, anywhere on the disk.
	store = filesystem.NewStorageWithOptions(store.Filesystem(), cache.NewObjectLRU(blobCache), filesystem.Options{AlternatesFS: osfs.New("/")})
	if repo, err = gogit.Open(store, nil); err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return &Clone{repo, newObjects(dir, store)}, nil
}

// Close lets go of the repository's files.
func (c *Clone) Close() error { return c.objects.close() }

// Commit is the full commit that a revision names: a branch, a tag, HEAD~2, a commit.
func (c *Clone) Commit(revision string) (string, error) {
	h, err := c.repo.ResolveRevision(plumbing.Revision(revision))
	if err == nil {
		*h, err = c.objects.peel(*h)
	}
	if err != nil {
		return "", fmt.Errorf("%w: %.80q: %w", ErrNoRevision, revision, err)
	}
	return h.String(), nil
}

// MergeBase is the newest commit that two commits have in common.
func (c *Clone) MergeBase(a, b string) (string, error) {
	x, err := c.objects.commit(plumbing.NewHash(a))
	if err != nil {
		return "", err
	}
	y, err := c.objects.commit(plumbing.NewHash(b))
	if err != nil {
		return "", err
	}
	bases, err := x.MergeBase(y)
	if err != nil {
		return "", err
	}
	if len(bases) == 0 {
		return "", fmt.Errorf("%.12s and %.12s have no commit in common", a, b)
	}
	return bases[0].Hash.String(), nil
}

// Tree is a full commit's tree. It implements api.TreeDigests.
func (c *Clone) Tree(commit string) (fs.FS, error) {
	t, err := c.tree(commit)
	if err != nil {
		return nil, err
	}
	return *t, nil
}

func (c *Clone) tree(commit string) (*treeFS, error) {
	found, err := c.objects.commit(plumbing.NewHash(commit))
	if err != nil {
		return nil, err
	}
	t := newTreeFS(c.objects, found.TreeHash, found.Committer.When, newView(""))
	return &t, nil
}

// Changes lists every file path that differs between two full commits.
func (c *Clone) Changes(from, to string) ([]string, error) {
	a, err := c.tree(from)
	if err != nil {
		return nil, err
	}
	b, err := c.tree(to)
	if err != nil {
		return nil, err
	}
	d := differ{from: a, to: b}
	if err := d.walk(&a.top, &b.top); err != nil {
		return nil, fmt.Errorf("changes from %.12s to %.12s: %w", from, to, err)
	}
	slices.SortFunc(d.paths, strings.Compare)
	return d.paths, nil
}
