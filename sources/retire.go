package sources

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// How long mirrors are kept that no GitRepository names.
const (
	// keepBorrowed is for those that builds and submodules used; without it each build
	// would fetch everything.
	keepBorrowed = 30 * 24 * time.Hour
	// sweepEvery is how often it is looked for those that are older.
	sweepEvery = time.Hour
)

// gonePrefix marks a mirror that is being removed.
const gonePrefix = ".gone-"

// name is the mirror's folder.
func (r *Mirror) name() string { return filepath.Base(r.dir) }

// Remove removes a mirror, unless it was borrowed since. Whoever still reads from it gets
// an error, and the next to open it an empty one.
func (m *Mirrors) Remove(name string, since time.Time) error {
	if filepath.Base(name) != name || !isMirror(name) {
		return fmt.Errorf("%q is not a mirror", name)
	}
	m.mu.Lock()
	r, gone := m.open[name], filepath.Join(m.dir, gonePrefix+name)
	if r != nil {
		r.mu.Lock()
		borrowed := r.borrowed.After(since)
		r.mu.Unlock()
		if borrowed {
			m.mu.Unlock()
			return nil
		}
		delete(m.open, name)
	}
	err := os.Rename(filepath.Join(m.dir, name), gone)
	m.mu.Unlock()
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	if r != nil {
		err = errors.Join(err, r.objects.close())
	}
	return errors.Join(err, os.RemoveAll(gone))
}

// Sweep removes the mirrors that keep does not know and that nobody used for so long.
func (m *Mirrors) Sweep(keep map[string]bool, idle time.Duration, now time.Time) error {
	entries, err := os.ReadDir(m.dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if !isMirror(e.Name()) || keep[e.Name()] {
			continue
		}
		info, err := e.Info()
		if err != nil || now.Sub(info.ModTime()) < idle {
			continue
		}
		errs = append(errs, m.Remove(e.Name(), now.Add(-idle)))
	}
	return errors.Join(errs...)
}

// isMirror knows the names that Location.folder makes.
func isMirror(name string) bool {
	return len(name) == 32 && isHash(name+"00000000")
}

// removeGone ends removals that a crash interrupted.
func removeGone(dir string) error {
	left, err := filepath.Glob(filepath.Join(dir, gonePrefix+"*"))
	for _, name := range left {
		err = errors.Join(err, os.RemoveAll(name))
	}
	return err
}

// retire removes the mirror of a GitRepository that was deleted, if no other has it.
func (s *Sources) retire(key types.NamespacedName) {
	s.mu.Lock()
	l := s.looks[key]
	delete(s.looks, key)
	delete(s.asked, key)
	used := s.mirrorsInUse()
	s.mu.Unlock()
	if l == nil || l.mirror == "" || used[l.mirror] {
		return
	}
	if err := s.Mirrors.Remove(l.mirror, s.Now().Add(-keepBorrowed)); err != nil {
		s.Log.Warn("mirror of a deleted repository", "gitrepository", key.String(), "error", err)
	}
}

// mirrorsInUse are those of the repositories that were looked at; s.mu must be held.
func (s *Sources) mirrorsInUse() map[string]bool {
	used := map[string]bool{}
	for _, l := range s.looks {
		used[l.mirror] = true
	}
	return used
}

// sweep removes mirrors that nobody used for long, now and then.
func (s *Sources) sweep() {
	s.mu.Lock()
	now := s.Now()
	if s.swept.IsZero() {
		s.swept = now // repositories are not all known yet
	}
	if now.Sub(s.swept) < sweepEvery {
		s.mu.Unlock()
		return
	}
	s.swept = now
	used := s.mirrorsInUse()
	s.mu.Unlock()
	if err := s.Mirrors.Sweep(used, keepBorrowed, now); err != nil {
		s.Log.Warn("mirrors that nobody uses", "error", err)
	}
}
