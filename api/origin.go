package api

import "strings"

// LineOf is the line of a field, or that of its closest ancestor that the file spells
// out, or the object's first line; 0 if none is known. A path is written as validation
// writes it: `spec.ports[0].port`, `metadata.labels[app]`.
func (o Origin) LineOf(path string) int {
	if len(o.FieldLines) == 0 {
		return o.Line
	}
	for path != "" {
		if line, ok := o.FieldLines[path]; ok {
			return line
		}
		if line, ok := o.FieldLines[dotted(path)]; ok {
			return line
		}
		path = parentPath(path)
	}
	return o.Line
}

// dotted turns a last `[key]` into `.key`: validation writes a map's keys in brackets,
// FieldLines writes them as fields.
func dotted(path string) string {
	open := strings.LastIndexByte(path, '[')
	if open < 0 || !strings.HasSuffix(path, "]") {
		return path
	}
	return path[:open] + "." + path[open+1:len(path)-1]
}

func parentPath(path string) string {
	if strings.HasSuffix(path, "]") {
		return path[:max(strings.LastIndexByte(path, '['), 0)]
	}
	return path[:max(strings.LastIndexByte(path, '.'), 0)]
}
