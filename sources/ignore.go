package sources

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/format/gitignore"
)

// ignoreFile holds gitignore patterns for the folder that it is in and all below it:
// what matches is not seen. It is Flux's name.
const ignoreFile = ".sourceignore"

// maxIgnoreFile bounds a .sourceignore file.
const maxIgnoreFile = 1 << 20

// rules are the patterns of one .sourceignore file, or of spec.ignore.
type rules struct {
	above    *rules
	patterns []gitignore.Pattern
	// sum identifies these rules with all above them and where they are.
	sum string
}

func parseRules(text string, folder []string, above *rules) *rules {
	r := &rules{above: above}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#") {
			continue
		}
		r.patterns = append(r.patterns, gitignore.ParsePattern(line, folder))
	}
	if len(r.patterns) == 0 {
		return above
	}
	h := sha256.New()
	fmt.Fprintf(h, "%d %s\n%d %s\n", len(above.digest()), above.digest(), len(folder), strings.Join(folder, "/"))
	h.Write([]byte(text))
	r.sum = hex.EncodeToString(h.Sum(nil))
	return r
}

func (r *rules) digest() string {
	if r == nil {
		return ""
	}
	return r.sum
}

// decide is what the last matching pattern says, the deepest folder's before those above.
func (r *rules) decide(path []string, dir bool) gitignore.MatchResult {
	for ; r != nil; r = r.above {
		for i := len(r.patterns) - 1; i >= 0; i-- {
			if m := r.patterns[i].Match(path, dir); m != gitignore.NoMatch {
				return m
			}
		}
	}
	return gitignore.NoMatch
}

// hides says whether the patterns hide a node whose folder is seen.
func (v *view) hides(n node) bool {
	if v == nil || v.spec == nil && n.rules == nil {
		return false
	}
	m := v.spec.decide(n.path, n.isFolder())
	if m == gitignore.NoMatch {
		m = n.rules.decide(n.path, n.isFolder())
	}
	return m == gitignore.Exclude
}

// rulesOf are the rules for what is in the folder at, whose tree t has a .sourceignore.
func (v *view) rulesOf(at node, t *tree) (*rules, error) {
	e, ok := t.find(ignoreFile)
	if !ok || e.Mode == filemode.Symlink {
		return at.rules, nil
	}
	key := at.rules.digest() + " " + e.Hash.String() + " " + strings.Join(at.path, "/")
	if r, ok := v.parsed.Load(key); ok {
		return r.(*rules), nil
	}
	name := strings.Join(append(at.path[:len(at.path):len(at.path)], ignoreFile), "/")
	size, err := at.objects.size(e.Hash)
	if err == nil && size > maxIgnoreFile {
		err = fmt.Errorf("%d bytes, more than %d", size, maxIgnoreFile)
	}
	var text []byte
	if err == nil {
		text, err = at.objects.blob(e.Hash)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	r := parseRules(string(text), at.path, at.rules)
	v.parsed.Store(key, r)
	return r, nil
}
