package sources

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing/filemode"
)

// fetchLFS brings the content of the pointers that are seen of a tree, as far as it is
// not here. Submodules' pointers are not followed.
func (p place) fetchLFS(ctx context.Context, tree treeFS) error {
	seen := tree.top.entry.Hash.String() + tree.view.marks()
	store := p.mirror.lfs
	if store.isComplete(seen) {
		return nil
	}
	all := map[lfsPointer]string{}
	if err := tree.pointers(tree.top, all); err != nil {
		return err
	}
	now := time.Now()
	missing, err := store.missing(all, now)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrLFS, err)
	}
	if len(missing) > 0 {
		c, err := newLFSClient(p.mirror.owner, p.location, p.creds)
		if err == nil {
			ctx, cancel := context.WithTimeout(ctx, p.patience())
			defer cancel()
			err = c.fetch(ctx, missing, store)
		}
		if err != nil {
			return fmt.Errorf("%w (%s): %w", ErrLFS, all[missing[0]], ctxError(ctx, err))
		}
		if err := store.sweep(now); err != nil {
			return err
		}
	}
	store.noteComplete(seen)
	return nil
}

// pointers adds the pointers below a folder, and one file's name for each.
func (f treeFS) pointers(folder node, all map[lfsPointer]string) error {
	list, err := f.list(folder)
	if err != nil {
		return err
	}
	for _, n := range list {
		if n.entry.Mode == filemode.Dir {
			if err := f.pointers(n, all); err != nil {
				return err
			}
			continue
		}
		if !n.entry.Mode.IsFile() || n.entry.Mode == filemode.Symlink {
			continue
		}
		size, err := n.objects.size(n.entry.Hash)
		if err != nil {
			return err
		}
		if size > maxPointer || size < int64(len(pointer)) {
			continue
		}
		content, err := n.objects.blob(n.entry.Hash)
		if err != nil {
			return err
		}
		if p, ok := parsePointer(content); ok {
			all[p] = strings.Join(n.path, "/")
		}
		if len(all) > maxPointers {
			return fmt.Errorf("%w: more than %d files: hide by spec.ignore what nothing renders", ErrLFS, maxPointers)
		}
	}
	return nil
}
