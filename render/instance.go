package render

import (
	"context"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/render/template"
)

// expandInstances adds the objects of every TemplateInstance.
func (r *rendering) expandInstances(ctx context.Context) error {
	for _, o := range r.objects[:len(r.objects):len(r.objects)] {
		if o.GetKind() != "TemplateInstance" {
			continue
		}
		if err := r.expand(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

// recipe is a Template and where it is written.
type recipe struct {
	content map[string]any
	origin  api.Origin
	// prefix is the template's path in the object that holds it, with a dot at the end.
	prefix string
	name   string
}

func (r *rendering) expand(ctx context.Context, instance api.DesiredObject) error {
	t, ok := r.recipe(instance)
	if !ok {
		return nil
	}
	given, ok := r.parameters(instance, t)
	if !ok {
		return nil
	}
	var broken error
	result, errs := template.Process(t.content, given, template.Options{
		Rotate: instance.GetAnnotations()[template.RotateAnnotation],
		Generated: func(key, expression string) (string, error) {
			value, err := r.values.get(ctx, "templateinstance/"+instance.GetNamespace()+"/"+instance.GetName(), key, expression)
			if r.values.broken != nil {
				broken = r.values.broken
			}
			return value, err
		},
	})
	if broken != nil {
		return broken
	}
	via := fmt.Sprintf("template %s, instance %s", t.name, instance.GetName())
	for _, e := range errs {
		at := t.prefix + trimTemplate(e.Field)
		if strings.HasPrefix(e.Field, "metadata.annotations[") && instance.GetAnnotations()[template.RotateAnnotation] != "" {
			r.problem(instance, e.Field, "%s", e.ErrorBody())
			continue
		}
		r.problems = append(r.problems, api.Problem{
			File: t.origin.File, Line: t.origin.LineOf(at), Object: api.ObjectName(instance.Unstructured), Field: at, Via: via, Message: e.ErrorBody(),
		})
	}
	written, _ := t.content["objects"].([]any)
	if r.recipes == nil {
		r.recipes = map[*unstructured.Unstructured]any{}
	}
	lines := linesOfObjects(t.origin.FieldLines, t.prefix+"objects[")
	for i, u := range result.Objects {
		// A result without errors has an object for each that is written.
		if i < len(written) {
			r.recipes[u] = written[i]
		}
		k, known := api.KindFor(u.GroupVersionKind().GroupKind())
		if known && k.Namespaced && u.GetNamespace() == "" {
			u.SetNamespace(instance.GetNamespace())
		}
		o := api.DesiredObject{Unstructured: u, Origin: api.Origin{
			File: t.origin.File, Line: t.origin.LineOf(fmt.Sprintf("%sobjects[%d]", t.prefix, i)), FieldLines: lines[i], Via: via,
		}}
		if k.Kind == "TemplateInstance" {
			r.problem(o, "kind", "a template cannot hold a TemplateInstance")
		}
		r.adopt(o)
	}
	return nil
}

// recipe finds the Template of an instance: embedded, or another object of the application.
func (r *rendering) recipe(instance api.DesiredObject) (recipe, bool) {
	content, _, err := unstructured.NestedMap(instance.Object, "spec", "template")
	if err != nil || content == nil {
		r.problem(instance, "spec.template", "must hold a template, or name one in metadata.name")
		return recipe{}, false
	}
	name, _, _ := unstructured.NestedString(content, "metadata", "name")
	if objects, ok := content["objects"].([]any); ok && len(objects) > 0 {
		if name == "" {
			name = instance.GetName()
		}
		return recipe{content: content, origin: instance.Origin, prefix: "spec.template.", name: name}, true
	}
	namespace, _, _ := unstructured.NestedString(content, "metadata", "namespace")
	if namespace == "" {
		namespace = instance.GetNamespace()
	}
	var others []string
	for _, o := range r.objects {
		if o.GetKind() != "Template" || o.GetNamespace() != namespace {
			continue
		}
		if o.GetName() == name {
			return recipe{content: o.Object, origin: o.Origin, name: name}, true
		}
		others = append(others, o.GetName())
	}
	if r.whole {
		r.problem(instance, "spec.template.metadata.name", "there is no Template %q in this application%s", name, suggest(name, others))
	}
	return recipe{}, false
}

// parameters collects the values given to an instance: the Application's parameters of the
// names that the template declares, then what its Secret says.
func (r *rendering) parameters(instance api.DesiredObject, t recipe) (map[string]string, bool) {
	given := map[string]string{}
	declared, _ := t.content["parameters"].([]any)
	for _, p := range declared {
		m, _ := p.(map[string]any)
		name, _ := m["name"].(string)
		if value, ok := r.Parameters[name]; ok {
			given[name] = value
		}
	}
	secret, found, _ := unstructured.NestedString(instance.Object, "spec", "secret", "name")
	if !found {
		return given, true
	}
	for _, o := range r.objects {
		if o.GetKind() != "Secret" || o.GetName() != secret || o.GetNamespace() != instance.GetNamespace() {
			continue
		}
		data, _, _ := unstructured.NestedStringMap(o.Object, "data")
		for name, encoded := range data {
			value, err := base64.StdEncoding.DecodeString(encoded)
			if err != nil {
				return nil, false // The Secret's own check says so.
			}
			given[name] = string(value)
		}
		return given, true
	}
	if r.whole {
		r.problem(instance, "spec.secret.name", "there is no Secret %q in this application", secret)
	}
	return nil, false
}

// linesOfObjects sorts a template's lines by the object they are in.
func linesOfObjects(all map[string]int, prefix string) map[int]map[string]int {
	out := map[int]map[string]int{}
	for at, line := range all {
		rest, ok := strings.CutPrefix(at, prefix)
		if !ok {
			continue
		}
		index, field, ok := strings.Cut(rest, "]")
		i, err := strconv.Atoi(index)
		if !ok || err != nil || field == "" {
			continue
		}
		if out[i] == nil {
			out[i] = map[string]int{}
		}
		out[i][strings.TrimPrefix(field, ".")] = line
	}
	return out
}

// trimTemplate makes a path that names the template a path within it.
func trimTemplate(path string) string { return strings.TrimPrefix(path, "template.") }
