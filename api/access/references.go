package access

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Reference is a use that an object makes of something of another project, and what its
// writer must be allowed there.
type Reference struct {
	// Field of the object that names it.
	Field string
	Request
	// What is used, for people.
	What string
}

// ReferencesOf lists what an object uses of other projects: images by stream, tag or pull
// specification (registry is the integrated registry's host and port), templates, repositories.
// Everything else that objects refer to by name lies in their own project.
func ReferencesOf(o *unstructured.Unstructured, registry string) []Reference {
	w := &walker{own: o.GetNamespace(), registry: registry}
	switch o.GetKind() {
	case "Promotion":
		w.promotion(o)
	case "Application":
		w.repository(o, "spec.sourceRef", o.GetNamespace())
	case "TemplateInstance":
		w.template(o)
	case "BuildConfig", "Build", "DeploymentConfig", "ReplicationController", "Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Pod", "Job", "CronJob", "ImageStream":
		w.walk(o.Object["spec"], "spec")
	}
	// A Template makes nothing: what its instances make is looked at by itself.
	return w.found
}

type walker struct {
	own, registry string
	found         []Reference
}

// image notes that the images of another project's stream are used.
func (w *walker) image(field, project, stream string) {
	if project == "" || project == w.own {
		return
	}
	w.found = append(w.found, Reference{
		Field: field, What: "image stream " + project + "/" + stream,
		Request: Request{Verb: "get", Group: imageGroup, Resource: "imagestreams/layers", Project: project, Name: stream},
	})
}

// walk looks for references to streams and for pull specifications, wherever they are.
func (w *walker) walk(v any, at string) {
	switch v := v.(type) {
	case []any:
		for i := range v {
			w.walk(v[i], fmt.Sprintf("%s[%d]", at, i))
		}
	case map[string]any:
		w.object(v, at)
		for _, k := range slices.Sorted(maps.Keys(v)) {
			w.walk(v[k], at+"."+k)
		}
	case string:
		w.specification(at, v)
	}
}

func (w *walker) object(m map[string]any, at string) {
	kind, _ := m["kind"].(string)
	name, _ := m["name"].(string)
	namespace, _ := m["namespace"].(string)
	switch kind {
	case "ImageStreamTag", "ImageStreamImage", "ImageStream":
		stream, _, _ := strings.Cut(strings.Replace(name, "@", ":", 1), ":")
		w.image(at+".namespace", namespace, stream)
	}
}

// specification finds `<registry>/<project>/<stream>…`. The registry is known by its port,
// whatever the host is called: a name that leads to the loopback interface is easily made.
func (w *walker) specification(at, s string) {
	s = strings.TrimPrefix(s, "docker://")
	host, rest, ok := strings.Cut(s, "/")
	if port := portOf(host); !ok || port == "" || port != portOf(w.registry) {
		return
	}
	project, stream, _ := strings.Cut(rest, "/")
	stream, _, _ = strings.Cut(strings.Replace(stream, "@", ":", 1), ":")
	w.image(at, project, stream)
}

// portOf is the port of `host:port`; empty: there is none.
func portOf(host string) string {
	i := strings.LastIndexByte(host, ':')
	if i < 0 || strings.Contains(host[i:], "]") {
		return ""
	}
	return host[i+1:]
}

func (w *walker) promotion(o *unstructured.Unstructured) {
	from, _, _ := unstructured.NestedString(o.Object, "spec", "from")
	if from != "" && from != w.own {
		w.found = append(w.found, Reference{
			Field: "spec.from", What: "the images of project " + from,
			Request: Request{Verb: "get", Group: imageGroup, Resource: "imagestreams/layers", Project: from},
		})
	}
	w.repository(o, "spec.on.sourceRef", o.GetNamespace())
	w.repository(o, "spec.write.sourceRef", o.GetNamespace())
}

// repository notes the use of another project's GitRepository.
func (w *walker) repository(o *unstructured.Unstructured, field, own string) {
	path := strings.Split(field, ".")
	project, _, _ := unstructured.NestedString(o.Object, append(path, "namespace")...)
	name, _, _ := unstructured.NestedString(o.Object, append(path, "name")...)
	if project == "" || project == own {
		return
	}
	w.found = append(w.found, Reference{
		Field: field + ".namespace", What: "repository " + project + "/" + name,
		Request: Request{Verb: "get", Group: "slipway.dev", Resource: "gitrepositories", Project: project, Name: name},
	})
}

func (w *walker) template(o *unstructured.Unstructured) {
	project, _, _ := unstructured.NestedString(o.Object, "spec", "template", "metadata", "namespace")
	name, _, _ := unstructured.NestedString(o.Object, "spec", "template", "metadata", "name")
	if project == "" || project == w.own {
		return
	}
	w.found = append(w.found, Reference{
		Field: "spec.template.metadata.namespace", What: "template " + project + "/" + name,
		Request: Request{Verb: "get", Group: "template.openshift.io", Resource: "templates", Project: project, Name: name},
	})
}
