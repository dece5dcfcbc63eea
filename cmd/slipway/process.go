package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	gotemplate "text/template"

	"github.com/spf13/cobra"

	"slipway.dev/slipway/render"
	"slipway.dev/slipway/render/template"
)

// processing is what `slipway process` is asked for.
type processing struct {
	file                      string
	parameters, files, labels []string
	ignore, list, raw         bool
	output, goTemplate        string
	stdin                     io.Reader
	out, warnings             io.Writer
}

// processCommand does what `oc process` does, without a server.
func processCommand() *cobra.Command {
	var p processing
	cmd := &cobra.Command{
		Use:     "process [FILE] [NAME=VALUE...]",
		Short:   "Process a template into a list of objects, as `oc process` does",
		GroupID: "repo",
		Long: `Process the Template in a YAML or JSON file ("-": standard input) into a list of objects, as
` + "`oc process --local`" + ` does. Values that are generated are new ones each time: only a server keeps them.`,
		Example: "  slipway process database.yaml -p NAME=orders -p SIZE=1Gi\n" +
			"  slipway process -f database.yaml --param-file orders.env -l team=blue,tier=db -o yaml\n" +
			"  slipway process database.yaml --parameters",
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, arg := range args {
				switch {
				case strings.Contains(arg, "="):
					p.parameters = append(p.parameters, arg)
				case p.file != "":
					return fmt.Errorf("two files are named, %s and %s", p.file, arg)
				default:
					p.file = arg
				}
			}
			p.stdin, p.out, p.warnings = cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()
			return p.run()
		},
	}
	f := cmd.Flags()
	f.StringVarP(&p.file, "filename", "f", "", "file that holds the template")
	f.StringArrayVarP(&p.parameters, "param", "p", nil, "NAME=VALUE; may be repeated")
	f.StringArrayVar(&p.files, "param-file", nil, "file with a NAME=VALUE a line; may be repeated; --param wins")
	f.StringArrayVarP(&p.labels, "labels", "l", nil, "NAME=VALUE[,NAME=VALUE...] to set on every object; may be repeated")
	f.BoolVar(&p.ignore, "ignore-unknown-parameters", false, "let values pass that no parameter is declared for")
	f.BoolVar(&p.list, "parameters", false, "list the parameters instead")
	f.BoolVar(&p.raw, "raw", false, "print the processed template instead of a list")
	f.StringVarP(&p.output, "output", "o", "json", "json, yaml, name or template")
	f.StringVarP(&p.goTemplate, "template", "t", "", "Go template to print the list with")
	f.Bool("local", true, "no effect: everything is done here")
	return cmd
}

func (p *processing) run() error {
	if p.file == "" {
		return errors.New("name the file that holds the template")
	}
	data, err := readFile(p.stdin, p.file)
	if err != nil {
		return err
	}
	t, err := render.ReadTemplate(p.file, data)
	if err != nil {
		return err
	}
	if p.list {
		parameters, err := template.Parameters(t.Content)
		if err != nil {
			return fmt.Errorf("%s: %w", p.file, err)
		}
		return template.WriteParameters(p.out, parameters)
	}
	values, err := p.values()
	if err != nil {
		return err
	}
	var labels []string
	for _, l := range p.labels {
		labels = append(labels, strings.Split(l, ",")...)
	}
	added, err := template.ParseParameters(labels)
	if err != nil {
		return fmt.Errorf("--labels: %w", err)
	}
	res, err := t.Process(values, template.Options{IgnoreUnknown: p.ignore, Labels: added})
	if err != nil {
		return err
	}
	return p.print(t.Content, res)
}

// values are the ones of the command line, and of the files what it does not say.
func (p *processing) values() (map[string]string, error) {
	values, err := template.ParseParameters(p.parameters)
	if err != nil {
		return nil, err
	}
	for _, name := range p.files {
		data, err := readFile(p.stdin, name)
		if err != nil {
			return nil, err
		}
		more, err := template.ParseParameterFile(name, bytes.NewReader(data))
		if err != nil {
			return nil, err
		}
		for k, v := range more {
			if _, given := values[k]; given {
				fmt.Fprintf(p.warnings, "parameter %q is already defined, ignoring its value from %s\n", k, name)
				continue
			}
			values[k] = v
		}
	}
	return values, nil
}

func (p *processing) print(source map[string]any, res template.Result) error {
	list := res.List().Object
	switch {
	case p.goTemplate != "":
		t, err := gotemplate.New("output").Parse(p.goTemplate)
		if err != nil {
			return fmt.Errorf("--template: %w", err)
		}
		return t.Execute(p.out, list)
	case p.output == "template":
		return errors.New("-o template: needs --template")
	case p.output == "name":
		for _, o := range res.Objects {
			kind := strings.ToLower(o.GetKind())
			if group := o.GroupVersionKind().Group; group != "" {
				kind += "." + group
			}
			fmt.Fprintf(p.out, "%s/%s\n", kind, o.GetName())
		}
		return nil
	case p.raw:
		return print(p.out, p.output, processed(source, res))
	}
	return print(p.out, p.output, list)
}

// processed is the template with its objects, its message and its values as they came out.
func processed(source map[string]any, res template.Result) map[string]any {
	out := maps.Clone(source)
	out["objects"] = res.List().Object["items"]
	if res.Message != "" {
		out["message"] = res.Message
	}
	declared, _ := source["parameters"].([]any)
	parameters := make([]any, 0, len(declared))
	for _, d := range declared {
		m, _ := d.(map[string]any)
		m = maps.Clone(m)
		if name, ok := m["name"].(string); ok {
			m["value"] = res.Values[name]
		}
		parameters = append(parameters, m)
	}
	if len(parameters) > 0 {
		out["parameters"] = parameters
	}
	return out
}
