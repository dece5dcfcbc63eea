package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"slipway.dev/slipway/bench/workload"
	"slipway.dev/slipway/render"
)

// TestMain lets the test binary be the children that the scenarios start.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "render-child" {
		os.Exit(render.ChildMain(os.Stdin, os.Stdout))
	}
	if len(os.Args) > 1 && os.Args[1] == "child" {
		main()
		return
	}
	os.Exit(m.Run())
}

// TestShort runs every scenario in its small size: whoever is measured must come to the
// same result, however long it takes.
func TestShort(t *testing.T) {
	// Peers that are programs take part in make bench-short: building them takes long.
	e := &Env{Short: true, Alone: true, Runs: 1, Dir: t.TempDir(), Progress: testWriter{t}}
	report := e.Run(t.Context(), regexp.MustCompile(""))
	if err := report.Err(); err != nil {
		t.Fatal(err)
	}
	for _, l := range report.Lines {
		if l.Ours.Value <= 0 || l.Same == "" {
			t.Errorf("%s: %v, same result: %q", l.What, l.Ours, l.Same)
		}
	}
	var page strings.Builder
	if err := report.Print(&page); err != nil || !strings.Contains(page.String(), "| what | ours |") {
		t.Error(err, page.String())
	}
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

// TestPinsAreRead guards the names of the binaries in the cache.
func TestPinsAreRead(t *testing.T) {
	t.Parallel()
	for _, p := range programs {
		if v, err := p.version(); err != nil || !strings.HasPrefix(v, "v") {
			t.Errorf("%s: %q, %v", p.Name, v, err)
		}
	}
}

func TestVerdicts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		line Line
		want string
	}{
		{Line{Ours: secs(1), AtMost: secs(1)}, "met"},
		{Line{Ours: secs(1.1), AtMost: secs(1)}, "missed"},
		{Line{Ours: secs(1), Peer: secs(3), Times: 3}, "met"},
		{Line{Ours: secs(1), Peer: secs(2.9), Times: 3}, "missed"},
		{Line{Ours: secs(1), Peer: secs(9), Times: 3, AtMost: secs(0.5)}, "missed"},
		{Line{Ours: secs(1), Times: 3}, "no peer"},
		{Line{Ours: secs(1), Times: 3, AtMost: secs(1)}, "no peer"},
		{Line{Ours: secs(1.1), Times: 3, AtMost: secs(1)}, "missed"},
		{Line{Ours: secs(1)}, ""},
		{Line{AtMost: secs(1)}, "not measured"},
	} {
		if got := c.line.verdict(); got != c.want {
			t.Errorf("%+v: %q, want %q", c.line, got, c.want)
		}
	}
}

func TestABusyMachineIsSaid(t *testing.T) {
	t.Parallel()
	if busy([]string{"1.5 9 9", "3.9 9 9"}, 2) || !busy([]string{"1.5 0 0", "4.1 0 0"}, 2) || busy([]string{"unknown"}, 2) {
		t.Error("a load above twice the processors is busy, and nothing else")
	}
}

func TestMedianAndPercentile(t *testing.T) {
	t.Parallel()
	values := []float64{5, 1, 4, 2, 3}
	if median(values) != 3 || median(values[:4]) != 3 || median(nil) != 0 {
		t.Error(median(values), median(values[:4]), median(nil))
	}
	if percentile(values, 0.99) != 5 || percentile(values, 0.2) != 1 {
		t.Error(percentile(values, 0.99), percentile(values, 0.2))
	}
}

// TestWorkloadIsTheSameEverywhere: both forms of the repository hold the same objects.
func TestWorkloadIsTheSameEverywhere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := workload.Write(dir, workload.Jsonnet(3)); err != nil {
		t.Fatal(err)
	}
	tree, err := plainJsonnet(dir, workload.Environment)
	if err != nil {
		t.Fatal(err)
	}
	files, err := manifests(3, 0)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := parse(files)
	if err != nil {
		t.Fatal(err)
	}
	var objects []map[string]any
	for _, o := range parsed {
		objects = append(objects, o.Object)
	}
	if a, b := digest(tree, 0), digest(objects, 0); a != b || a.Objects != 3*workload.PerApplication {
		t.Errorf("%v and %v", a, b)
	}
	if slices.ContainsFunc(tree, func(o map[string]any) bool { return o["kind"] == "" }) {
		t.Error("an object without a kind")
	}
}
