package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/render"
	"slipway.dev/slipway/render/secrets"
	"slipway.dev/slipway/render/template"
)

// renderCommand renders a working copy as the server would, without a server.
func renderCommand() *cobra.Command {
	var parameters []string
	var w workingCopy
	var output string
	cmd := &cobra.Command{
		Use:     "render [DIRECTORY]",
		Short:   "Render a working copy of a repository; exits 2 with every mistake, by file and line",
		GroupID: "repo",
		Args:    cobra.MaximumNArgs(1),
		Long: `Render a working copy of a repository as the server would, and print the objects.

A configuration repository (cluster/, projects/<name>/) is rendered as a whole; --path and
--project render a folder of it. Nothing is kept: parameters that are generated show placeholders.
Encrypted files are opened with the keys that SOPS_AGE_KEY or SOPS_AGE_KEY_FILE gives; without
one, "encrypted" stands for each encrypted value.`,
		Example: "  slipway render . -p domain=apps.example.com\n" +
			"  slipway render . --path projects/shop-dev --project shop-dev -o json",
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if w.values, err = template.ParseParameters(parameters); err != nil {
				return err
			}
			root, err := os.OpenRoot(directory(args))
			if err != nil {
				return err
			}
			defer root.Close()
			objects, problems, err := w.render(cmd.Context(), root.FS())
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
	f.StringVar(&w.path, "path", "", "folder to render (default: the root)")
	f.StringVar(&w.project, "project", "", "project that objects go to which name none")
	f.StringVarP(&output, "output", "o", "yaml", "json or yaml")
	return cmd
}

// directory is the folder that a command's only argument names; default: this one.
func directory(args []string) string {
	if len(args) > 0 {
		return args[0]
	}
	return "."
}

// workingCopy says what of a working copy is rendered, and with what.
type workingCopy struct {
	path, project string
	values        map[string]string
}

// render renders every application of the tree, and gathers the mistakes of all of them.
func (w workingCopy) render(ctx context.Context, tree fs.FS) ([]api.DesiredObject, api.Problems, error) {
	r, err := offlineRenderer()
	if err != nil {
		return nil, nil, err
	}
	defer r.Close()
	apps, err := applications(ctx, r, tree, w)
	if err != nil {
		return nil, nil, err
	}
	var objects []api.DesiredObject
	var all api.Problems
	for _, app := range apps {
		objects = append(objects, app.rendered.Objects...)
		all = append(all, app.problems...)
	}
	return objects, all, nil
}

// offlineRenderer renders with the keys of the environment, if there are any.
func offlineRenderer() (*render.Renderer, error) {
	o := render.Options{Ledger: nothingKept{}, Log: slog.New(slog.DiscardHandler)}
	own, err := secrets.OwnKeys(os.Getenv)
	if err != nil {
		return nil, err
	}
	if own.Any() {
		o.Keyring = own
	}
	return render.New(o), nil
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
