package sources

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/storage/memory"

	"slipway.dev/slipway/api"
)

// ErrPush says that the repository refused a commit, and not because somebody else
// was faster.
var ErrPush = errors.New("push refused")

// commitTries is how often a commit is computed again on a head that another writer
// moved meanwhile.
const commitTries = 10

// change makes the tree that is to be committed from the one at the head (zero: none).
// What it makes goes into made.
type change func(ctx context.Context, a attempt, root plumbing.Hash, made *memory.Storage) (plumbing.Hash, error)

// Commit writes a commit on top of a branch's head and pushes it without force; the
// branch is made if the repository is empty or req.Base names what it starts from.
// Where another writer was faster it is computed again on the new head. Where nothing
// would change, or a commit with req.ID is there, no commit is made. It answers the
// commit that the branch is at, or the one with the ID.
func (r *Mirror) Commit(ctx context.Context, l Location, c Credentials, branch string, now func() time.Time, req api.CommitRequest) (commit string, made bool, err error) {
	return r.commit(ctx, writing{l: l, c: c, branch: branch, now: now, req: req, do: contents(req.Changes)})
}

// writing is a commit to be made.
type writing struct {
	l      Location
	c      Credentials
	branch string
	now    func() time.Time
	req    api.CommitRequest
	do     change
	// vouch says why a commit may not be built upon; nil: every one may. Slipway's
	// signature on a commit speaks for all that the commit holds, so that where
	// signatures are asked for it goes on top of signed commits only.
	vouch func(plumbing.Hash) error
}

func (r *Mirror) commit(ctx context.Context, w writing) (commit string, made bool, err error) {
	l, c, branch, req := w.l, w.c, w.branch, w.req
	ref := "refs/heads/" + branch
	if err := CheckRefName(ref); err != nil {
		return "", false, err
	}
	sign, err := c.signer(r.owner.opts.SigningKey)
	if err != nil {
		return "", false, err
	}
	if err := r.take(ctx); err != nil {
		return "", false, err
	}
	defer r.release()
	var refused error
	last, still := plumbing.ZeroHash, 0
	for try := range commitTries {
		session, adv, err := r.receivePack(ctx, l, c)
		if err != nil {
			return "", false, err
		}
		head := adv.References[ref]
		if still++; refused == nil || head != last {
			still = 0
		}
		// One failure at an unmoved head may be another writer's lock.
		if still == 3 {
			session.Close()
			return "", false, fmt.Errorf("%w: branch %q of %s: %w", ErrPush, branch, l, refused)
		}
		last = head
		out := attempt{r: r, writing: w, ref: ref, head: head, parent: head, signer: sign, by: r.owner.opts.Committer}
		if head.IsZero() && len(adv.References) > 0 {
			if out.parent = adv.References["refs/heads/"+req.Base]; out.parent.IsZero() {
				session.Close()
				return "", false, fmt.Errorf("%w: branch %q of %s, and no branch that it starts from", ErrNoRevision, branch, l)
			}
		}
		h, objs, err := out.build(ctx)
		if err != nil || len(objs.Objects) == 0 {
			session.Close()
			if err != nil {
				return "", false, err
			}
			return hashString(h), false, nil
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

// hashString is empty for no commit.
func hashString(h plumbing.Hash) string {
	if h.IsZero() {
		return ""
	}
	return h.String()
}

// attempt is one commit on one head.
type attempt struct {
	r *Mirror
	writing
	ref string
	// head is where the branch is, zero if it does not exist; parent is what the commit
	// goes on top of, zero in an empty repository.
	head, parent plumbing.Hash
	signer       *signer
	by           api.Identity
}

// build makes the commit's objects and stores them; no objects: nothing changes, or
// the commit that is answered was made for this request before.
func (a attempt) build(ctx context.Context) (plumbing.Hash, *memory.Storage, error) {
	made := memory.NewStorage()
	root := plumbing.ZeroHash
	var parents []plumbing.Hash
	if !a.parent.IsZero() {
		if !a.r.current().tips()[a.parent] {
			if err := a.r.fetch(ctx, a.l, a.c, nil); err != nil {
				return a.head, nil, err
			}
		}
		c, err := a.r.objects.commit(a.parent)
		if err != nil {
			return a.head, nil, err
		}
		root, parents = c.TreeHash, []plumbing.Hash{a.parent}
		if done, err := a.r.requested(a.parent, a.req.ID); err != nil || !done.IsZero() {
			return done, made, err
		}
		if a.vouch != nil {
			if err := a.vouch(a.parent); err != nil {
				return a.head, nil, fmt.Errorf("commit on top of branch %q: %w", a.branch, err)
			}
		}
	}
	changed, err := a.do(ctx, a, root, made)
	if err != nil {
		return a.head, nil, err
	}
	if changed == root || (root.IsZero() && changed == emptyTree) {
		return a.parent, memory.NewStorage(), nil
	}
	h, err := a.write(made, changed, parents)
	if err != nil {
		return a.head, nil, err
	}
	return h, made, a.r.objects.put(made)
}

// contents is a change of files by their content.
func contents(changes treeChanges) change {
	return func(_ context.Context, a attempt, root plumbing.Hash, made *memory.Storage) (plumbing.Hash, error) {
		if changes == nil {
			return root, nil
		}
		from, when := root, time.Time{}
		if root.IsZero() {
			from = emptyTree
			if err := a.r.objects.put(emptyStorage()); err != nil {
				return root, err
			}
		} else if c, err := a.r.objects.commit(a.parent); err == nil {
			when = c.Committer.When
		}
		files, err := changes(newTreeFS(a.r.objects, from, when, nil))
		if err != nil {
			return root, err
		}
		e, err := edits(files)
		if err != nil {
			return root, err
		}
		changed, err := rewriter{a.r.objects, made}.folder(root, e, "")
		if err != nil {
			return root, fmt.Errorf("commit to %s: %w", a.l, err)
		}
		return changed, nil
	}
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
