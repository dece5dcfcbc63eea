package render

import (
	"context"
	"encoding/base64"
	"fmt"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/render/document"
)

// rendering is one run over an application.
type rendering struct {
	Request
	renderer *Renderer
	dir      string
	tree     *tree
	values   *values
	files    []string
	// wrong is what cannot be a file to render, such as a link.
	wrong api.Problems

	objects  []api.DesiredObject
	problems api.Problems
	// deaths counts the children that it used up; took is how long it had one.
	deaths int
	took   time.Duration
	// good are the objects that were checked at an earlier render. They are shared.
	good map[*unstructured.Unstructured]bool
	// fresh is what may be kept of single files.
	fresh []*entry
	// whole is set while no file failed: only then can something be said to be missing.
	whole bool
	// recipes are the objects of templates as these write them.
	recipes map[*unstructured.Unstructured]any
}

// do renders. The problems are in the order of files and lines.
func (r *rendering) do(ctx context.Context) ([]api.DesiredObject, api.Problems, error) {
	sources, problems, err := r.evaluate(ctx)
	if err != nil {
		return nil, nil, err
	}
	more, err := r.unseal(ctx, sources)
	if err != nil {
		return nil, nil, err
	}
	r.problems = append(append(slices.Clone(r.wrong), problems...), more...)
	r.whole = len(r.problems) == 0
	var locks []source
	for _, s := range sources {
		if path.Base(s.file) == lockFile {
			locks = append(locks, s)
			continue
		}
		r.take(s)
	}
	if err := r.expandInstances(ctx); err != nil {
		return nil, nil, err
	}
	for _, lock := range locks {
		r.applyLock(lock)
	}
	r.checkObjects()
	r.keepFiles()
	return r.objects, arrange(r.problems), nil
}

// arrange sorts problems by place, drops what is said twice, and cuts an endless list.
func arrange(problems api.Problems) api.Problems {
	slices.SortStableFunc(problems, func(a, b api.Problem) int {
		if c := strings.Compare(a.File, b.File); c != 0 {
			return c
		}
		return a.Line - b.Line
	})
	problems = slices.Compact(problems)
	if more := len(problems) - maxProblems; more > 0 {
		problems = append(problems[:maxProblems:maxProblems], api.Problem{Message: fmt.Sprintf("and %d more", more)})
	}
	return problems
}

func (r *rendering) add(d document.Document, file string) {
	u := &unstructured.Unstructured{Object: d.Object}
	o := api.Origin{File: file, Line: d.Line, FieldLines: d.Lines}
	if d.Via != "" {
		o.Via = "evaluates to it at " + d.Via
	}
	r.adopt(api.DesiredObject{Unstructured: u, Origin: o})
}

// adopt brings an object into the form in which it is applied.
func (r *rendering) adopt(o api.DesiredObject) {
	modernPolicy(o.Unstructured)
	api.ModernAutoscaler(o.Unstructured)
	if gvk := api.Modern(schema.FromAPIVersionAndKind(o.GetAPIVersion(), o.GetKind())); gvk.Kind != "" {
		o.SetGroupVersionKind(gvk)
	}
	clean(o.Object)
	if k, ok := api.KindFor(o.GroupVersionKind().GroupKind()); ok && k.Namespaced && o.GetNamespace() == "" && r.Project != "" {
		o.SetNamespace(r.Project)
	}
	r.objects = append(r.objects, o)
}

// clean drops what only a server says, as exported objects have it, and encodes a
// Secret's plain text.
func clean(m map[string]any) {
	delete(m, "status")
	if meta, ok := m["metadata"].(map[string]any); ok {
		for _, k := range []string{"creationTimestamp", "deletionTimestamp", "resourceVersion", "uid", "selfLink", "generation", "managedFields"} {
			delete(meta, k)
		}
	}
	plain, ok := m["stringData"].(map[string]any)
	if m["kind"] != "Secret" || m["apiVersion"] != "v1" || !ok {
		return
	}
	data, ok := m["data"].(map[string]any)
	if !ok && m["data"] != nil {
		return
	}
	if data == nil {
		data = map[string]any{}
	}
	for k, v := range plain {
		s, ok := v.(string)
		if !ok {
			return
		}
		data[k] = base64.StdEncoding.EncodeToString([]byte(s))
	}
	m["data"] = data
	delete(m, "stringData")
}

