package registry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Pruned says what a Prune removed.
type Pruned struct {
	Manifests int
	// Links are blobs that a repository held and no manifest of it needed.
	Links   int
	Blobs   int
	Uploads int
	// Bytes that were freed, without those of uploads.
	Bytes int64
}

// Prune removes what nothing refers to and nobody touched for Options.Grace: manifests
// which no tag names, of which keep says no, and which are neither part of nor about one
// that stays; then the blobs that no manifest of their repository needs; then blobs that
// no repository holds. It also ends uploads without progress for that long. With keep
// nil every manifest stays. A read that fails ends Prune before anything is removed on
// the strength of it.
func (r *Registry) Prune(ctx context.Context, keep func(repository, digest string) bool) (Pruned, error) {
	p := pruning{store: r.store, keep: keep, before: r.store.now().Add(-r.store.grace)}
	repos, err := r.store.repositories()
	if err != nil {
		return p.Pruned, fmt.Errorf("registry: prune: %w", err)
	}
	for _, repo := range repos {
		if err := ctx.Err(); err != nil {
			return p.Pruned, err
		}
		if err := p.repository(repo); err != nil {
			return p.Pruned, fmt.Errorf("registry: prune %s: %w", repo, err)
		}
	}
	if err := errors.Join(p.endUploads(), p.blobs(ctx)); err != nil {
		return p.Pruned, fmt.Errorf("registry: prune: %w", err)
	}
	return p.Pruned, nil
}

type pruning struct {
	Pruned
	store  *store
	keep   func(repository, digest string) bool
	before time.Time
}

func (p *pruning) old(path string) (bool, int64, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, 0, nil
	}
	if err != nil {
		return false, 0, err
	}
	return info.ModTime().Before(p.before), info.Size(), nil
}

// repository sweeps one repository; pushes of manifests to it wait meanwhile.
func (p *pruning) repository(repo string) error {
	lock := p.store.stripe(&p.store.repoLocks, repo)
	lock.Lock()
	defer lock.Unlock()
	parsed, err := p.parseAll(repo)
	if err != nil {
		return err
	}
	stays, err := p.mark(repo, parsed)
	if err != nil {
		return err
	}
	needed := map[digest]bool{}
	for d, m := range parsed {
		if stays[d] {
			for _, ref := range m.blobs {
				needed[ref.digest] = true
			}
			continue
		}
		if err := p.store.deleteManifest(repo, d); err != nil {
			return err
		}
		p.Manifests++
	}
	links, err := p.store.linksOf(repo)
	if err != nil {
		return err
	}
	for _, d := range links {
		old, _, err := p.old(p.store.linkPath(repo, d))
		if err != nil {
			return err
		}
		if !old || needed[d] {
			continue
		}
		if err := p.store.disk.Remove(p.store.linkPath(repo, d)); err != nil {
			return err
		}
		p.Links++
	}
	return nil
}

func (p *pruning) parseAll(repo string) (map[digest]*manifest, error) {
	all, err := p.store.manifestsOf(repo)
	if err != nil {
		return nil, err
	}
	parsed := map[digest]*manifest{}
	for _, d := range all {
		kept, err := p.store.readManifest(repo, d)
		if errors.Is(err, errManifestUnknown) {
			continue // deleted while we looked
		}
		if err != nil {
			return nil, err
		}
		if parsed[d], err = parseManifest(kept.mediaType, kept.content); err != nil {
			return nil, fmt.Errorf("manifest %s: %w", d, err)
		}
	}
	return parsed, nil
}

// mark finds the manifests that stay: the roots, what they consist of, and what is
// about them.
func (p *pruning) mark(repo string, parsed map[digest]*manifest) (map[digest]bool, error) {
	tags, err := p.store.tags(repo)
	if err != nil {
		return nil, err
	}
	tagged := map[digest]bool{}
	for _, tag := range tags {
		d, err := p.store.resolveTag(repo, tag)
		if errors.Is(err, errManifestUnknown) {
			continue // deleted while we looked
		}
		if err != nil {
			return nil, err
		}
		tagged[d] = true
	}
	stays := map[digest]bool{}
	var visit func(d digest)
	visit = func(d digest) {
		m := parsed[d]
		if m == nil || stays[d] {
			return
		}
		stays[d] = true
		for _, ref := range m.manifests {
			visit(ref.digest)
		}
	}
	for d := range parsed {
		old, _, err := p.old(p.store.manifestPath(repo, d))
		if err != nil {
			return nil, err
		}
		if !old || tagged[d] || p.keep == nil || p.keep(repo, d.String()) {
			visit(d)
		}
	}
	for grown := true; grown; {
		grown = false
		for d, m := range parsed {
			if !stays[d] && !m.subject.zero() && stays[m.subject] {
				visit(d)
				grown = true
			}
		}
	}
	return stays, nil
}

