package slipway_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	testName  = regexp.MustCompile("`((?:Test|Fuzz|Benchmark)[A-Z][A-Za-z0-9]*)`")
	declared  = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)[A-Z][A-Za-z0-9]*)\(`)
	linkTo    = regexp.MustCompile(`\]\(([^)#\s]+)(?:#[^)]*)?\)`)
	inTheTree = regexp.MustCompile("`([a-z]+(?:/[a-z_]+)*/[a-z_]+\\.go)`")
)

// TestDocumentsNameWhatExists holds the pages' promises together: every test they name is
// there, and every link and file leads somewhere.
func TestDocumentsNameWhatExists(t *testing.T) {
	t.Parallel()
	tests := map[string]bool{}
	for _, s := range sources(t) {
		if s.test {
			for _, m := range declared.FindAllStringSubmatch(contents(t, s.file), -1) {
				tests[m[1]] = true
			}
		}
	}
	for _, page := range pages(t) {
		text := contents(t, page)
		for _, m := range testName.FindAllStringSubmatch(text, -1) {
			if !tests[m[1]] {
				t.Errorf("%s names %s, which no file declares", page, m[1])
			}
		}
		for _, m := range linkTo.FindAllStringSubmatch(text, -1) {
			if !strings.Contains(m[1], "://") {
				exists(t, page, filepath.Join(filepath.Dir(page), m[1]))
			}
		}
		for _, m := range inTheTree.FindAllStringSubmatch(text, -1) {
			exists(t, page, m[1])
		}
	}
}

func pages(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md", "examples/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, found...)
	}
	if len(all) < 5 {
		t.Fatalf("only %d pages: %v", len(all), all)
	}
	return all
}

func contents(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func exists(t *testing.T, page, file string) {
	t.Helper()
	if _, err := os.Stat(file); err != nil {
		t.Errorf("%s leads to %s: %v", page, file, err)
	}
}
