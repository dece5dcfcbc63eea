package render

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"slipway.dev/slipway/api"
)

var parameterReference = regexp.MustCompile(`\$\{\{?([a-zA-Z0-9_]+)\}\}?`)

// via is the way to a field through template and parameters: their names, and never their
// values, which may be secret.
func (r *rendering) via(o api.DesiredObject, path string) string {
	written, ok := r.recipes[o.Unstructured]
	if !ok {
		return o.Origin.Via
	}
	var names []string
	for _, text := range textsAt(written, path) {
		for _, m := range parameterReference.FindAllStringSubmatch(text, -1) {
			if !slices.Contains(names, m[1]) {
				names = append(names, m[1])
			}
		}
	}
	switch len(names) {
	case 0:
		return o.Origin.Via
	case 1:
		return o.Origin.Via + ", parameter " + names[0]
	}
	return o.Origin.Via + ", parameters " + strings.Join(names, ", ")
}

// textsAt is the text at a path, as a template writes it; nothing where there is none. A
// path is written as validation writes it.
func textsAt(v any, path string) []string {
	var out []string
	for _, step := range steps(path) {
		switch in := v.(type) {
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(in) {
				return out
			}
			v = in[i]
		case map[string]any:
			v = in[step]
		default:
			return out
		}
	}
	if text, ok := v.(string); ok {
		out = append(out, text)
	}
	return out
}

// steps cuts `spec.ports[0].port` and `metadata.labels[a.b/c]` into keys and indices.
func steps(path string) []string {
	var out []string
	for path != "" {
		if strings.HasPrefix(path, "[") {
			key, rest, ok := strings.Cut(path[1:], "]")
			if !ok {
				return out
			}
			out, path = append(out, key), strings.TrimPrefix(rest, ".")
			continue
		}
		end := strings.IndexAny(path, ".[")
		if end < 0 {
			return append(out, path)
		}
		out = append(out, path[:end])
		path = strings.TrimPrefix(path[end:], ".")
	}
	return out
}
