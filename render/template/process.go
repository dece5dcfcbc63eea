package template

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"sort"
	"strings"

	templatev1 "github.com/openshift/api/template/v1"
	"github.com/openshift/library-go/pkg/legacyapi/legacygroupification"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

var parameterName = regexp.MustCompile(`^[a-zA-Z0-9_]+$`)

// Options are what a template is processed with beside its parameters.
type Options struct {
	// IgnoreUnknown lets values pass that no parameter is declared for.
	IgnoreUnknown bool
	// Labels are added to the template's own; they win over equal keys.
	Labels map[string]string
	// Generated gives the value of a parameter that is to be generated, under the key that it
	// is kept under, see CutKey; default: a new random one each time.
	Generated func(key, expression string) (string, error)
	// Rotate is the RotateAnnotation of a TemplateInstance; default: the template's own.
	Rotate string
	// Random is the source of generated values; default crypto/rand.
	Random io.Reader
}

// Result is what a template processes to.
type Result struct {
	Objects []*unstructured.Unstructured
	// Message is the template's message, with its references replaced.
	Message string
	// Values are the parameters' values, generated ones included.
	Values map[string]string
	// Made names the parameters whose values were generated.
	Made []string
}

// List is the result as `oc process` prints it.
func (r Result) List() *unstructured.Unstructured {
	items := make([]any, len(r.Objects))
	for i, o := range r.Objects {
		items[i] = o.Object
	}
	return &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "List", "metadata": map[string]any{}, "items": items}}
}

// Process turns a Template into objects. The template itself is not changed. On errors
// every one is returned, with fields of the template (`parameters[1]`, `objects[0]`).
func Process(template map[string]any, given map[string]string, o Options) (Result, field.ErrorList) {
	t, errs := read(template)
	if len(errs) > 0 {
		return Result{}, errs
	}
	turns, errs := t.rotations(o.Rotate)
	if len(errs) > 0 {
		return Result{}, errs
	}
	values, made, errs := resolve(t.Parameters, given, turns, o)
	if len(errs) > 0 {
		return Result{}, errs
	}
	s := &substitution{values: values, budget: maxProcessed}
	result := Result{Values: values, Made: made}
	var err error
	if result.Message, err = s.text(t.Message); err != nil {
		return Result{}, append(errs, field.Invalid(field.NewPath("message"), field.OmitValueType{}, err.Error()))
	}
	labels, err := s.labels(t.Labels, o.Labels)
	if err != nil {
		return Result{}, append(errs, field.Invalid(field.NewPath("labels"), field.OmitValueType{}, err.Error()))
	}
	for i, object := range t.Objects {
		at := field.NewPath("objects").Index(i)
		m, ok := runtime.DeepCopyJSONValue(object).(map[string]any)
		if !ok {
			errs = append(errs, field.Invalid(at, field.OmitValueType{}, "is not an object"))
			continue
		}
		u, err := s.object(m, labels)
		if err != nil {
			errs = append(errs, field.Invalid(at, field.OmitValueType{}, err.Error()))
			continue
		}
		result.Objects = append(result.Objects, u)
	}
	if len(errs) > 0 {
		return Result{}, errs
	}
	return result, nil
}

// shape is what is read of a Template. Objects stay what they are, so that numbers keep
// their precision and references may stand anywhere.
type shape struct {
	Metadata   struct{ Annotations map[string]string }
	Message    string
	Labels     map[string]string
	Parameters []templatev1.Parameter
	Objects    []any
}

func read(template map[string]any) (shape, field.ErrorList) {
	var t shape
	var errs field.ErrorList
	decode := func(name string, into any) {
		v, ok := template[name]
		if !ok || v == nil {
			return
		}
		raw, err := json.Marshal(v)
		if err == nil {
			err = json.Unmarshal(raw, into)
		}
		if err != nil {
			errs = append(errs, field.Invalid(field.NewPath(name), field.OmitValueType{}, "has the wrong type: "+strings.TrimPrefix(err.Error(), "json: ")))
		}
	}
	if meta, ok := template["metadata"].(map[string]any); ok && isMap(meta["annotations"]) {
		decode("metadata", &t.Metadata)
	}
	decode("message", &t.Message)
	decode("labels", &t.Labels)
	decode("parameters", &t.Parameters)
	switch objects := template["objects"].(type) {
	case []any:
		t.Objects = objects
	case nil:
	default:
		errs = append(errs, field.Invalid(field.NewPath("objects"), field.OmitValueType{}, "is not a list"))
	}
	return t, errs
}

