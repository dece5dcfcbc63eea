package sources

import (
	"fmt"
	"io/fs"
	"testing"
	"time"

	"slipway.dev/slipway/sources/gitserver"
)

// BenchmarkLookAfterPush is a fetch of one new commit over loopback, git's own server
// included: what lies between a hook and a new revision.
func BenchmarkLookAfterPush(b *testing.B) {
	h, r, l := benchHost(b)
	i := 0
	b.ResetTimer()
	for b.Loop() {
		b.StopTimer()
		i++
		h.push("change", map[string]string{"projects/dev/app.yaml": fmt.Sprint("replicas: ", i)})
		b.StartTimer()
		if err := r.Fetch(b.Context(), l, Credentials{}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLookAtNothingNew is a fetch where no reference moved.
func BenchmarkLookAtNothingNew(b *testing.B) {
	_, r, l := benchHost(b)
	b.ResetTimer()
	for b.Loop() {
		if err := r.Fetch(b.Context(), l, Credentials{}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkReadTree reads every file of a commit of 500 files.
func BenchmarkReadTree(b *testing.B) {
	_, r, l := benchHost(b)
	t, err := anyRef(r.current(), "main")
	if err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for b.Loop() {
		rev, err := r.Revision(l, t, "")
		if err != nil {
			b.Fatal(err)
		}
		if err := fs.WalkDir(rev.Tree, ".", func(name string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				_, err = fs.ReadFile(rev.Tree, name)
			}
			return err
		}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCommit is a commit and its push.
func BenchmarkCommit(b *testing.B) {
	_, r, l := benchHost(b)
	i := 0
	b.ResetTimer()
	for b.Loop() {
		i++
		if _, made, err := r.Commit(b.Context(), l, Credentials{}, "main", time.Now, changing("lock", fmt.Sprint(i))); err != nil || !made {
			b.Fatal(made, err)
		}
	}
}

func benchHost(b *testing.B) (*gitHost, *Mirror, Location) {
	h := newHost(b, gitserver.Options{})
	files := map[string]string{}
	for i := range 500 {
		files[fmt.Sprintf("projects/p%d/f%d.yaml", i%20, i)] = fmt.Sprintf("kind: ConfigMap\nmetadata:\n  name: m%d\n", i)
	}
	h.push("many", files)
	m := newTestMirrors(b, b.TempDir(), Options{})
	r, l := openTest(b, m, h.url)
	if err := r.Fetch(b.Context(), l, Credentials{}); err != nil {
		b.Fatal(err)
	}
	return h, r, l
}