// blobs removes the content that no repository holds any more.
func (p *pruning) blobs(ctx context.Context) error {
	held, err := p.held()
	if err != nil {
		return err
	}
	root := filepath.Join(p.store.dir, "blobs")
	return filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return errors.Join(err, ctx.Err())
		}
		parts := strings.Split(strings.TrimPrefix(path, root), string(filepath.Separator))
		d, err := parseDigest(parts[1] + ":" + e.Name())
		if err != nil || held[d] {
			return err
		}
		return p.blob(d)
	})
}

// blob removes one. Whoever links it holds its lock and renews its time of change, so
// one that is still old under the lock was not linked since held looked.
func (p *pruning) blob(d digest) error {
	lock := p.store.stripe(&p.store.blobLocks, d.String())
	lock.Lock()
	defer lock.Unlock()
	old, size, err := p.old(p.store.blobPath(d))
	if err != nil || !old {
		return err
	}
	if err := p.store.disk.Remove(p.store.blobPath(d)); err != nil {
		return err
	}
	p.store.verifiedMu.Lock()
	delete(p.store.verified, d)
	p.store.verifiedMu.Unlock()
	p.Blobs++
	p.Bytes += size
	return nil
}

// held is what some repository links.
func (p *pruning) held() (map[digest]bool, error) {
	repos, err := p.store.repositories()
	if err != nil {
		return nil, err
	}
	held := map[digest]bool{}
	for _, repo := range repos {
		links, err := p.store.linksOf(repo)
		if err != nil {
			return nil, err
		}
		for _, d := range links {
			held[d] = true
		}
	}
	return held, nil
}

// endUploads removes uploads without progress, also those of a process before this one.
func (p *pruning) endUploads() error {
	return p.store.eachUpload(func(repo, id string) error {
		old, _, err := p.old(p.store.uploadPath(repo, id))
		if err != nil || !old {
			return err
		}
		u, err := p.store.findUpload(repo, id)
		if err != nil || !u.mu.TryLock() {
			return nil // ended, or in use
		}
		defer u.mu.Unlock()
		p.Uploads++
		return p.store.forget(u)
	})
}

// eachUpload calls f for every upload on disk, those of repositories to which nothing
// was ever pushed included.
func (s *store) eachUpload(f func(repo, id string) error) error {
	root := s.repoPath("")
	return filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !strings.HasPrefix(e.Name(), "_") || !e.IsDir() {
			return err
		}
		if e.Name() != "_uploads" {
			return filepath.SkipDir
		}
		repo, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		entries, err := os.ReadDir(path)
		if err != nil {
			return err
		}
		for _, one := range entries {
			if err := f(filepath.ToSlash(repo), one.Name()); err != nil {
				return err
			}
		}
		return filepath.SkipDir
	})
}

// taggedAt is a tag and when it was last pushed.
type taggedAt struct {
	repo, tag string
	when      time.Time
}

// tagsByAge lists every tag, the one pushed longest ago first.
func (s *store) tagsByAge() ([]taggedAt, error) {
	repos, err := s.repositories()
	if err != nil {
		return nil, err
	}
	var all []taggedAt
	for _, repo := range repos {
		tags, err := s.tags(repo)
		if err != nil {
			return nil, err
		}
		for _, tag := range tags {
			info, err := os.Stat(s.tagPath(repo, tag))
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, err
			}
			all = append(all, taggedAt{repo, tag, info.ModTime()})
		}
	}
	slices.SortStableFunc(all, func(a, b taggedAt) int { return a.when.Compare(b.when) })
	return all, nil
}
