package registry

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// stored is a manifest as it was pushed.
type stored struct {
	digest    digest
	mediaType string
	content   []byte
}

// readManifest returns a manifest of the repository, its content verified.
func (s *store) readManifest(repo string, d digest) (*stored, error) {
	path := s.manifestPath(repo, d)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errManifestUnknown.with("repository %s has no manifest %s", repo, d)
	}
	if err != nil {
		return nil, err
	}
	mediaType, content, ok := bytes.Cut(b, []byte("\n"))
	if !ok || !acceptedTypes[string(mediaType)] || digestOf(d.alg, content) != d {
		// Taken out of the way, so that pushing it again mends it.
		return nil, errors.Join(fmt.Errorf("manifest %s of %s is damaged on disk and was removed", d, repo), s.disk.Remove(path))
	}
	return &stored{d, string(mediaType), content}, nil
}

// resolveTag is the digest that a tag names.
func (s *store) resolveTag(repo, tag string) (digest, error) {
	b, err := os.ReadFile(s.tagPath(repo, tag))
	if errors.Is(err, fs.ErrNotExist) {
		return digest{}, errManifestUnknown.with("repository %s has no tag %s", repo, clip(tag))
	}
	if err != nil {
		return digest{}, err
	}
	d, err := parseDigest(strings.TrimSuffix(string(b), "\n"))
	if err != nil {
		return digest{}, fmt.Errorf("tag %s of %s: %w", tag, repo, err)
	}
	return d, nil
}

// putManifest makes a manifest durable, after all it refers to was found in the
// repository. The content's digest is d; the caller has verified it.
func (s *store) putManifest(repo string, d digest, m *manifest, content []byte) error {
	lock := s.stripe(&s.repoLocks, repo)
	lock.RLock()
	defer lock.RUnlock()
	if err := s.hasAll(repo, m); err != nil {
		return err
	}
	if !m.subject.zero() {
		if err := s.putReferrer(repo, d, m, int64(len(content))); err != nil {
			return err
		}
	}
	return s.place(s.manifestPath(repo, d), append([]byte(m.mediaType+"\n"), content...))
}

func (s *store) hasAll(repo string, m *manifest) error {
	for _, ref := range m.blobs {
		size, err := s.statBlob(repo, ref.digest)
		if errors.Is(err, errBlobUnknown) {
			return errManifestBlobUnknown.with("%s: repository %s has no blob %s", ref.field, repo, ref.digest)
		}
		if err != nil {
			return err
		}
		if size != ref.size {
			return errManifestInvalid.with("%s.size: %d, but blob %s has %d bytes", ref.field, ref.size, ref.digest, size)
		}
	}
	for _, ref := range m.manifests {
		info, err := os.Stat(s.manifestPath(repo, ref.digest))
		if errors.Is(err, fs.ErrNotExist) {
			return errManifestBlobUnknown.with("%s: repository %s has no manifest %s", ref.field, repo, ref.digest)
		}
		if err != nil {
			return err
		}
		s.touch(s.manifestPath(repo, ref.digest), info)
	}
	return nil
}

// announceManifest reads a manifest of whose existence a client will be told, and keeps
// it from Prune for a while.
func (s *store) announceManifest(repo string, d digest) (*stored, error) {
	lock := s.stripe(&s.repoLocks, repo)
	lock.RLock()
	defer lock.RUnlock()
	if info, err := os.Stat(s.manifestPath(repo, d)); err == nil {
		s.touch(s.manifestPath(repo, d), info)
	}
	return s.readManifest(repo, d)
}

func (s *store) putTag(repo, tag string, d digest) error {
	return s.place(s.tagPath(repo, tag), []byte(d.String()+"\n"))
}

func (s *store) deleteTag(repo, tag string) error {
	if _, err := s.resolveTag(repo, tag); err != nil {
		return err
	}
	return s.disk.Remove(s.tagPath(repo, tag))
}

// deleteTagOf removes the tag if it names d.
func (s *store) deleteTagOf(repo, tag string, d digest) error {
	lock := s.stripe(&s.tagLocks, repo+":"+tag)
	lock.Lock()
	defer lock.Unlock()
	at, err := s.resolveTag(repo, tag)
	if errors.Is(err, errManifestUnknown) {
		return nil
	}
	if err != nil || at != d {
		return err
	}
	return s.disk.Remove(s.tagPath(repo, tag))
}

// deleteManifest removes a manifest, its entry below its subject, and the tags that
// name it.
func (s *store) deleteManifest(repo string, d digest) error {
	kept, err := s.readManifest(repo, d)
	if err != nil {
		return err
	}
	tags, err := s.tags(repo)
	if err != nil {
		return err
	}
	for _, tag := range tags {
		if err := s.deleteTagOf(repo, tag, d); err != nil {
			return err
		}
	}
	if err := s.disk.Remove(s.manifestPath(repo, d)); err != nil {
		return err
	}
	m, err := parseManifest(kept.mediaType, kept.content)
	if err != nil || m.subject.zero() {
		return nil // no entry to remove; what was accepted once parses again
	}
	return s.disk.Remove(s.referrerPath(repo, m.subject, d))
}
