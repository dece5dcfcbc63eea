package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/reconciler/image"
)

// lockFile is the image lock in an application's folder.
const lockFile = "images.lock.json"

// ownClone is a repository without a working copy, made by the user's own git with the user's
// own settings and credentials.
type ownClone struct {
	dir, branch string
	// complain is where git's questions and complaints go.
	complain io.Writer
}

func cloneFor(ctx context.Context, url, branch string, complain io.Writer) (*ownClone, error) {
	dir, err := os.MkdirTemp("", "slipway-rollback-")
	if err != nil {
		return nil, err
	}
	c := &ownClone{dir: dir, branch: branch, complain: complain}
	args := []string{"clone", "--quiet", "--no-checkout"}
	if branch != "" {
		args = append(args, "--branch", branch)
	}
	if _, err := c.git(ctx, nil, append(args, "--", url, ".")...); err != nil {
		c.remove()
		return nil, err
	}
	if c.branch == "" {
		if c.branch, err = c.git(ctx, nil, "symbolic-ref", "--short", "HEAD"); err != nil {
			c.remove()
			return nil, err
		}
	}
	return c, nil
}

func (c *ownClone) remove() { os.RemoveAll(c.dir) }

// git runs git; what it prints comes back trimmed.
func (c *ownClone) git(ctx context.Context, stdin []byte, args ...string) (string, error) {
	out, err := c.raw(ctx, stdin, args...)
	return strings.TrimSpace(string(out)), err
}

func (c *ownClone) raw(ctx context.Context, stdin []byte, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir, cmd.Env = c.dir, ownEnvironment()
	var said bytes.Buffer
	cmd.Stderr = io.MultiWriter(&said, c.complain)
	if stdin != nil {
		cmd.Stdin = bytes.NewReader(stdin)
	} else {
		cmd.Stdin = os.Stdin // for a password
	}
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(said.String()))
	}
	return out, nil
}

// pushTries is how often a commit is made anew on a branch that others push to.
const pushTries = 5

// rollBack makes and pushes the commit, and answers it with the holds that are new.
func (c *ownClone) rollBack(ctx context.Context, w wayBack, b back) (commit string, added []v1alpha1.Hold, err error) {
	if _, err := c.git(ctx, nil, "cat-file", "-e", b.good.Commit+"^{commit}"); err != nil {
		return "", nil, fmt.Errorf("commit %s is not in the history of %s: %w", abbreviated(b.good.Commit), c.branch, err)
	}
	target := c.branch
	if w.branch != "" {
		target = w.branch
	}
	for try := 1; ; try++ {
		if added, err = c.stage(ctx, w, b); err != nil {
			return "", nil, err
		}
		if _, err := c.git(ctx, []byte(b.message(w.reason)), "commit", "--quiet", "--file", "-"); err != nil {
			return "", nil, err
		}
		if commit, err = c.git(ctx, nil, "rev-parse", "HEAD"); err != nil {
			return "", nil, err
		}
		_, pushed := c.git(ctx, nil, "push", "--quiet", "origin", "HEAD:refs/heads/"+target)
		if pushed == nil {
			return commit, added, nil
		}
		// Somebody may have been faster; a new branch of that name is the user's to choose.
		if w.branch != "" || try == pushTries || ctx.Err() != nil {
			return "", nil, pushed
		}
		before, err := c.git(ctx, nil, "rev-parse", "HEAD^")
		if err != nil {
			return "", nil, err
		}
		if _, err := c.git(ctx, nil, "fetch", "--quiet", "origin", c.branch); err != nil {
			return "", nil, errors.Join(pushed, err)
		}
		if now, err := c.git(ctx, nil, "rev-parse", "FETCH_HEAD"); err != nil || now == before {
			return "", nil, errors.Join(pushed, err)
		}
		if _, err := c.git(ctx, nil, "update-ref", "HEAD", "FETCH_HEAD"); err != nil {
			return "", nil, err
		}
	}
}

