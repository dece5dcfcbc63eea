package sources

import (
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	"slipway.dev/slipway/api"
)

// Revision is a commit of the mirror, whole; name is the branch or tag that led to it.
// Paths that match ignore, gitignore's patterns, are not in its tree.
func (r *Mirror) Revision(l Location, t target, ignore string) (api.Revision, error) {
	return r.revision(l, t, newView(ignore))
}

func (r *Mirror) revision(l Location, t target, v *view) (api.Revision, error) {
	h, err := r.objects.peel(t.hash)
	if err != nil {
		return api.Revision{}, err
	}
	c, err := r.objects.commit(h)
	if err != nil {
		return api.Revision{}, err
	}
	author := c.Author.Name
	if c.Author.Email != "" {
		author += " <" + c.Author.Email + ">"
	}
	return api.Revision{
		URL:     l.Fetch,
		Branch:  t.name,
		Commit:  h.String(),
		Author:  strings.ToValidUTF8(author, "�"),
		Message: strings.ToValidUTF8(c.Message, "�"),
		When:    c.Committer.When,
		Tree:    newTreeFS(r.objects, c.TreeHash, c.Committer.When, v),
	}, nil
}

// maxAncestors bounds how far back descends looks.
const maxAncestors = 2000

// descends says whether old is new or one of its ancestors; sure is false if neither
// was found out within maxAncestors commits, or in the history that is here.
func (r *Mirror) descends(new, old plumbing.Hash) (yes, sure bool) {
	seen := map[plumbing.Hash]bool{new: true}
	queue := []plumbing.Hash{new}
	lacking := false
	for len(queue) > 0 {
		h := queue[0]
		queue = queue[1:]
		if h == old {
			return true, true
		}
		if len(seen) > maxAncestors {
			return false, false
		}
		c, err := r.objects.commit(h)
		if err != nil {
			// It is beyond the depth of the fetches, or cannot be read.
			lacking = true
			continue
		}
		for _, p := range c.ParentHashes {
			if !seen[p] {
				seen[p] = true
				queue = append(queue, p)
			}
		}
	}
	return false, !lacking
}
