package demo

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// clone is a user's working copy, driven by the git command that users have.
type clone struct {
	dir string
	url string
}

// newClone makes a working copy with the files of an example, not yet pushed.
func newClone(ctx context.Context, dir, url string, files fs.FS) (*clone, error) {
	c := &clone{dir: dir, url: url}
	if err := os.CopyFS(dir, files); err != nil {
		return nil, err
	}
	if err := restoreModes(dir); err != nil {
		return nil, err
	}
	for _, args := range [][]string{
		{"init", "-q", "-b", "main"},
		{"remote", "add", "origin", url},
	} {
		if _, err := c.git(ctx, args...); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// restoreModes makes scripts executable again: embedded files carry no modes.
func restoreModes(dir string) error {
	return filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		if bytes.HasPrefix(data, []byte("#!")) {
			return os.Chmod(p, 0o755)
		}
		return os.Chmod(p, 0o644)
	})
}

func (c *clone) git(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(),
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@shop.example",
		"GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@shop.example",
		"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "GIT_TERMINAL_PROMPT=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return strings.TrimSpace(string(out)), nil
}

// commit commits everything in the working copy and answers with the commit.
func (c *clone) commit(ctx context.Context, message string) (string, error) {
	if _, err := c.git(ctx, "add", "-A"); err != nil {
		return "", err
	}
	if _, err := c.git(ctx, "commit", "-q", "-m", message); err != nil {
		return "", err
	}
	return c.git(ctx, "rev-parse", "HEAD")
}

func (c *clone) push(ctx context.Context, refs ...string) error {
	_, err := c.git(ctx, append([]string{"push", "-q", "origin"}, refs...)...)
	return err
}

// pull takes over what others, Slipway among them, have pushed.
func (c *clone) pull(ctx context.Context) error {
	_, err := c.git(ctx, "pull", "-q", "--rebase", "origin", "main")
	return err
}

// edit replaces text in a file; text that is not there is an error.
func (c *clone) edit(file, old, new string) error {
	p := filepath.Join(c.dir, file)
	data, err := os.ReadFile(p)
	if err != nil {
		return err
	}
	if !bytes.Contains(data, []byte(old)) {
		return fmt.Errorf("%s does not contain %q", file, old)
	}
	return os.WriteFile(p, bytes.Replace(data, []byte(old), []byte(new), 1), 0o644)
}

func short(commit string) string { return commit[:min(7, len(commit))] }