func (r *rendering) problem(o api.DesiredObject, path, format string, args ...any) {
	r.problems = append(r.problems, api.Problem{
		File: o.Origin.File, Line: o.Origin.LineOf(path), Object: api.ObjectName(o.Unstructured), Field: path,
		Via: r.via(o, path), Message: fmt.Sprintf(format, args...),
	})
}

// checkObjects validates each object, its place, and that there is only one of it.
func (r *rendering) checkObjects() {
	type id struct {
		schema.GroupKind
		namespace, name string
	}
	first := make(map[id]int, len(r.objects))
	wrong := r.inspect()
	for i, o := range r.objects {
		gk := o.GroupVersionKind().GroupKind()
		k, known := api.KindFor(gk)
		good := r.good[o.Unstructured]
		if !known && o.GetKind() != "" && o.GetAPIVersion() != "" {
			r.problem(o, "kind", "there is no kind %s in %s%s", o.GetKind(), o.GetAPIVersion(), suggestKind(o))
			continue
		}
		if !good {
			for _, e := range wrong[i] {
				r.problem(o, e.Field, "%s", message(k, e))
			}
		}
		if !known {
			continue
		}
		if !good {
			r.checkPlace(k, o)
		}
		key := id{gk, o.GetNamespace(), o.GetName()}
		if other, twice := first[key]; twice && o.GetName() != "" {
			r.problem(o, "metadata.name", "is declared twice: also at %s", place(r.objects[other].Origin))
		} else if !twice {
			first[key] = i
		}
	}
}

// fewAlone is how many objects are checked faster without a second processor.
const fewAlone = 32

// inspect is what is wrong with each object in itself, but for those that were checked at an
// earlier render. It uses all processors.
func (r *rendering) inspect() []field.ErrorList {
	wrong := make([]field.ErrorList, len(r.objects))
	var next atomic.Int64
	work := func() {
		for {
			end := int(next.Add(fewAlone))
			for i := end - fewAlone; i < min(end, len(wrong)); i++ {
				if u := r.objects[i].Unstructured; !r.good[u] {
					wrong[i] = append(r.renderer.check(u), api.Unserved(u)...)
				}
			}
			if end >= len(wrong) {
				return
			}
		}
	}
	var others sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(wrong)/fewAlone) - 1 {
		others.Go(work)
	}
	work()
	others.Wait()
	return wrong
}

// message is what is wrong, without the value if it may be a secret.
func message(k api.Kind, e *field.Error) string {
	if k.Sealed {
		return strings.TrimSuffix(e.Type.String()+": "+e.Detail, ": ")
	}
	return e.ErrorBody()
}

func place(o api.Origin) string {
	p := api.ProblemString(api.Problem{File: o.File, Line: o.Line, Via: o.Via})
	return strings.TrimRight(strings.Replace(p, ":  (", " (", 1), ": ")
}

const changeNetwork = "pod.network.openshift.io/multitenant.change-network"

// checkPlace holds the object against the Application's project.
func (r *rendering) checkPlace(k api.Kind, o api.DesiredObject) {
	const at = "metadata.namespace"
	ns := o.GetNamespace()
	switch {
	case k.Runtime:
	case k.Namespaced && ns == "":
		r.problem(o, at, "must name a project, because the Application does not")
	case k.Namespaced && r.Project != "" && ns != r.Project:
		r.problem(o, at, "is %s, but the Application's project is %s", ns, r.Project)
	case !k.Namespaced && ns != "":
		r.problem(o, at, "a %s is cluster-wide and has no namespace", k.Kind)
	case !k.Namespaced && r.Project != "" && !(k.Kind == "Project" && o.GetName() == r.Project):
		r.problem(o, "kind", "a %s is cluster-wide, but the Application's project is %s", k.Kind, r.Project)
	case !k.Namespaced && r.Project != "" && o.GetAnnotations()[changeNetwork] != "":
		// Whose network a project shares is the administrators' to say, not its own.
		r.problem(o, "metadata.annotations["+changeNetwork+"]", "is refused where the Application's project is set")
	}
}
