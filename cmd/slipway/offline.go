package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/reconciler"
	"slipway.dev/slipway/render"
	"slipway.dev/slipway/render/template"
)

// processCommand does what `oc process` does, without a server.
func processCommand() *cobra.Command {
	var parameters, labels []string
	var ignore bool
	var output string
	cmd := &cobra.Command{
		Use:     "process FILE",
		Short:   "Process a template into a list of objects, as `oc process` does",
		GroupID: "repo",
		Args:    cobra.ExactArgs(1),
		Example: "  slipway process database.yaml -p NAME=orders -p SIZE=1Gi",
		RunE: func(cmd *cobra.Command, args []string) error {
			values, err := template.ParseParameters(parameters)
			if err != nil {
				return err
			}
			added, err := template.ParseParameters(labels)
			if err != nil {
				return err
			}
			data, err := readFile(args[0])
			if err != nil {
				return err
			}
			res, err := render.Process(args[0], data, values, template.Options{IgnoreUnknown: ignore, Labels: added})
			if err != nil {
				return err
			}
			return print(cmd.OutOrStdout(), output, res.List().Object)
		},
	}
	f := cmd.Flags()
	f.StringArrayVarP(&parameters, "param", "p", nil, "NAME=VALUE; may be repeated")
	f.StringArrayVarP(&labels, "labels", "l", nil, "NAME=VALUE to set on every object; may be repeated")
	f.BoolVar(&ignore, "ignore-unknown-parameters", false, "let values pass that no parameter is declared for")
	f.StringVarP(&output, "output", "o", "json", "json or yaml")
	return cmd
}

// renderCommand renders a working copy as the server would, without a server.
func renderCommand() *cobra.Command {
	var parameters []string
	var path, project, output string
	cmd := &cobra.Command{
		Use:     "render [DIRECTORY]",
		Short:   "Render a working copy of a repository; exits 2 with every mistake, by file and line",
		GroupID: "repo",
		Args:    cobra.MaximumNArgs(1),
		Long: `Render a working copy of a repository as the server would, and print the objects.

A configuration repository (cluster/, projects/<name>/) is rendered as a whole; --path and
--project render a folder of it. Nothing is kept: parameters that are generated show placeholders.`,
		Example: "  slipway render . -p domain=apps.example.com\n" +
			"  slipway render . --path projects/shop-dev --project shop-dev -o json",
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := "."
			if len(args) > 0 {
				dir = args[0]
			}
			values, err := template.ParseParameters(parameters)
			if err != nil {
				return err
			}
			root, err := os.OpenRoot(dir)
			if err != nil {
				return err
			}
			defer root.Close()
			folders := []reconciler.Folder{{Path: path, Project: project}}
			if project == "" {
				folders = reconciler.Folders(root.FS(), cmp.Or(path, "."))
			}
			objects, problems, err := renderFolders(cmd.Context(), root.FS(), folders, values)
			if err != nil {
				return err
			}
			if len(problems) > 0 {
				fmt.Fprintln(cmd.ErrOrStderr(), problems.Error())
				return exitCode(2)
			}
			for i, o := range objects {
				if i > 0 && output == "yaml" {
					fmt.Fprintln(cmd.OutOrStdout(), "---")
				}
				if err := print(cmd.OutOrStdout(), output, o.Object); err != nil {
					return err
				}
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringArrayVarP(&parameters, "param", "p", nil, "NAME=VALUE; may be repeated")
	f.StringVar(&path, "path", "", "folder to render (default: the root)")
	f.StringVar(&project, "project", "", "project that objects go to which name none")
	f.StringVarP(&output, "output", "o", "yaml", "json or yaml")
	return cmd
}

// renderFolders renders every folder, and gathers the mistakes of all of them.
func renderFolders(ctx context.Context, tree fs.FS, folders []reconciler.Folder, values map[string]string) ([]api.DesiredObject, api.Problems, error) {
	r := render.New(render.Options{Ledger: nothingKept{}, Log: slog.New(slog.DiscardHandler)})
	defer r.Close()
	var objects []api.DesiredObject
	var all api.Problems
	for _, f := range folders {
		want, err := r.Render(ctx, render.Request{
			Tree: tree, Path: f.Path, Project: f.Project, Parameters: values, Application: "offline/offline",
		})
		var problems api.Problems
		switch {
		case errors.As(err, &problems):
			all = append(all, problems...)
		case err != nil:
			return nil, nil, err
		default:
			objects = append(objects, want.Objects...)
		}
	}
	return objects, all, nil
}

// nothingKept is the ledger of a command that keeps nothing: a preview shows
// placeholders for values that are still to be generated.
type nothingKept struct{}

func (nothingKept) Values(context.Context, string, string) (map[string]string, error) {
	return nil, nil
}

func (nothingKept) Keep(context.Context, string, string, map[string]string) error {
	return errors.New("nothing is kept offline")
}

func readFile(name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(os.Stdin)
	}
	return os.ReadFile(name)
}

func print(w io.Writer, format string, o any) error {
	j, err := json.MarshalIndent(o, "", "    ")
	if err != nil {
		return err
	}
	switch strings.ToLower(format) {
	case "json":
		_, err = fmt.Fprintf(w, "%s\n", j)
	case "yaml":
		var y []byte
		if y, err = yaml.JSONToYAML(j); err == nil {
			_, err = w.Write(y)
		}
	default:
		err = fmt.Errorf("-o %s: want json or yaml", format)
	}
	return err
}
