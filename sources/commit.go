package sources

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/memory"

	"slipway.dev/slipway/api"
)

// ErrPush says that the repository refused a commit, and not because somebody else
// was faster.
var ErrPush = errors.New("push refused")

// commitTries is how often a commit is computed again on a head that another writer
// moved meanwhile.
const commitTries = 10

// Commit writes a commit on top of a branch's head and pushes it without force; the
// branch is made if the repository is empty. Where another writer was faster it is
// computed again on the new head. Where nothing would change no commit is made.
// It answers the commit that the branch is at.
func (r *Mirror) Commit(ctx context.Context, l Location, c Credentials, branch string, now func() time.Time, req api.CommitRequest) (commit string, made bool, err error) {
	ref := "refs/heads/" + branch
	if err := CheckRefName(ref); err != nil {
		return "", false, err
	}
	if err := r.take(ctx); err != nil {
		return "", false, err
	}
	defer r.release()
	var refused error
	last, still := plumbing.ZeroHash, 0
	for try := range commitTries {
		session, adv, head, err := r.receivePack(ctx, l, c, ref)
		if err != nil {
			return "", false, err
		}
		if still++; refused == nil || head != last {
			still = 0
		}
		// One failure at an unmoved head may be another writer's lock.
		if still == 3 {
			session.Close()
			return "", false, fmt.Errorf("%w: branch %q of %s: %w", ErrPush, branch, l, refused)
		}
		last = head
		out := attempt{r, l, c, ref, head}
		h, objs, err := out.build(ctx, now(), req)
		if err != nil || len(objs.Objects) == 0 {
			session.Close()
			return h.String(), false, err
		}
		pushed := push(ctx, session, adv, ref, head, h, objs)
		session.Close()
		if pushed == nil {
			return h.String(), true, r.set(r.current().with(ref, h))
		}
		if out.landed(ctx, h) {
			return h.String(), true, nil
		}
		if ctx.Err() != nil {
			return "", false, pushed
		}
		refused = pushed
		select {
		case <-ctx.Done():
			return "", false, ctx.Err()
		case <-time.After(rand.N(time.Duration(try+1) * 10 * time.Millisecond)):
		}
	}
	return "", false, fmt.Errorf("%w: branch %q of %s moved %d times while the commit was made: %w", ErrPush, branch, l, commitTries, refused)
}

// attempt is one commit on one head.
type attempt struct {
	r    *Mirror
	l    Location
	c    Credentials
	ref  string
	head plumbing.Hash
}

// build makes the commit's objects and stores them; no objects: nothing changes.
func (a attempt) build(ctx context.Context, now time.Time, req api.CommitRequest) (plumbing.Hash, *memory.Storage, error) {
	made := memory.NewStorage()
	root := plumbing.ZeroHash
	var parents []plumbing.Hash
	tree := newTreeFS(a.r.objects, emptyTree, now, nil)
	if !a.head.IsZero() {
		if !a.r.current().tips()[a.head] {
			if err := a.r.fetch(ctx, a.l, a.c, nil); err != nil {
				return a.head, nil, err
			}
		}
		c, err := a.r.objects.commit(a.head)
		if err != nil {
			return a.head, nil, err
		}
		root, parents = c.TreeHash, []plumbing.Hash{a.head}
		tree = newTreeFS(a.r.objects, root, c.Committer.When, nil)
	} else if err := a.r.objects.put(emptyStorage()); err != nil {
		return a.head, nil, err
	}
	changes, err := req.Changes(tree)
	if err != nil {
		return a.head, nil, err
	}
	e, err := edits(changes)
	if err != nil {
		return a.head, nil, err
	}
	changed, err := rewriter{a.r.objects, made}.folder(root, e, "")
	if err != nil {
		return a.head, nil, fmt.Errorf("commit to %s: %w", a.l, err)
	}
	if changed == root || (root.IsZero() && changed == emptyTree) {
		return a.head, memory.NewStorage(), nil
	}
	h, err := writeCommit(made, changed, parents, now, req)
	if err != nil {
		return a.head, nil, err
	}
	return h, made, a.r.objects.put(made)
}

func writeCommit(made *memory.Storage, tree plumbing.Hash, parents []plumbing.Hash, now time.Time, req api.CommitRequest) (plumbing.Hash, error) {
	who := object.Signature{Name: clean(req.Author.Name), Email: clean(req.Author.Email), When: now.UTC().Truncate(time.Second)}
	if who.Name == "" {
		who.Name, who.Email = "Slipway", "slipway@localhost"
	}
	by := object.Signature{Name: "Slipway", Email: "slipway@localhost", When: who.When}
	c := object.Commit{Author: who, Committer: by, Message: message(req.Message, req.Trailers), TreeHash: tree, ParentHashes: parents}
	obj := &plumbing.MemoryObject{}
	if err := c.Encode(obj); err != nil {
		return plumbing.ZeroHash, err
	}
	return made.SetEncodedObject(obj)
}

// clean keeps a name from ending its header line.
func clean(s string) string {
	return strings.Join(strings.Fields(strings.NewReplacer("<", "", ">", "", "\x00", "").Replace(s)), " ")
}

// landed reads back whether a push whose answer was lost or bad did arrive, perhaps
// with commits of others on top already.
func (a attempt) landed(ctx context.Context, h plumbing.Hash) bool {
	if a.r.fetch(ctx, a.l, a.c, nil) != nil {
		return false
	}
	now, ok := a.r.current().names[a.ref]
	if !ok {
		return false
	}
	yes, _ := a.r.descends(now, h)
	return yes
}

// emptyTree is git's name for a folder without entries.
var emptyTree = plumbing.NewHash("4b825dc642cb6eb9a060e54bf8d69288fbee4904")

func emptyStorage() *memory.Storage {
	s := memory.NewStorage()
	obj := s.NewEncodedObject()
	obj.SetType(plumbing.TreeObject)
	// A memory storage takes every object.
	_, _ = s.SetEncodedObject(obj)
	return s
}
