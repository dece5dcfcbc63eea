package main

import (
	"context"
	"fmt"
	"path"
	"reflect"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/render"
	"slipway.dev/slipway/render/template"
	"slipway.dev/slipway/sources"
)

// affected is an application that a change touches, and why.
type affected struct {
	Application string `json:"application"`
	Path        string `json:"path"`
	Project     string `json:"project,omitempty"`
	// Reason is Added, Removed, Changed (its own declaration) or Files.
	Reason string `json:"reason"`
	// Files that changed and that it depends on.
	Files []string `json:"files,omitempty"`
}

// affectedCommand lists the applications that a change touches.
func affectedCommand() *cobra.Command {
	var dir, output string
	var parameters []string
	var w workingCopy
	cmd := &cobra.Command{
		Use:     "affected BASE..HEAD",
		Short:   "List the applications that a change touches, by what each depends on",
		GroupID: "repo",
		Args:    cobra.ExactArgs(1),
		Long: `List the applications of a repository that a change touches: those whose folder, imported files,
files looked for in vain, or own declaration differ between two commits. The commits are read out
of the clone; nothing is checked out. BASE...HEAD compares with the newest common commit, as a pull
request does; BASE alone compares with HEAD.

The exit code is 0 also if no application is touched.`,
		Example: "  slipway affected origin/main...HEAD\n  slipway affected v1.2.0..v1.3.0 -o json",
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if w.values, err = template.ParseParameters(parameters); err != nil {
				return err
			}
			list, err := affectedBy(cmd.Context(), dir, args[0], w)
			if err != nil {
				return err
			}
			switch output {
			case "json":
				return print(cmd.OutOrStdout(), output, list)
			case "name":
				for _, a := range list {
					fmt.Fprintln(cmd.OutOrStdout(), a.Application)
				}
				return nil
			case "":
			default:
				return fmt.Errorf("-o %s: want json or name", output)
			}
			if len(list) == 0 {
				fmt.Fprintln(cmd.ErrOrStderr(), "No application is touched.")
				return nil
			}
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 3, ' ', 0)
			fmt.Fprintln(table, "APPLICATION\tPATH\tREASON")
			for _, a := range list {
				fmt.Fprintf(table, "%s\t%s\t%s\n", a.Application, a.Path, a.why())
			}
			return table.Flush()
		},
	}
	f := cmd.Flags()
	f.StringVar(&dir, "repo", ".", "folder of the clone")
	f.StringVar(&w.path, "path", "", "folder of the repository that the root application renders (default: all of it)")
	f.StringArrayVarP(&parameters, "param", "p", nil, "NAME=VALUE of the root application; may be repeated")
	f.StringVarP(&output, "output", "o", "", "json or name")
	return cmd
}

// why is the reason for people.
func (a affected) why() string {
	switch {
	case a.Reason == "Files" && len(a.Files) > 2:
		return fmt.Sprintf("%s, %s and %d more", a.Files[0], a.Files[1], len(a.Files)-2)
	case a.Reason == "Files":
		return strings.Join(a.Files, ", ")
	case a.Reason == "Changed":
		return "its declaration changed"
	}
	return strings.ToLower(a.Reason)
}

func affectedBy(ctx context.Context, dir, between string, root workingCopy) ([]affected, error) {
	clone, err := sources.OpenClone(dir)
	if err != nil {
		return nil, err
	}
	defer clone.Close()
	base, head, err := ends(clone, between)
	if err != nil {
		return nil, err
	}
	changed, err := clone.Changes(base, head)
	if err != nil {
		return nil, err
	}
	r, err := offlineRenderer()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	before, err := applicationsAt(ctx, r, clone, base, root)
	if err != nil {
		return nil, err
	}
	after, err := applicationsAt(ctx, r, clone, head, root)
	if err != nil {
		return nil, err
	}
	return compare(before, after, changed), nil
}

// ends are the full commits of BASE..HEAD, BASE...HEAD or BASE.
func ends(c *sources.Clone, between string) (base, head string, err error) {
	base, head, common := strings.Cut(between, "...")
	if !common {
		base, head, _ = strings.Cut(between, "..")
	}
	for _, end := range []*string{&base, &head} {
		if *end == "" {
			*end = "HEAD"
		}
		if *end, err = c.Commit(*end); err != nil {
			return "", "", err
		}
	}
	if common {
		base, err = c.MergeBase(base, head)
	}
	return base, head, err
}

func applicationsAt(ctx context.Context, r *render.Renderer, c *sources.Clone, commit string, root workingCopy) (map[string]*application, error) {
	tree, err := c.Tree(commit)
	if err != nil {
		return nil, err
	}
	all, err := applications(ctx, r, tree, root)
	if err != nil {
		return nil, err
	}
	out := map[string]*application{}
	for _, a := range all {
		out[a.Name] = a
	}
	return out, nil
}

// compare finds what a change touches: what an application depended on before, or depends
// on now, is among what changed.
func compare(before, after map[string]*application, changed []string) []affected {
	out := []affected{}
	for name, now := range after {
		a := affected{Application: name, Path: now.Path, Project: now.Project}
		was, existed := before[name]
		for _, file := range changed {
			if touches(now.rendered.Depends, file) || existed && touches(was.rendered.Depends, file) {
				a.Files = append(a.Files, file)
			}
		}
		switch {
		case !existed:
			a.Reason = "Added"
		case !reflect.DeepEqual(was.Spec, now.Spec) || was.Path != now.Path || was.Project != now.Project || !slices.Equal(was.projects, now.projects):
			a.Reason = "Changed"
		case len(a.Files) > 0:
			a.Reason = "Files"
		default:
			continue
		}
		out = append(out, a)
	}
	for name, was := range before {
		if _, left := after[name]; !left {
			out = append(out, affected{Application: name, Path: was.Path, Project: was.Project, Reason: "Removed"})
		}
	}
	slices.SortFunc(out, func(a, b affected) int { return strings.Compare(a.Application, b.Application) })
	return out
}

// touches tells whether a change of a file may change what was rendered: it was read, or
// looked for, or it is one that is rendered because of the folder it is in.
func touches(d api.Depends, file string) bool {
	if slices.Contains(d.Files, file) {
		return true
	}
	return slices.ContainsFunc(d.Folders, func(folder string) bool {
		rest, below := strings.CutPrefix(file, folder+"/")
		if folder == "." {
			rest, below = file, true
		}
		return below && renders(rest)
	})
}

// renders tells whether a file is rendered because it is there: YAML, JSON and Jsonnet that
// is neither hidden nor a library. A name without an extension may be a link, which is a
// mistake wherever it is.
func renders(name string) bool {
	parts := strings.Split(name, "/")
	for i, part := range parts {
		if strings.HasPrefix(part, ".") || i < len(parts)-1 && (part == "lib" || part == "vendor") {
			return false
		}
	}
	return slices.Contains([]string{".yaml", ".yml", ".json", ".jsonnet", ""}, path.Ext(name))
}
