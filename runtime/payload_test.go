package runtime

import (
	"os"
	"path/filepath"
	"testing"
)

// TestAVersionThatWasCutShortIsCompleted: wherever the agent or the machine died while a
// volume was written, the next write makes it whole.
func TestAVersionThatWasCutShortIsCompleted(t *testing.T) {
	t.Parallel()
	p := payload{"a": {"1", 0o644}, "sub/b": {"2", 0o600}}
	for name, damage := range map[string]func(dir, version string) error{
		"a link is missing":          func(dir, _ string) error { return os.Remove(filepath.Join(dir, "sub")) },
		"a link leads elsewhere":     func(dir, _ string) error { return swap(dir, "a", "..gone/a") },
		"another link is there":      func(dir, _ string) error { return swap(dir, "old", "..data/old") },
		"a file is empty":            func(dir, v string) error { return os.Truncate(filepath.Join(dir, v, "a"), 0) },
		"a file is gone":             func(dir, v string) error { return os.Remove(filepath.Join(dir, v, "sub", "b")) },
		"nothing is behind the link": func(dir, v string) error { return os.RemoveAll(filepath.Join(dir, v)) },
		"nothing links to it yet":    func(dir, _ string) error { return os.Remove(filepath.Join(dir, "..data")) },
		"a step was left":            func(dir, _ string) error { return os.Symlink("x", filepath.Join(dir, "..next")) },
	} {
		dir := filepath.Join(t.TempDir(), "v")
		for round := range 3 { // What repairs may be damaged, too.
			if err := p.write(dir, -1); err != nil {
				t.Fatal(err)
			}
			version, err := os.Readlink(filepath.Join(dir, "..data"))
			if err != nil {
				t.Fatal(err)
			}
			if err := damage(dir, version); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if err := p.write(dir, -1); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			for n, e := range p {
				if b, err := os.ReadFile(filepath.Join(dir, n)); err != nil || string(b) != e.data {
					t.Errorf("%s, round %d: %s is %q, %v", name, round, n, b, err)
				}
			}
			if entries, err := os.ReadDir(dir); err != nil || len(entries) != 4 {
				t.Errorf("%s, round %d: %v, %v", name, round, entries, err)
			}
		}
	}
}
