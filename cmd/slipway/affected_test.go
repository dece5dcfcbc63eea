package main

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// clone is a git repository that the real git writes.
type clone struct {
	t   *testing.T
	dir string
}

func newClone(t *testing.T) clone {
	t.Helper()
	c := clone{t, t.TempDir()}
	c.git("init", "-q", "-b", "main")
	return c
}

func (c clone) git(args ...string) string {
	c.t.Helper()
	cmd := exec.CommandContext(c.t.Context(), "git", args...)
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com")
	out, err := cmd.CombinedOutput()
	if err != nil {
		c.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// commit writes files (empty: removed) and commits them.
func (c clone) commit(files map[string]string) string {
	c.t.Helper()
	for name, text := range files {
		at := filepath.Join(c.dir, name)
		if text == "" {
			if err := os.Remove(at); err != nil {
				c.t.Fatal(err)
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			c.t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(text), 0o644); err != nil {
			c.t.Fatal(err)
		}
	}
	c.git("add", "-A")
	c.git("commit", "-q", "--allow-empty", "-m", "change")
	return c.git("rev-parse", "HEAD")
}

func configMap(name string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + "}\n"
}

func app(name, path, parameters string) string {
	return "apiVersion: slipway.dev/v1alpha1\nkind: Application\nmetadata: {name: " + name + ", namespace: slipway}\nspec: {path: " + path + ", project: " + name + ", parameters: {" + parameters + "}}\n"
}

func TestAffected(t *testing.T) {
	t.Parallel()
	c := newClone(t)
	start := c.commit(map[string]string{
		"README.md":               "hello",
		"cluster/apps.yaml":       app("special", "apps/special", "size: small"),
		"apps/special/a.jsonnet":  "function(size) (import 'shared.libsonnet')(size)",
		"lib/shared.libsonnet":    "function(name) {apiVersion: 'v1', kind: 'ConfigMap', metadata: {name: name}}",
		"projects/one/a.jsonnet":  "(import 'shared.libsonnet')('one')",
		"projects/one/notes.md":   "notes",
		"projects/two/a.yaml":     configMap("two"),
		"projects/three/a.yaml":   configMap("three"),
		"projects/three/lib/x.ym": "x",
	})
	for _, s := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"nothing", nil, ""},
		{"a file that nobody reads", map[string]string{"README.md": "x", "projects/one/notes.md": "x", "projects/three/lib/y.yaml": "x", ".github/x.yaml": "x"}, ""},
		{"a library", map[string]string{"lib/shared.libsonnet": "function(name) {apiVersion: 'v1', kind: 'ConfigMap', metadata: {name: name + '-x'}}"}, "one:Files:lib/shared.libsonnet special:Files:lib/shared.libsonnet"},
		{"a file added to a folder", map[string]string{"projects/two/sub/b.yaml": configMap("more")}, "two:Files:projects/two/sub/b.yaml"},
		{"a file removed", map[string]string{"projects/two/sub/b.yaml": ""}, "two:Files:projects/two/sub/b.yaml"},
		{"a file that was looked for in vain appears", map[string]string{"projects/one/shared.libsonnet": "function(name) {apiVersion: 'v1', kind: 'ConfigMap', metadata: {name: name}}"}, "one:Files:projects/one/shared.libsonnet"},
		{"one that was imported vanishes", map[string]string{"projects/one/shared.libsonnet": ""}, "one:Files:projects/one/shared.libsonnet"},
		{"a project added", map[string]string{"projects/four/a.yaml": configMap("four")}, "four:Added root:Changed"},
		{"a project removed", map[string]string{"projects/four/a.yaml": ""}, "four:Removed root:Changed"},
		{"parameters of an Application", map[string]string{"cluster/apps.yaml": app("special", "apps/special", "size: large")}, "root:Files:cluster/apps.yaml special:Changed"},
		{"an Application added", map[string]string{"cluster/more.yaml": app("five", "projects/two", "")}, "five:Added root:Files:cluster/more.yaml"},
		{"an Application for a project's folder", map[string]string{"cluster/more.yaml": app("two", "projects/two", "a: b")}, "five:Removed root:Files:cluster/more.yaml two:Changed"},
		{"a mistake, and others' changes beside it", map[string]string{"projects/one/a.jsonnet": "(", "projects/three/a.yaml": configMap("other")}, "one:Files:projects/one/a.jsonnet three:Files:projects/three/a.yaml"},
		{"its mending", map[string]string{"projects/one/a.jsonnet": "(import 'shared.libsonnet')('one')"}, "one:Files:projects/one/a.jsonnet"},
	} {
		before := c.git("rev-parse", "HEAD")
		c.commit(s.files)
		if got := affectedText(t, c, before+"..HEAD"); got != s.want {
			t.Errorf("%s: got %q, want %q", s.name, got, s.want)
		}
	}
	// A pull request is compared with where it left the branch.
	c.git("checkout", "-q", "-b", "change", start)
	c.commit(map[string]string{"projects/two/c.yaml": configMap("c")})
	if got := affectedText(t, c, "main...change"); got != "two:Files:projects/two/c.yaml" {
		t.Errorf("a pull request: %q", got)
	}
	if got := affectedText(t, c, start); got != "two:Files:projects/two/c.yaml" {
		t.Errorf("a base alone: %q", got)
	}
	c.git("tag", "-a", "v1", "-m", "v1")
	if got := affectedText(t, c, "v1..change"); got != "" {
		t.Errorf("an annotated tag: %q", got)
	}
	for between, want := range map[string]string{"nowhere..HEAD": `"nowhere"`, "HEAD..nothing/here": "nothing/here"} {
		if _, err := runAffected(t, c.dir, between); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", between, err)
		}
	}
	if _, err := runAffected(t, t.TempDir(), "HEAD"); err == nil || !strings.Contains(err.Error(), "is not in a git repository") {
		t.Error(err)
	}
}

func runAffected(t *testing.T, dir, between string) ([]affected, error) {
	t.Helper()
	var list []affected
	out, err := exec.CommandContext(t.Context(), program(t), "affected", between, "--repo", dir, "-o", "json").Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil, errors.New(string(exit.Stderr))
	}
	if err == nil {
		err = json.Unmarshal(out, &list)
	}
	return list, err
}

func affectedText(t *testing.T, c clone, between string) string {
	t.Helper()
	list, err := runAffected(t, filepath.Join(c.dir, "projects"), between)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, a := range list {
		text := a.Application + ":" + a.Reason
		if a.Reason == "Files" {
			text += ":" + strings.Join(a.Files, ",")
		}
		out = append(out, text)
	}
	return strings.Join(out, " ")
}
