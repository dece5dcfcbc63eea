package render_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/render"
)

// The templates of OpenShift 3's shapes go in unchanged: as an instance of each, they
// render to objects that are good, or are refused for what nothing serves, and no more.
func TestCorpusRenders(t *testing.T) {
	refused := map[string]string{
		"django.yaml": `there is no kind OAuthClient in oauth.openshift.io/v1
persistent volumes are not served yet
there is no kind Widget in example.com/v1`,
	}
	files, err := filepath.Glob("template/testdata/corpus/*")
	if err != nil || len(files) < 5 {
		t.Fatal(files, err)
	}
	r := newRenderer(t, render.Options{})
	for _, file := range files {
		name := filepath.Base(file)
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		got, err := r.Render(t.Context(), render.Request{
			Project: "shop", Application: "shop/" + name, Parameters: map[string]string{"NAMESPACE": "shop"},
			Tree: tree(map[string]string{
				name:            strings.NewReplacer("value: elsewhere", "value: shop", `"namespace": "openshift"`, `"namespace": "shop"`).Replace(string(data)),
				"instance.yaml": "apiVersion: template.openshift.io/v1\nkind: TemplateInstance\nmetadata: {name: one}\nspec: {template: {metadata: {name: " + templateName(string(data)) + "}}}\n",
				"streams.yaml": "apiVersion: v1\nkind: List\nitems:\n" +
					"- {apiVersion: v1, kind: ImageStream, metadata: {name: ruby}}\n- {apiVersion: v1, kind: ImageStream, metadata: {name: mongodb}}\n- {apiVersion: v1, kind: ImageStream, metadata: {name: jenkins}}\n",
			}),
		})
		var problems api.Problems
		if err != nil && !errors.As(err, &problems) {
			t.Fatal(err)
		}
		var left []string
		for _, p := range problems {
			known := false
			for line := range strings.Lines(refused[name]) {
				known = known || strings.Contains(p.Message, strings.TrimSpace(line))
			}
			if !known {
				left = append(left, api.ProblemString(p))
			}
		}
		if len(left) > 0 || len(problems) == 0 && len(got.Objects) < 5 {
			t.Errorf("%s: %d objects\n%s", name, len(got.Objects), strings.Join(left, "\n"))
		}
	}
}

// templateName finds metadata.name in the text of a template of the corpus.
func templateName(text string) string {
	_, after, _ := strings.Cut(text, "metadata")
	_, after, _ = strings.Cut(after, "name")
	return strings.Trim(strings.FieldsFunc(after, func(r rune) bool { return r == '\n' || r == ',' || r == '}' })[0], " \":")
}
