package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"slipway.dev/slipway/api/v1alpha1"
)

// HoldsFile holds an Application's holds in git, beside its images.lock.json: a JSON list
// of Hold. `slipway rollback` writes it; a commit that takes an entry out lifts that hold. It
// is no object: an Application that a folder implies has no other place for them.
const HoldsFile = ".holds.json"

// maxHolds bounds a holds file, in bytes.
const maxHolds = 256 << 10

// ParseHolds reads a holds file strictly: what is not understood could be a hold.
func ParseHolds(content []byte) ([]v1alpha1.Hold, error) {
	if len(bytes.TrimSpace(content)) == 0 {
		return nil, nil
	}
	if len(content) > maxHolds {
		return nil, errors.New("holds: are longer than 256 KiB")
	}
	var holds []v1alpha1.Hold
	d := json.NewDecoder(bytes.NewReader(content))
	d.DisallowUnknownFields()
	if err := d.Decode(&holds); err != nil {
		return nil, fmt.Errorf("holds: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("holds: have content after their end")
	}
	return holds, validateHolds(holds, field.NewPath("holds")).ToAggregate()
}

// FormatHolds writes a holds file.
func FormatHolds(holds []v1alpha1.Hold) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(holds)
	return b.Bytes(), err
}

// HoldsIn reads the holds file of the folder dir of a tree; none: no holds.
func HoldsIn(tree fs.FS, dir string) ([]v1alpha1.Hold, error) {
	name := path.Join(dir, HoldsFile)
	content, err := fs.ReadFile(tree, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	holds, err := ParseHolds(content)
	if err != nil {
		return nil, Problems{{File: name, Message: err.Error()}}
	}
	return holds, nil
}

// InForce says whether a hold binds at a time.
func InForce(h v1alpha1.Hold, at time.Time) bool { return h.Until == nil || at.Before(h.Until.Time) }

// HeldDigest is the hold on an image's digest that is in force.
func HeldDigest(holds []v1alpha1.Hold, digest string, at time.Time) (v1alpha1.Hold, bool) {
	for _, h := range holds {
		if h.Digest != "" && h.Digest == digest && InForce(h, at) {
			return h, true
		}
	}
	return v1alpha1.Hold{}, false
}
