package main

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/netip"
	"os/exec"
	"path/filepath"
	"time"

	gogit "github.com/go-git/go-git/v5"

	"slipway.dev/slipway/bench/workload"
	"slipway.dev/slipway/sources"
)

// gitFetchAndTree measures a fetch of one commit, and reading a whole tree.
func gitFetchAndTree(ctx context.Context, e *Env) error {
	n := e.size(10000, 30)
	dir, err := e.folder("fetch")
	if err != nil {
		return err
	}
	g, err := newGitRepository(filepath.Join(dir, "git"), workload.Jsonnet(n-5))
	if err != nil {
		return err
	}
	defer g.close()
	if err := e.fetch(ctx, g, dir); err != nil {
		return err
	}
	return e.readTree(ctx, dir, n)
}

func (e *Env) fetch(ctx context.Context, g *gitRepository, dir string) error {
	l, err := sources.ParseURL(g.url)
	if err != nil {
		return err
	}
	mirrors, err := sources.NewMirrors(filepath.Join(dir, "mirrors"), sources.Options{Reachable: func(a netip.AddrPort) bool { return a.Addr().IsLoopback() }})
	if err != nil {
		return err
	}
	defer mirrors.Close()
	mirror, err := mirrors.Open(l, "")
	if err != nil {
		return err
	}
	theirs, err := gogit.PlainCloneContext(ctx, filepath.Join(dir, "go-git"), true, &gogit.CloneOptions{URL: g.url})
	if err != nil {
		return err
	}
	if err := mirror.Fetch(ctx, l, sources.Credentials{}); err != nil {
		return err
	}
	var ours, peer []float64
	for k := range e.runs(9) * 5 {
		if err := g.push("edit", map[string]string{workload.Main(k): workload.Source(k, 1000+k)}); err != nil {
			return err
		}
		fetchOurs := func() error {
			began := time.Now()
			err := mirror.Fetch(ctx, l, sources.Credentials{})
			ours = append(ours, time.Since(began).Seconds())
			return err
		}
		fetchTheirs := func() error {
			began := time.Now()
			err := theirs.FetchContext(ctx, &gogit.FetchOptions{})
			peer = append(peer, time.Since(began).Seconds())
			return err
		}
		if k%2 == 1 {
			fetchOurs, fetchTheirs = fetchTheirs, fetchOurs
		}
		if err := errors.Join(fetchOurs(), fetchTheirs()); err != nil {
			return err
		}
		head, err := theirs.Reference("refs/remotes/origin/main", true)
		if err != nil {
			return err
		}
		if !mirror.Has(g.head) || head.Hash().String() != g.head {
			return fmt.Errorf("after fetching, we have %s: %v; go-git is at %s", g.head, mirror.Has(g.head), head.Hash())
		}
	}
	line := Line{What: "fetch of one commit over HTTP", Ours: secs(median(ours)), PeerName: "go-git", Peer: secs(median(peer)),
		Same: "both have the new commit", Note: "git's own http-backend serves both, in turns; most of the time is its own start."}
	if !e.Short {
		line.Times, line.AtMost = 1, Figure{}
	}
	e.add(line)
	return nil
}

// readTree reads every file of the newest commit out of a store that was just opened.
func (e *Env) readTree(ctx context.Context, dir string, n int) error {
	var ours, peer []float64
	for range e.runs(5) {
		s, err := openSystem(ctx, filepath.Join(dir, fmt.Sprint("system", len(ours))), workload.Jsonnet(n-5), gitOnly)
		if err != nil {
			return err
		}
		took, theirs, err := s.readBoth(ctx)
		s.close()
		if err != nil {
			return err
		}
		ours, peer = append(ours, took), append(peer, theirs)
	}
	line := Line{What: fmt.Sprintf("read a tree of %s files out of the object store", thousands(n)), Ours: secs(median(ours)), PeerName: "git archive", Peer: secs(median(peer)),
		Same: "every file's name and content", Note: "The first reading after the fetch."}
	if !e.Short {
		line.AtMost = secs(0.250)
	}
	e.add(line)
	return nil
}

func (s *system) readBoth(ctx context.Context) (ours, peer float64, err error) {
	rev, err := s.sources.RevisionAt(ctx, repository, s.git.head)
	if err != nil {
		return 0, 0, err
	}
	began := time.Now()
	got, err := contents(rev.Tree)
	if err != nil {
		return 0, 0, err
	}
	ours = time.Since(began).Seconds()
	cmd := exec.CommandContext(ctx, "git", "archive", "--format=tar", s.git.head)
	cmd.Dir = s.git.bare
	began = time.Now()
	raw, err := cmd.Output()
	if err != nil {
		return 0, 0, fmt.Errorf("git archive: %w", err)
	}
	peer = time.Since(began).Seconds()
	want, err := unpack(raw)
	if err != nil {
		return 0, 0, err
	}
	if !maps.Equal(sums(got), sums(want)) {
		return 0, 0, fmt.Errorf("the tree has %d files, git archive %d, or their contents differ", len(got), len(want))
	}
	return ours, peer, nil
}

// contents reads every file of a tree.
func contents(tree fs.FS) (map[string][]byte, error) {
	out := map[string][]byte{}
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		out[name], err = fs.ReadFile(tree, name)
		return err
	})
	return out, err
}

func sums(files map[string][]byte) map[string][sha256.Size]byte {
	out := map[string][sha256.Size]byte{}
	for name, data := range files {
		out[name] = sha256.Sum256(data)
	}
	return out
}

func unpack(raw []byte) (map[string][]byte, error) {
	out := map[string][]byte{}
	for r := tar.NewReader(bytes.NewReader(raw)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		if out[h.Name], err = io.ReadAll(r); err != nil {
			return nil, err
		}
	}
}
