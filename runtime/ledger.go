package runtime

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// ledger knows which images on the engine are there because the agent pulled them:
// only those may it remove. It is a directory with a file for each name, whose time is
// when the image was last used.
type ledger struct {
	dir string
	mu  sync.Mutex // held while a file is changed
}

// pulledImage is an image that the agent pulled.
type pulledImage struct {
	Ref string `json:"ref"`
	// IDs are what the name has stood for, the newest last: a name that was pulled again
	// leaves an image without a name behind.
	IDs []string `json:"ids,omitempty"`

	used time.Time
}

func (l *ledger) path(ref string) string {
	return filepath.Join(l.dir, fmt.Sprintf("%.16x.json", sha256.Sum256([]byte(ref))))
}

// note adds an image, or what its name stands for now, and says that it is used.
func (l *ledger) note(ref, id string, now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	i, err := l.read(l.path(ref))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	i.Ref = ref
	if id != "" && (len(i.IDs) == 0 || i.IDs[len(i.IDs)-1] != id) {
		i.IDs = append(slices.DeleteFunc(i.IDs, func(old string) bool { return old == id }), id)
	}
	return l.write(i, now)
}

func (l *ledger) write(i pulledImage, now time.Time) error {
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return err
	}
	b, err := json.Marshal(i)
	if err != nil {
		return err
	}
	next := l.path(i.Ref) + ".next"
	if err := os.WriteFile(next, b, 0o600); err != nil {
		return err
	}
	if err := os.Chtimes(next, now, now); err != nil {
		return err
	}
	return os.Rename(next, l.path(i.Ref))
}

// use says that an image is used, if it is one of the ledger's.
func (l *ledger) use(ref string, now time.Time) error {
	err := os.Chtimes(l.path(ref), now, now)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// knows says whether the agent pulled the image.
func (l *ledger) knows(ref string) bool {
	_, err := os.Stat(l.path(ref))
	return err == nil
}

// forget takes an image out; ids are those of its ids that stay in. Without any, and
// without its name, nothing is left to know.
func (l *ledger) forget(ref string, ids []string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(ids) == 0 {
		return os.Remove(l.path(ref))
	}
	i, err := l.read(l.path(ref))
	if err != nil {
		return err
	}
	i.IDs = ids
	return l.write(i, i.used)
}

// all lists the images, who was not used for longest first.
func (l *ledger) all() ([]pulledImage, error) {
	entries, err := os.ReadDir(l.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []pulledImage
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".json") {
			continue
		}
		i, err := l.read(filepath.Join(l.dir, e.Name()))
		if err != nil {
			return nil, err
		}
		all = append(all, i)
	}
	slices.SortFunc(all, func(a, b pulledImage) int { return a.used.Compare(b.used) })
	return all, nil
}

func (l *ledger) read(path string) (i pulledImage, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return i, err
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return i, err
	}
	if err := json.Unmarshal(b, &i); err != nil {
		return i, fmt.Errorf("%s: %w", path, err)
	}
	i.used = info.ModTime()
	return i, nil
}
