package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/render/lint"
	"slipway.dev/slipway/render/template"
)

// linting is what `slipway lint` is asked for.
type linting struct {
	copy   workingCopy
	ignore []string
	strict bool
	output string
	out    io.Writer
	err    io.Writer
}

// lintCommand checks a working copy without a server.
func lintCommand() *cobra.Command {
	var parameters []string
	var l linting
	cmd := &cobra.Command{
		Use:     "lint [DIRECTORY]",
		Short:   "Check a working copy of a repository: what is wrong, and what is unwise",
		GroupID: "repo",
		Args:    cobra.MaximumNArgs(1),
		Long: `Check a working copy of a repository, without a server and without keys: everything that the server
would refuse is an error; what it takes and is unwise is a warning, of one of the rules
` + rulesText() + `
An object is spared a rule by annotation slipway.dev/lint-ignore: RULE[,RULE...].

Exit codes: 0 nothing was found, or only warnings; 1 warnings, with --strict; 2 errors.`,
		Example: "  slipway lint\n  slipway lint . --strict --ignore limits -o json",
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if l.copy.values, err = template.ParseParameters(parameters); err != nil {
				return err
			}
			for _, rule := range l.ignore {
				if _, known := lint.Rules()[rule]; !known {
					return fmt.Errorf("--ignore %s: there is no such rule; rules: %s", rule, strings.Join(slices.Sorted(maps.Keys(lint.Rules())), " "))
				}
			}
			root, err := os.OpenRoot(directory(args))
			if err != nil {
				return err
			}
			defer root.Close()
			l.out, l.err = cmd.OutOrStdout(), cmd.ErrOrStderr()
			findings, err := l.find(cmd.Context(), root.FS())
			if err != nil {
				return err
			}
			return l.report(findings)
		},
	}
	f := cmd.Flags()
	f.StringArrayVarP(&parameters, "param", "p", nil, "NAME=VALUE of the root application; may be repeated")
	f.StringVar(&l.copy.path, "path", "", "folder to check (default: the root)")
	f.StringVar(&l.copy.project, "project", "", "project that objects go to which name none")
	f.StringSliceVar(&l.ignore, "ignore", nil, "rules that do not hold; may be repeated")
	f.BoolVar(&l.strict, "strict", false, "end with 1 if there are warnings")
	f.StringVarP(&l.output, "output", "o", "text", "text or json")
	return cmd
}

func rulesText() string {
	var b strings.Builder
	for _, rule := range slices.Sorted(maps.Keys(lint.Rules())) {
		fmt.Fprintf(&b, "  %-14s %s\n", rule, lint.Rules()[rule])
	}
	return b.String()
}

// find renders every application and looks at what comes out, and at the files it came from.
func (l *linting) find(ctx context.Context, tree fs.FS) ([]lint.Finding, error) {
	r, err := offlineRenderer()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	apps, err := applications(ctx, r, tree, l.copy)
	if err != nil {
		return nil, err
	}
	var findings []lint.Finding
	var objects []api.DesiredObject
	files, whole := map[string]bool{}, true
	for _, app := range apps {
		findings = append(findings, lint.Problems(app.problems)...)
		objects = append(objects, app.rendered.Objects...)
		whole = whole && len(app.problems) == 0
		for _, name := range app.rendered.Depends.Files {
			files[name] = slices.Contains([]string{".yaml", ".yml", ".json"}, path.Ext(name))
		}
	}
	findings = append(findings, lint.Objects(objects, whole)...)
	for name, text := range files {
		if !text {
			continue
		}
		data, err := fs.ReadFile(tree, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // It was looked for in vain.
		}
		if err != nil {
			return nil, err
		}
		findings = append(findings, lint.File(name, data)...)
	}
	findings = slices.DeleteFunc(findings, func(f lint.Finding) bool { return slices.Contains(l.ignore, f.Rule) })
	return lint.Sort(findings), nil
}

// report prints the findings, and ends with the code that they are worth.
func (l *linting) report(findings []lint.Finding) error {
	count := map[string]int{}
	for _, f := range findings {
		count[f.Severity]++
	}
	switch l.output {
	case "json":
		if findings == nil {
			findings = []lint.Finding{}
		}
		if err := print(l.out, "json", findings); err != nil {
			return err
		}
	case "text":
		for _, f := range findings {
			fmt.Fprintln(l.out, f)
		}
		if len(findings) > 0 {
			fmt.Fprintf(l.err, "%d errors, %d warnings\n", count[lint.Error], count[lint.Warning])
		}
	default:
		return fmt.Errorf("-o %s: want text or json", l.output)
	}
	switch {
	case count[lint.Error] > 0:
		return exitCode(2)
	case l.strict && count[lint.Warning] > 0:
		return exitCode(1)
	}
	return nil
}
