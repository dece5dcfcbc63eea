package render

import (
	"fmt"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/render/document"
	"slipway.dev/slipway/render/template"
)

// TemplateFile is the Template in a file, and where it is written.
type TemplateFile struct {
	Content map[string]any
	origin  api.Origin
}

// ReadTemplate reads the one Template that a YAML or JSON file holds, in this process.
// Mistakes come back as api.Problems.
func ReadTemplate(file string, data []byte) (TemplateFile, error) {
	docs, problems := document.Parse(file, data)
	if len(problems) > 0 {
		return TemplateFile{}, problems
	}
	if len(docs) != 1 || docs[0].Object["kind"] != "Template" {
		return TemplateFile{}, api.Problems{{File: file, Message: fmt.Sprintf("must hold one Template, and holds %d objects", len(docs))}}
	}
	return TemplateFile{docs[0].Object, api.Origin{File: file, Line: docs[0].Line, FieldLines: docs[0].Lines}}, nil
}

// Process processes the Template as `oc process` does, offline. Mistakes come back as
// api.Problems.
func (t TemplateFile) Process(parameters map[string]string, o template.Options) (template.Result, error) {
	result, errs := template.Process(t.Content, parameters, o)
	var problems api.Problems
	for _, e := range errs {
		at := trimTemplate(e.Field)
		problems = append(problems, api.Problem{File: t.origin.File, Line: t.origin.LineOf(at), Field: at, Message: e.ErrorBody()})
	}
	return result, failure(problems, nil)
}

// Process reads a file and processes the Template that it holds.
func Process(file string, data []byte, parameters map[string]string, o template.Options) (template.Result, error) {
	t, err := ReadTemplate(file, data)
	if err != nil {
		return template.Result{}, err
	}
	return t.Process(parameters, o)
}
