package sources

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// Bounds on submodules.
const (
	maxModuleDepth = 5
	maxModules     = 100
	maxModulesFile = 1 << 20
)

// declared is a submodule as .gitmodules tells of it.
type declared struct{ path, url string }

// parseModules reads a .gitmodules file: the submodules by path.
func parseModules(text []byte) ([]declared, error) {
	if len(text) > maxModulesFile {
		return nil, fmt.Errorf("more than %d bytes", maxModulesFile)
	}
	modules := config.NewModules()
	if err := modules.Unmarshal(text); err != nil {
		return nil, errors.New("it cannot be read")
	}
	var all []declared
	for _, m := range modules.Submodules {
		at := strings.TrimSuffix(m.Path, "/")
		if !fs.ValidPath(at) || at == "." {
			return nil, fmt.Errorf("submodule path %.200q is not one in a tree", m.Path)
		}
		for part := range strings.SplitSeq(at, "/") {
			if err := checkEntryName(part); err != nil {
				return nil, err
			}
		}
		all = append(all, declared{at, m.URL})
	}
	slices.SortFunc(all, func(a, b declared) int { return strings.Compare(a.path, b.path) })
	for i := 1; i < len(all); i++ {
		if all[i].path == all[i-1].path {
			return nil, fmt.Errorf("submodule %s is there twice", all[i].path)
		}
	}
	return all, nil
}

// relativeTo is where a submodule's URL leads from its repository's.
func relativeTo(parent Location, raw string) (Location, error) {
	if !strings.HasPrefix(raw, "./") && !strings.HasPrefix(raw, "../") {
		return ParseURL(raw)
	}
	u, err := url.Parse(parent.Fetch)
	if err != nil {
		return Location{}, fmt.Errorf("%w: %s", ErrURL, parent)
	}
	if strings.ContainsAny(raw, "?#%\\") {
		return Location{}, fmt.Errorf("%w: a relative URL with a query, a fragment or an escape", ErrURL)
	}
	climbs := 0
	for rest := raw; ; {
		switch {
		case strings.HasPrefix(rest, "./"):
			rest = rest[2:]
		case strings.HasPrefix(rest, "../"):
			rest, climbs = rest[3:], climbs+1
		default:
			if climbs > strings.Count(strings.Trim(u.Path, "/"), "/")+1 || slices.Contains(strings.Split(rest, "/"), "..") {
				return Location{}, fmt.Errorf("%w: it leads out of its host", ErrURL)
			}
			u.Path = path.Join(u.Path, raw)
			return ParseURL(u.String())
		}
	}
}

// forModule are the credentials for a submodule at l: the repository's own, where
// scheme, host and port are the same, else none.
func (c Credentials) forModule(repository, l Location) Credentials {
	if repository.Scheme == l.Scheme && repository.Host == l.Host {
		return c
	}
	other := Credentials{trusted: c.trusted}
	if c.trusted {
		other.Scope = c.Scope
	}
	return other
}

// gatherer finds the submodules of a tree, and theirs, and fetches what is not here.
type gatherer struct {
	place
	view *view
}

// gather adds what is below the folder at top, which is the root of a repository at l.
func (g gatherer) gather(ctx context.Context, tree treeFS, l Location, depth int) error {
	name := strings.Join(append(slices.Clip(tree.top.path), ".gitmodules"), "/")
	n, err := tree.look("read", ".gitmodules")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var text []byte
	if err == nil {
		text, err = tree.content("read", ".gitmodules", n)
	}
	var all []declared
	if err == nil {
		all, err = parseModules(text)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	for _, d := range all {
		n, err := tree.look("submodule", d.path)
		if err != nil || n.entry.Mode != filemode.Submodule {
			// It is declared and not there, or hidden: nobody reads it.
			continue
		}
		if err := g.add(ctx, n, l, d, depth); err != nil {
			return fmt.Errorf("%w %s: %w", ErrSubmodule, strings.Join(n.path, "/"), err)
		}
	}
	return nil
}

func (g gatherer) add(ctx context.Context, n node, parent Location, d declared, depth int) error {
	if depth >= maxModuleDepth {
		return fmt.Errorf("submodules of submodules are read %d deep", maxModuleDepth)
	}
	if len(g.view.modules) >= maxModules {
		return fmt.Errorf("more than %d submodules", maxModules)
	}
	l, err := relativeTo(parent, d.url)
	if err != nil {
		return err
	}
	p := place{location: l, creds: g.creds.forModule(g.location, l), repo: g.repo}
	if p.mirror, err = g.mirror.owner.Borrow(l, p.creds.Scope); err != nil {
		return err
	}
	if _, err := p.at(ctx, "", n.entry.Hash.String()); err != nil {
		return fmt.Errorf("%s: %w", l, err)
	}
	c, err := p.mirror.objects.commit(n.entry.Hash)
	if err != nil {
		return err
	}
	g.view.modules[strings.Join(n.path, "/")] = module{p.mirror.objects, c.TreeHash}
	below := treeFS{top: node{entry: object.TreeEntry{Name: ".", Mode: filemode.Dir, Hash: c.TreeHash}, objects: p.mirror.objects, path: n.path, rules: n.rules}, view: g.view}
	return g.gather(ctx, below, l, depth+1)
}
