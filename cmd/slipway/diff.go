package main

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"slipway.dev/slipway/cmd/slipway/read"
	"slipway.dev/slipway/cmd/slipway/server"
)

// difference is what `slipway diff` is told.
type difference struct {
	address, repository, ref, output string
	pull                             int
}

func diffCommand() *cobra.Command {
	var d difference
	cmd := &cobra.Command{
		Use:     "diff [DIRECTORY | --ref REF | --pr NUMBER]",
		Short:   "Show what a change would do; exits 0 nothing, 1 something, 2 an error",
		GroupID: "repo",
		Long: `Show what a change would do to what is live: objects and fields, and what follows from it.

A DIRECTORY is the root of a working copy, committed or not: what git tracks or does not ignore
is sent to the server, at most 32 MiB. A branch, a tag or a pull request is looked at as it would
be merged into what the repository follows; a file that both sides changed is an error. A full
commit is looked at as it is. The server computes the answer against live state, and changes nothing.`,
		Example: "  slipway diff .\n  slipway diff --ref three-frontends\n  slipway diff --pr 7 -o json",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := d.fetch(cmd.Context(), args)
			if err != nil {
				return err
			}
			return show(cmd, d.output, p, p.Text, p.Changes, p.Problems)
		},
	}
	read.ServerFlag(cmd, &d.address)
	f := cmd.Flags()
	f.StringVar(&d.repository, "repository", "slipway/root", "project/name of the GitRepository")
	f.StringVar(&d.ref, "ref", "", "branch, tag or full commit to look at")
	f.IntVar(&d.pull, "pr", 0, "number of a pull or merge request to look at")
	f.StringVarP(&d.output, "output", "o", "", "json, or the plan as text")
	return cmd
}

func (d difference) fetch(ctx context.Context, args []string) (p server.PreviewAnswer, err error) {
	given := 0
	for _, is := range []bool{len(args) > 0, d.ref != "", d.pull > 0} {
		if is {
			given++
		}
	}
	if given != 1 {
		return p, errors.New("name one of: a directory, --ref, --pr")
	}
	q := url.Values{"repository": {d.repository}}
	switch {
	case d.ref != "":
		q["ref"] = []string{d.ref}
	case d.pull > 0:
		q["ref"] = []string{fmt.Sprintf("refs/pull/%d/head", d.pull), fmt.Sprintf("refs/merge-requests/%d/head", d.pull)}
	default:
		archive, err := archive(ctx, args[0])
		if err != nil {
			return p, err
		}
		return p, ask(ctx, d.address, "/slipway/v1/diff?"+q.Encode(), "application/zip", archive, &p)
	}
	return p, ask(ctx, d.address, "/slipway/v1/diff?"+q.Encode(), "", nil, &p)
}

// show prints an answer and chooses the exit code: 0 nothing would change, 1 something
// would, 2 there are mistakes.
func show(cmd *cobra.Command, format string, whole any, text string, changes, problems int) error {
	switch format {
	case "json":
		enc := json.NewEncoder(cmd.OutOrStdout())
		enc.SetIndent("", "  ")
		if err := enc.Encode(whole); err != nil {
			return err
		}
	case "":
		fmt.Fprint(cmd.OutOrStdout(), text)
	default:
		return fmt.Errorf("-o %s: want json", format)
	}
	switch {
	case problems > 0:
		return exitCode(2)
	case changes > 0:
		return exitCode(1)
	}
	return nil
}

// archive packs a working copy: what git tracks or does not ignore, or, where there is no
// git, everything that is not hidden.
func archive(ctx context.Context, dir string) ([]byte, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	names, err := filesOf(ctx, dir, root.FS())
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, name := range names {
		if err := pack(z, root, name); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func filesOf(ctx context.Context, dir string, tree fs.FS) ([]string, error) {
	out, err := exec.CommandContext(ctx, "git", "-C", dir, "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output()
	if err == nil {
		names := slices.DeleteFunc(strings.Split(string(out), "\x00"), func(n string) bool { return n == "" })
		slices.Sort(names)
		return slices.Compact(names), nil
	}
	var names []string
	err = fs.WalkDir(tree, ".", func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && e.Name() == ".git":
			return fs.SkipDir
		case !e.IsDir():
			names = append(names, name)
		}
		return nil
	})
	return names, err
}

// pack adds a file or link; one that git tracks and that is gone is left out.
func pack(z *zip.Writer, root *os.Root, name string) error {
	info, err := root.Lstat(filepath.FromSlash(name))
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.IsDir() {
		return nil // deleted, or a submodule
	}
	if err != nil {
		return err
	}
	h, err := zip.FileInfoHeader(info)
	if err != nil {
		return err
	}
	h.Name, h.Method = name, zip.Deflate
	var content []byte
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := root.Readlink(filepath.FromSlash(name))
		if err != nil {
			return err
		}
		content = []byte(target)
	case info.Mode().IsRegular():
		if content, err = root.ReadFile(filepath.FromSlash(name)); err != nil {
			return err
		}
	default:
		return nil
	}
	w, err := z.CreateHeader(h)
	if err != nil {
		return err
	}
	_, err = w.Write(content)
	return err
}