// rotations are those of an instance, else of the template. A word for a parameter that is
// not declared is a mistake: it would rotate nothing.
func (t shape) rotations(ofInstance string) (rotations, field.ErrorList) {
	text := ofInstance
	if text == "" {
		text = t.Metadata.Annotations[RotateAnnotation]
	}
	at := field.NewPath("metadata", "annotations").Key(RotateAnnotation)
	turns, err := parseRotations(text)
	if err != nil {
		return nil, field.ErrorList{field.Invalid(at, text, err.Error())}
	}
	var names []string
	for _, p := range t.Parameters {
		names = append(names, p.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(turns)) {
		if name != "" && !slices.Contains(names, name) {
			return nil, field.ErrorList{field.NotFound(at, name)}
		}
	}
	return turns, nil
}

// resolve finds the value of each parameter: given, else the template's own, else generated.
func resolve(parameters []templatev1.Parameter, given map[string]string, turns rotations, o Options) (map[string]string, []string, field.ErrorList) {
	var errs field.ErrorList
	var made []string
	values := map[string]string{}
	generate := o.Generated
	if generate == nil {
		generate = func(_, expression string) (string, error) { return Generate(expression, o.Random) }
	}
	for i, p := range parameters {
		at := field.NewPath("template", "parameters").Index(i)
		if !parameterName.MatchString(p.Name) {
			errs = append(errs, field.Invalid(at.Child("name"), p.Name, "must match "+parameterName.String()))
			continue
		}
		if _, twice := values[p.Name]; twice {
			errs = append(errs, field.Duplicate(at.Child("name"), p.Name))
			continue
		}
		value, isGiven := given[p.Name]
		if !isGiven {
			value = p.Value
		}
		if value == "" && !isGiven && p.Generate != "" {
			if p.Generate != "expression" {
				errs = append(errs, field.Invalid(at, p.Generate, fmt.Sprintf("Unknown generator name '%s' for parameter %s", p.Generate, p.Name)))
				values[p.Name] = ""
				continue
			}
			var err error
			if value, err = generate(turns.key(p.Name), p.From); err != nil {
				errs = append(errs, field.Invalid(at.Child("from"), p.From, err.Error()))
				values[p.Name] = ""
				continue
			}
			made = append(made, p.Name)
		}
		if value == "" && p.Required {
			errs = append(errs, field.Required(at, fmt.Sprintf("template.parameters[%d]: parameter %s is required and must be specified", i, p.Name)))
		}
		values[p.Name] = value
	}
	if !o.IgnoreUnknown {
		errs = append(errs, unknown(values, given)...)
	}
	return values, made, errs
}

func unknown(declared, given map[string]string) (errs field.ErrorList) {
	var names []string
	for name := range given {
		if _, ok := declared[name]; !ok {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	for _, name := range names {
		errs = append(errs, field.Invalid(field.NewPath("template", "parameters"), field.OmitValueType{}, fmt.Sprintf("unknown parameter name %q", name)))
	}
	return errs
}

// labels resolves the template's labels; those of the options win.
func (s *substitution) labels(own, more map[string]string) (map[string]any, error) {
	in := map[string]any{}
	for k, v := range own {
		in[k] = v
	}
	for k, v := range more {
		in[k] = v
	}
	out := map[string]any{}
	for k, v := range in {
		key, err := s.text(k)
		if err != nil {
			return nil, err
		}
		if out[key], err = s.text(v.(string)); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// object processes one object: the namespace goes unless a parameter stands in it, then
// references are replaced, a legacy kind gets its group, and the labels are laid on top.
func (s *substitution) object(m map[string]any, labels map[string]any) (*unstructured.Unstructured, error) {
	if meta, ok := m["metadata"].(map[string]any); ok {
		if ns, ok := meta["namespace"].(string); !ok || !textReference.MatchString(ns) {
			delete(meta, "namespace")
		}
	}
	m, err := s.mapping(m)
	if err != nil {
		return nil, err
	}
	u := &unstructured.Unstructured{Object: m}
	if gvk := u.GroupVersionKind(); gvk.Kind != "" {
		legacygroupification.OAPIToGroupifiedGVK(&gvk)
		u.SetGroupVersionKind(gvk)
	}
	if len(labels) == 0 {
		return u, nil
	}
	for _, at := range [][]string{{"metadata"}, {"metadata", "labels"}} {
		if v, found, err := unstructured.NestedFieldNoCopy(m, at...); err != nil || (found && v != nil && !isMap(v)) {
			return nil, fmt.Errorf("label could not be applied: %s is not an object", strings.Join(at, "."))
		}
	}
	meta := mapAt(m, "metadata")
	own := mapAt(meta, "labels")
	for k, v := range labels {
		own[k] = v
	}
	return u, nil
}

func isMap(v any) bool { _, ok := v.(map[string]any); return ok }

// mapAt is the map under a key, made if there is none.
func mapAt(m map[string]any, key string) map[string]any {
	in, ok := m[key].(map[string]any)
	if !ok {
		in = map[string]any{}
		m[key] = in
	}
	return in
}
