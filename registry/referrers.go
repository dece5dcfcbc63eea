package registry

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

func (s *store) referrerPath(repo string, subject, d digest) string {
	return filepath.Join(s.referrersPath(repo, subject), d.alg+"-"+d.hex)
}

// putReferrer notes below the subject that the manifest refers to it. The entry comes
// before the manifest: one without a manifest is not listed.
func (s *store) putReferrer(repo string, d digest, m *manifest, size int64) error {
	entry, err := json.Marshal(descriptor{
		MediaType: m.mediaType, Digest: d.String(), Size: size,
		ArtifactType: m.artifactType, Annotations: m.annotations,
	})
	if err != nil {
		return err
	}
	return s.place(s.referrerPath(repo, m.subject, d), entry)
}

// page is a part of a list: after Last (exclusive), at most N, if N is not negative.
type page struct {
	n    int
	last string
}

// maxReferrers and maxReferrersBytes bound one page of referrers: the entries carry
// annotations that the pusher chose.
const (
	maxReferrers      = 1000
	maxReferrersBytes = maxManifest
)

// referrers lists who refers to the subject, in a stable order, beginning after the
// entry named last. next is what to pass as last for the rest, empty at the end.
func (s *store) referrers(repo string, subject digest, artifactType, last string) (found []descriptor, next string, err error) {
	entries, err := os.ReadDir(s.referrersPath(repo, subject)) // sorted by name
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, "", err
	}
	found, bytes, at := []descriptor{}, 0, ""
	for _, e := range entries {
		if e.Name() <= last {
			continue
		}
		d, err := parseDigest(strings.Replace(e.Name(), "-", ":", 1))
		if err != nil {
			return nil, "", err
		}
		if _, err := os.Stat(s.manifestPath(repo, d)); errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return nil, "", err
		}
		b, err := os.ReadFile(s.referrerPath(repo, subject, d))
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted while we looked
		}
		if err != nil {
			return nil, "", err
		}
		var one descriptor
		if err := json.Unmarshal(b, &one); err != nil {
			return nil, "", err
		}
		if artifactType != "" && one.ArtifactType != artifactType {
			continue
		}
		if len(found) > 0 && (len(found) == maxReferrers || bytes+len(b) > maxReferrersBytes) {
			return found, at, nil
		}
		found, bytes, at = append(found, one), bytes+len(b), e.Name()
	}
	return found, "", nil
}
