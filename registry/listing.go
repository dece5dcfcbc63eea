package registry

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// tags lists a repository's tags, in the order of their bytes; errNameUnknown if
// nothing was ever pushed to it.
func (s *store) tags(repo string) ([]string, error) {
	if ok, err := s.hasRepository(repo); err != nil || !ok {
		return nil, errors.Join(err, errNameUnknown.with("there is no repository %s", repo))
	}
	entries, err := os.ReadDir(s.repoPath(repo, "_tags"))
	if errors.Is(err, fs.ErrNotExist) {
		return []string{}, nil
	}
	if err != nil {
		return nil, err
	}
	tags := make([]string, 0, len(entries))
	for _, e := range entries {
		tags = append(tags, e.Name())
	}
	slices.Sort(tags)
	return tags, nil
}

func (s *store) hasRepository(repo string) (bool, error) {
	for _, part := range []string{"_manifests", "_blobs"} {
		_, err := os.Stat(s.repoPath(repo, part))
		if err == nil {
			return true, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
	}
	return false, nil
}

// repositories lists every repository that something was pushed to, in the order of the
// names' bytes.
func (s *store) repositories() ([]string, error) {
	root := s.repoPath("")
	found := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed while we looked
		}
		if err != nil {
			return err
		}
		if !e.IsDir() || !strings.HasPrefix(e.Name(), "_") {
			return nil
		}
		if e.Name() == "_manifests" || e.Name() == "_blobs" {
			name, err := filepath.Rel(root, filepath.Dir(path))
			if err != nil {
				return err
			}
			found[filepath.ToSlash(name)] = true
		}
		return filepath.SkipDir
	})
	names := make([]string, 0, len(found))
	for name := range found {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, err
}

// manifestsOf lists the digests of a repository's manifests.
func (s *store) manifestsOf(repo string) ([]digest, error) {
	return s.digestsBelow(s.repoPath(repo, "_manifests"))
}

// linksOf lists the digests of the blobs that a repository holds.
func (s *store) linksOf(repo string) ([]digest, error) {
	return s.digestsBelow(s.repoPath(repo, "_blobs"))
}

func (s *store) digestsBelow(folder string) ([]digest, error) {
	var all []digest
	for alg := range hashes {
		entries, err := os.ReadDir(filepath.Join(folder, alg))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			d, err := parseDigest(alg + ":" + e.Name())
			if err != nil {
				return nil, err
			}
			all = append(all, d)
		}
	}
	return all, nil
}
