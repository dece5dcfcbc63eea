package render

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// checkReferences finds references to image streams of the Application's own project that
// the application does not declare. Other projects' streams are not known here.
func (r *rendering) checkReferences() {
	if r.Project == "" {
		return
	}
	streams := map[string]bool{}
	var names []string
	for _, o := range r.objects {
		if o.GetKind() == "ImageStream" {
			streams[o.GetName()] = true
			names = append(names, o.GetName())
		}
	}
	for _, o := range r.objects {
		if k := o.GetKind(); k != "DeploymentConfig" && k != "BuildConfig" {
			continue
		}
		eachReference(o.Object["spec"], "spec", func(at string, ref map[string]any) {
			name, _ := ref["name"].(string)
			if ns, _ := ref["namespace"].(string); ns != "" && ns != o.GetNamespace() {
				return
			}
			stream, _, _ := strings.Cut(strings.Replace(name, "@", ":", 1), ":")
			if name != "" && !streams[stream] {
				r.problem(o, at+".name", "there is no ImageStream %s in this application%s", stream, suggest(stream, names))
			}
		})
	}
}

// eachReference visits every reference to an image stream's tag or image within a value.
func eachReference(v any, at string, visit func(at string, ref map[string]any)) {
	switch v := v.(type) {
	case []any:
		for i := range v {
			eachReference(v[i], fmt.Sprintf("%s[%d]", at, i), visit)
		}
	case map[string]any:
		if v["kind"] == "ImageStreamTag" || v["kind"] == "ImageStreamImage" {
			visit(at, v)
			return
		}
		for _, k := range slices.Sorted(maps.Keys(v)) {
			eachReference(v[k], at+"."+k, visit)
		}
	}
}
