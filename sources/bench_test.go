package sources

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	gogit "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/config"

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

// BenchmarkFetchOfOneCommit is the same fetch by a mirror and by go-git's own Fetch
// into a bare repository, in turns, over loopback; it reports medians.
func BenchmarkFetchOfOneCommit(b *testing.B) {
	h, r, l := benchHost(b)
	plain, err := gogit.PlainClone(b.TempDir(), true, &gogit.CloneOptions{URL: h.url, Mirror: true})
	if err != nil {
		b.Fatal(err)
	}
	var spent [2][]time.Duration
	i := 0
	for b.Loop() {
		b.StopTimer()
		i++
		h.push("change", map[string]string{"projects/dev/app.yaml": fmt.Sprint("replicas: ", i)})
		fetches := []func() error{
			func() error { return r.Fetch(b.Context(), l, Credentials{}) },
			func() error { return plain.Fetch(&gogit.FetchOptions{RefSpecs: []config.RefSpec{"+refs/*:refs/*"}}) },
		}
		for j := range fetches {
			which := (i + j) % 2
			start := time.Now()
			if err := fetches[which](); err != nil {
				b.Fatal(err)
			}
			spent[which] = append(spent[which], time.Since(start))
		}
		b.StartTimer()
	}
	median := func(all []time.Duration) float64 {
		slices.Sort(all)
		return float64(all[len(all)/2].Microseconds()) / 1000
	}
	mirror, plainly := median(spent[0]), median(spent[1])
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(mirror, "ms/mirror")
	b.ReportMetric(plainly, "ms/go-git")
	b.ReportMetric(mirror/plainly, "ratio")
}

// BenchmarkReadLargeTree reads a commit of 10,000 files, packed as a first fetch leaves it,
// from a mirror that was just opened; and lets git archive do it, in the same run.
func BenchmarkReadLargeTree(b *testing.B) {
	h := newHost(b, gitserver.Options{})
	files := map[string]string{}
	for i := range 10_000 {
		files[fmt.Sprintf("projects/p%d/a%d/f%d.yaml", i%50, i%500, i)] = fmt.Sprintf("kind: ConfigMap\nmetadata:\n  name: m%d\ndata:\n  key: %q\n", i, strings.Repeat(fmt.Sprint(i), 60))
	}
	h.push("many", files)
	dir := b.TempDir()
	m := newTestMirrors(b, dir, Options{})
	r, l := openTest(b, m, h.url)
	fetchTest(b, r, l)
	var spent [2]time.Duration
	n := 0
	for b.Loop() {
		n++
		cold := newTestMirrors(b, dir, Options{})
		r, l := openTest(b, cold, h.url)
		start := time.Now()
		read := 0
		tree := treeAt(b, r, l, "main")
		if err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				_, err = fs.ReadFile(tree, name)
				read++
			}
			return err
		}); err != nil || read != len(files) {
			b.Fatal(read, err)
		}
		spent[0] += time.Since(start)
		start = time.Now()
		git(b, r.dir, "archive", "--format=tar", "-o", "/dev/null", "main")
		spent[1] += time.Since(start)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(spent[0].Microseconds())/1000/float64(n), "ms/mirror")
	b.ReportMetric(float64(spent[1].Microseconds())/1000/float64(n), "ms/git-archive")
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
