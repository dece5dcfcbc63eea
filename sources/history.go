package sources

import (
	"container/heap"
	"context"
	"fmt"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"k8s.io/apimachinery/pkg/types"

	"slipway.dev/slipway/api"
)

// maxHistory bounds how many commits a walk through history reads.
const maxHistory = 20_000

// History is what `git log from..to` lists, newest first and at most limit: the commits that to
// reaches and from does not, those of merged branches included. An empty from reaches none.
// Both are full commits. History that was not fetched is as if it were not there.
func (s *Sources) History(ctx context.Context, repository types.NamespacedName, from, to string, limit int) ([]api.Commit, error) {
	p, err := s.find(ctx, repository)
	if err != nil {
		return nil, err
	}
	for _, commit := range []string{from, to} {
		if commit == "" && to != "" {
			continue
		}
		if !isHash(commit) {
			return nil, fmt.Errorf("gitrepository %s: %w: %.80q is not a full commit", repository, ErrNoRevision, commit)
		}
		if _, err := p.at(ctx, "", commit); err != nil {
			return nil, fmt.Errorf("gitrepository %s: %w", repository, err)
		}
	}
	w := &walk{objects: p.mirror.objects, seen: map[plumbing.Hash]mark{}, counts: func(m mark) bool { return m == wanted }}
	if err := w.begin(from, excluded, to, wanted); err != nil {
		return nil, fmt.Errorf("gitrepository %s: %w", repository, err)
	}
	var listed []*object.Commit
	for w.goesOn(listed, limit) {
		c, m, err := w.next()
		if err != nil {
			return nil, fmt.Errorf("gitrepository %s: history: %w", repository, err)
		}
		if m == wanted {
			listed = append(listed, c)
		}
	}
	var out []api.Commit
	for _, c := range listed {
		// What excludes it may have been found behind it.
		if w.seen[c.Hash] == wanted && len(out) < limit {
			out = append(out, described(c))
		}
	}
	return out, nil
}

func described(c *object.Commit) api.Commit {
	out := api.Commit{Hash: c.Hash.String(), Message: strings.ToValidUTF8(c.Message, "�"), When: c.Committer.When}
	out.Author = strings.ToValidUTF8(c.Author.Name, "�")
	if c.Author.Email != "" {
		out.Author += strings.ToValidUTF8(" <"+c.Author.Email+">", "�")
	}
	for _, p := range c.ParentHashes {
		out.Parents = append(out.Parents, p.String())
	}
	return out
}

// mark says from where a commit was reached.
type mark uint8

const (
	wanted mark = 1 << iota
	excluded
	// stale is behind a commit that is reached from both.
	stale
)

// behind is what a commit's parents are marked with.
func (m mark) behind() mark {
	if m&(wanted|excluded) == wanted|excluded {
		return m | stale
	}
	return m
}

// walk goes back through history, the newest commit first, as git's own walks do.
type walk struct {
	objects *objects
	queue   newestFirst
	seen    map[plumbing.Hash]mark
	// counts says which marks are looked for; left is how many queued commits have such.
	counts func(mark) bool
	left   int
}

// goesOn says whether to take another commit: while one that counts is queued, or one as
// young as what was found, which may still turn out to lie behind it.
func (w *walk) goesOn(found []*object.Commit, limit int) bool {
	if w.queue.Len() == 0 || len(w.seen) >= maxHistory {
		return false
	}
	if w.left > 0 && len(found) < limit {
		return true
	}
	return len(found) > 0 && !w.queue.commits[0].Committer.When.Before(found[len(found)-1].Committer.When)
}

// begin queues two commits; an empty one is none.
func (w *walk) begin(a string, am mark, b string, bm mark) error {
	for _, start := range []struct {
		commit string
		m      mark
	}{{a, am}, {b, bm}} {
		if start.commit == "" {
			continue
		}
		if err := w.reach(plumbing.NewHash(start.commit), start.m); err != nil {
			return err
		}
	}
	return nil
}

// reach adds a mark to a commit, and queues one that has none yet. The mark of a commit
// that was taken already goes on to its parents.
func (w *walk) reach(h plumbing.Hash, m mark) error {
	type step struct {
		h plumbing.Hash
		m mark
	}
	for todo := []step{{h, m}}; len(todo) > 0; {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		before, known := w.seen[at.h]
		now := before | at.m
		if known && now == before {
			continue
		}
		w.seen[at.h] = now
		c, err := w.objects.commit(at.h)
		if err != nil {
			return err
		}
		switch {
		case !known:
			heap.Push(&w.queue, c)
			w.count(0, now)
		case w.queue.has(at.h):
			w.count(before, now)
		default:
			for _, p := range w.parents(c) {
				todo = append(todo, step{p, now.behind()})
			}
		}
	}
	return nil
}

// count notes that a queued commit's marks change; one that is not queued has none.
func (w *walk) count(before, now mark) {
	if before != 0 && w.counts(before) {
		w.left--
	}
	if now != 0 && w.counts(now) {
		w.left++
	}
}

func (w *walk) next() (*object.Commit, mark, error) {
	c := heap.Pop(&w.queue).(*object.Commit)
	m := w.seen[c.Hash]
	w.count(m, 0)
	for _, p := range w.parents(c) {
		if err := w.reach(p, m.behind()); err != nil {
			return nil, 0, err
		}
	}
	return c, m, nil
}

// parents that were fetched.
func (w *walk) parents(c *object.Commit) []plumbing.Hash {
	var out []plumbing.Hash
	for _, p := range c.ParentHashes {
		if w.objects.has(p) {
			out = append(out, p)
		}
	}
	return out
}

// newestFirst is a heap of commits, the newest on top.
type newestFirst struct {
	commits []*object.Commit
	queued  map[plumbing.Hash]bool
}

func (q *newestFirst) has(h plumbing.Hash) bool { return q.queued[h] }
func (q *newestFirst) Len() int                 { return len(q.commits) }
func (q *newestFirst) Less(i, j int) bool {
	return q.commits[i].Committer.When.After(q.commits[j].Committer.When)
}
func (q *newestFirst) Swap(i, j int) { q.commits[i], q.commits[j] = q.commits[j], q.commits[i] }
func (q *newestFirst) Push(x any) {
	c := x.(*object.Commit)
	if q.queued == nil {
		q.queued = map[plumbing.Hash]bool{}
	}
	q.queued[c.Hash] = true
	q.commits = append(q.commits, c)
}

func (q *newestFirst) Pop() any {
	last := q.commits[len(q.commits)-1]
	q.commits = q.commits[:len(q.commits)-1]
	delete(q.queued, last.Hash)
	return last
}