// stage makes the index what the commit will be.
func (c *ownClone) stage(ctx context.Context, w wayBack, b back) (added []v1alpha1.Hold, err error) {
	if _, err := c.git(ctx, nil, "read-tree", "HEAD"); err != nil {
		return nil, err
	}
	dir := path.Clean(b.app.Spec.Path)
	for _, at := range append([]string{dir}, w.also...) {
		if err := c.restore(ctx, path.Clean(at), b.good.Commit); err != nil {
			return nil, err
		}
	}
	file := path.Join(dir, api.HoldsFile)
	old, err := c.content(ctx, "HEAD", file)
	if err != nil {
		return nil, err
	}
	if err := c.put(ctx, file, old); err != nil {
		return nil, err
	}
	if _, err := c.git(ctx, nil, "diff-index", "--cached", "--quiet", "HEAD"); err == nil {
		return nil, errNothing
	}
	if !w.hold {
		return nil, nil
	}
	var locks [2][]byte
	for i, at := range []string{"HEAD", b.good.Commit} {
		if locks[i], err = c.content(ctx, at, path.Join(dir, lockFile)); err != nil {
			return nil, err
		}
	}
	holds, added, err := b.holds(old, locks[0], locks[1], w.reason)
	if err != nil {
		return nil, err
	}
	content, err := api.FormatHolds(holds)
	if err != nil {
		return nil, err
	}
	return added, c.put(ctx, file, content)
}

// restore puts a file or folder, or everything, into the index as it was at a commit.
func (c *ownClone) restore(ctx context.Context, at, commit string) error {
	if at == "." || at == "" {
		_, err := c.git(ctx, nil, "read-tree", commit)
		return err
	}
	if strings.HasPrefix(at, "../") || path.IsAbs(at) {
		return fmt.Errorf("%s is not in the repository", at)
	}
	if _, err := c.git(ctx, nil, "rm", "--quiet", "-r", "--cached", "--ignore-unmatch", "--", ":(literal)"+at); err != nil {
		return err
	}
	entry, err := c.git(ctx, nil, "ls-tree", "-z", commit, "--", ":(literal)"+at)
	if err != nil || entry == "" {
		return err // it was not there
	}
	words := strings.Fields(entry)
	if words[1] == "tree" {
		_, err = c.git(ctx, nil, "read-tree", "--prefix="+at+"/", words[2])
		return err
	}
	_, err = c.git(ctx, nil, "update-index", "--add", "--cacheinfo", words[0]+","+words[2]+","+at)
	return err
}

// content of a file at a commit; empty: there is none.
func (c *ownClone) content(ctx context.Context, commit, file string) ([]byte, error) {
	entry, err := c.git(ctx, nil, "ls-tree", "-z", commit, "--", ":(literal)"+file)
	if err != nil || entry == "" {
		return nil, err
	}
	return c.raw(ctx, nil, "cat-file", "blob", strings.Fields(entry)[2])
}

// put writes a file into the index; no content: it is not there.
func (c *ownClone) put(ctx context.Context, file string, content []byte) error {
	if len(content) == 0 {
		_, err := c.git(ctx, nil, "rm", "--quiet", "--cached", "--ignore-unmatch", "--", ":(literal)"+file)
		return err
	}
	blob, err := c.git(ctx, content, "hash-object", "-w", "--stdin")
	if err != nil {
		return err
	}
	_, err = c.git(ctx, nil, "update-index", "--add", "--cacheinfo", "100644,"+blob+","+file)
	return err
}

// lockedDigests are the digests in an image lock, sorted.
func lockedDigests(content []byte) ([]string, error) {
	lock, err := image.ParseLock(content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", lockFile, err)
	}
	digests := map[string]bool{}
	for _, i := range lock.Images {
		digests[i.Digest] = true
	}
	return slices.Sorted(maps.Keys(digests)), nil
}
