package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/render/schema"
)

// schemaCommand publishes the kinds' JSON Schemas, for editors and for CI.
func schemaCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:     "schema [KIND]",
		Short:   "Print JSON Schemas of the kinds that a repository may hold, for editors",
		GroupID: "repo",
		Args:    cobra.MaximumNArgs(1),
		Long: `Print the JSON Schema of a kind, or of images.lock (the file images.lock.json), or, without an
argument, one for an object of any kind. With --dir, write all of them: all.json and one for each kind.

An editor with the YAML language server checks a repository with
  # yaml-language-server: $schema=.schemas/all.json
or by its settings: yaml.schemas: {".schemas/all.json": ["cluster/**", "projects/**"]}`,
		Example: "  slipway schema deploymentconfig\n  slipway schema --dir .schemas",
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			var names []string
			for _, k := range schema.Kinds() {
				names = append(names, k.Resource)
			}
			return append(names, schema.Lock), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if dir != "" {
				if len(args) > 0 {
					return fmt.Errorf("--dir writes the schemas of all kinds: name none")
				}
				return writeSchemas(dir)
			}
			d, err := schemaNamed(args)
			if err != nil {
				return err
			}
			return writeSchema(cmd.OutOrStdout(), d)
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "folder to write the schemas of all kinds to")
	return cmd
}

func schemaNamed(args []string) (schema.Document, error) {
	switch {
	case len(args) == 0:
		return schema.All()
	case args[0] == schema.Lock:
		return schema.OfLock(), nil
	}
	k, ok := api.KindNamed(args[0])
	if !ok || k.Runtime {
		return nil, fmt.Errorf("there is no kind %q that a repository may hold", args[0])
	}
	return schema.Of(k)
}

func writeSchema(w io.Writer, d schema.Document) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(d)
}

// writeSchemas writes every schema to a folder, which is made if it is not there.
func writeSchemas(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	files := map[string]schema.Document{schema.Lock + ".json": schema.OfLock()}
	var err error
	if files["all.json"], err = schema.All(); err != nil {
		return err
	}
	for _, k := range schema.Kinds() {
		if files[schema.FileName(k)], err = schema.Of(k); err != nil {
			return err
		}
	}
	for name, d := range files {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		if err := writeSchema(f, d); err != nil {
			f.Close()
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}
