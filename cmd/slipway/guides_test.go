package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// fileBlock is a file in a guide: its name alone in a line, then its indented text.
var fileBlock = regexp.MustCompile("(?m)^`([a-z]+/[a-z0-9./-]+)`\n\n((?:(?:    .*)?\n)+)")

// The files that the guides show are taken as they are: nothing is wrong with them, and
// nothing is unwise.
func TestGuides(t *testing.T) {
	t.Parallel()
	for guide, files := range map[string]int{"repository-layout": 2, "templates": 1, "deployments": 4, "scheduling": 4, "network": 3, "jsonnet": 1, "jobs": 2, "volumes": 2, "host-access": 2, "troubleshooting": 1} {
		text, err := os.ReadFile("../../docs/" + guide + ".md")
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		blocks := fileBlock.FindAllStringSubmatch(string(text), -1)
		if len(blocks) != files {
			t.Errorf("%s shows %d files, not %d", guide, len(blocks), files)
		}
		for _, b := range blocks {
			at := filepath.Join(dir, b[1])
			if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
				t.Fatal(err)
			}
			content := strings.ReplaceAll("\n"+b[2], "\n    ", "\n")
			if err := os.WriteFile(at, []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if out, err := exec.CommandContext(t.Context(), program(t), "lint", dir, "--strict").CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", guide, err, out)
		}
	}
}
