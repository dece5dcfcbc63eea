package image

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"

	"slipway.dev/slipway/api/v1alpha1"
)

// ParseLock reads images.lock.json strictly: a field that Slipway does not know would
// be lost when it writes the file. No content at all is an empty lock.
func ParseLock(content []byte) (v1alpha1.ImagesLock, error) {
	var lock v1alpha1.ImagesLock
	if len(bytes.TrimSpace(content)) == 0 {
		return lock, nil
	}
	d := json.NewDecoder(bytes.NewReader(content))
	d.DisallowUnknownFields()
	if err := d.Decode(&lock); err != nil {
		return lock, fmt.Errorf("lock file: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return lock, fmt.Errorf("lock file: has content after its end")
	}
	return lock, nil
}

// FormatLock writes a lock file: sorted, indented by two spaces, one line end at the end.
func FormatLock(lock v1alpha1.ImagesLock) ([]byte, error) {
	if lock.Images == nil {
		lock.Images = map[string]v1alpha1.LockedImage{}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(lock); err != nil {
		return nil, fmt.Errorf("lock file: %w", err)
	}
	return b.Bytes(), nil
}

// Relock puts images into a lock file's content and leaves all others as they are. It
// answers nil where the file already says that these tags promoted these commits: the
// promotion was written before, and only its status was not.
func Relock(content []byte, images map[string]v1alpha1.LockedImage) ([]byte, error) {
	lock, err := ParseLock(content)
	if err != nil {
		return nil, err
	}
	written := true
	for tag, image := range images {
		if old := lock.Images[tag]; old.Tag != image.Tag || old.Commit != image.Commit || old.From != image.From {
			written = false
		}
	}
	if written {
		return nil, nil
	}
	next := maps.Clone(lock.Images)
	if next == nil {
		next = map[string]v1alpha1.LockedImage{}
	}
	maps.Copy(next, images)
	return FormatLock(v1alpha1.ImagesLock{Images: next})
}
