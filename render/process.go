package render

import (
	"fmt"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/render/document"
	"slipway.dev/slipway/render/template"
)

// Process processes the Template in a YAML or JSON file as `oc process` does, offline and
// in this process. Mistakes come back as api.Problems.
func Process(file string, data []byte, parameters map[string]string, o template.Options) (template.Result, error) {
	docs, problems := document.Parse(file, data)
	if len(problems) > 0 {
		return template.Result{}, problems
	}
	if len(docs) != 1 || docs[0].Object["kind"] != "Template" {
		return template.Result{}, api.Problems{{File: file, Message: fmt.Sprintf("must hold one Template, and holds %d objects", len(docs))}}
	}
	origin := api.Origin{File: file, Line: docs[0].Line, FieldLines: docs[0].Lines}
	result, errs := template.Process(docs[0].Object, parameters, o)
	for _, e := range errs {
		at := trimTemplate(e.Field)
		problems = append(problems, api.Problem{File: file, Line: origin.LineOf(at), Field: at, Message: e.ErrorBody()})
	}
	return result, failure(problems, nil)
}
