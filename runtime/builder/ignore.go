package builder

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// ignore says which paths of a tree stay out. The last rule that matches counts.
type ignore struct {
	rules []rule
	// doublestar lets `**` stand for any number of folders.
	doublestar bool
}

type rule struct {
	globs []string
	back  bool
}

// ignoreFile reads a .s2iignore or .dockerignore: one glob a line, matched against the
// path from the source's root; a folder takes what is below it along; `!` brings back.
// A .dockerignore knows `**` too.
// Source: source-to-image, pkg/ignore; Docker's documentation of .dockerignore.
func ignoreFile(tree fs.FS, name string, doublestar bool) (ignore, error) {
	data, err := fs.ReadFile(tree, name)
	if errors.Is(err, fs.ErrNotExist) {
		return ignore{}, nil
	}
	if err != nil {
		return ignore{}, err
	}
	ig := ignore{doublestar: doublestar}
	for i, line := range strings.Split(string(data), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		glob, back := strings.CutPrefix(line, "!")
		glob = path.Clean(strings.TrimLeft(strings.TrimSpace(glob), "/"))
		for _, part := range strings.Split(glob, "/") {
			if _, err := path.Match(part, ""); err != nil {
				return ignore{}, fmt.Errorf("%s:%d: %q: %w", name, i+1, line, err)
			}
		}
		ig.rules = append(ig.rules, rule{strings.Split(glob, "/"), back})
	}
	return ig, nil
}

// but is the same with one more path, to the letter, out.
func (g ignore) but(name string) ignore {
	var literal strings.Builder
	for _, r := range name {
		if strings.ContainsRune(`*?[\`, r) {
			literal.WriteByte('\\')
		}
		literal.WriteRune(r)
	}
	g.rules = append(slices.Clone(g.rules), rule{globs: strings.Split(literal.String(), "/")})
	return g
}

// bringsBack says that a rule may let in something below a folder that stays out.
func (g ignore) bringsBack() bool {
	return slices.ContainsFunc(g.rules, func(r rule) bool { return r.back })
}

// out says whether a path stays out.
func (g ignore) out(name string) bool {
	out := false
	parts := strings.Split(name, "/")
	for _, r := range g.rules {
		if g.covers(r.globs, parts) {
			out = !r.back
		}
	}
	return out
}

// covers says whether a glob names the path or a folder above it.
func (g ignore) covers(globs, parts []string) bool {
	if len(globs) == 0 {
		return true
	}
	if globs[0] == "**" && g.doublestar {
		for i := range len(parts) + 1 {
			if g.covers(globs[1:], parts[i:]) && (len(globs) > 1 || i < len(parts)) {
				return true
			}
		}
		return false
	}
	if len(parts) == 0 {
		return false
	}
	ok, err := path.Match(globs[0], parts[0])
	return err == nil && ok && g.covers(globs[1:], parts[1:])
}
