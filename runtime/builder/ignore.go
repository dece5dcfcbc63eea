package builder

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// ignoreFile reads a .s2iignore or .dockerignore and says which paths stay out. One
// glob a line, matched against the path from the source's root; a folder takes what is
// below it along; `!` brings back; the last match counts.
// Source: source-to-image, pkg/ignore; Docker's own file adds `**`.
func ignoreFile(tree fs.FS, name string) (func(string) bool, error) {
	data, err := fs.ReadFile(tree, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nothing, nil
	}
	if err != nil {
		return nil, err
	}
	type rule struct {
		glob string
		back bool
	}
	var rules []rule
	for i, line := range strings.Split(string(data), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		glob, back := strings.CutPrefix(line, "!")
		glob = path.Clean(strings.TrimPrefix(glob, "/"))
		if _, err := path.Match(strings.ReplaceAll(glob, "**", "*"), ""); err != nil {
			return nil, fmt.Errorf("%s:%d: %q: %w", name, i+1, line, err)
		}
		rules = append(rules, rule{glob, back})
	}
	return func(p string) bool {
		out := false
		for _, r := range rules {
			if covers(r.glob, p) {
				out = !r.back
			}
		}
		return out
	}, nil
}

// covers says whether a glob names the path or a folder above it.
func covers(glob, p string) bool {
	globs, parts := strings.Split(glob, "/"), strings.Split(p, "/")
	return coversParts(globs, parts)
}

func coversParts(globs, parts []string) bool {
	if len(globs) == 0 {
		return true
	}
	if globs[0] == "**" {
		for i := range len(parts) + 1 {
			if coversParts(globs[1:], parts[i:]) && (len(globs) > 1 || i < len(parts)) {
				return true
			}
		}
		return false
	}
	if len(parts) == 0 {
		return false
	}
	ok, err := path.Match(globs[0], parts[0])
	return err == nil && ok && coversParts(globs[1:], parts[1:])
}
