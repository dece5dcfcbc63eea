package sources

import (
	"fmt"
	"io/fs"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
)

// treeChanges is api.CommitRequest.Changes.
type treeChanges = func(tree fs.FS) (map[string][]byte, error)

// requestTrailer carries api.CommitRequest.ID.
const requestTrailer = "Slipway-Request"

// maxRequestSearch bounds how far back a request's commit is looked for: a request is
// repeated soon after a crash, not a thousand commits later.
const maxRequestSearch = 1000

// requested is the commit that was made for the request id before, at head or behind
// it; zero if there is none.
func (r *Mirror) requested(head plumbing.Hash, id string) (plumbing.Hash, error) {
	if id == "" {
		return plumbing.ZeroHash, nil
	}
	if id != strings.Join(strings.Fields(id), " ") || strings.Contains(id, "\x00") {
		return plumbing.ZeroHash, fmt.Errorf("request id %.80q does not fit in a trailer", id)
	}
	line := requestTrailer + ": " + id
	seen := map[plumbing.Hash]bool{head: true}
	for queue := []plumbing.Hash{head}; len(queue) > 0 && len(seen) <= maxRequestSearch; queue = queue[1:] {
		c, err := r.objects.commit(queue[0])
		if err != nil {
			if r.depth > 0 && queue[0] != head {
				continue // beyond the depth of the fetches
			}
			return plumbing.ZeroHash, err
		}
		if hasTrailer(c.Message, line) {
			return queue[0], nil
		}
		for _, p := range c.ParentHashes {
			if !seen[p] {
				seen[p] = true
				queue = append(queue, p)
			}
		}
	}
	return plumbing.ZeroHash, nil
}

// hasTrailer looks in a message's last paragraph only.
func hasTrailer(text, line string) bool {
	text = strings.TrimRight(text, "\n")
	if i := strings.LastIndex(text, "\n\n"); i >= 0 {
		text = text[i+2:]
	}
	for have := range strings.Lines(text) {
		if strings.TrimRight(have, "\r\n") == line {
			return true
		}
	}
	return false
}
