package reconciler

import "strconv"

// at is the value that a JSON pointer's path leads to.
func at(o any, path []string) (any, bool) {
	for _, step := range path {
		switch v := o.(type) {
		case map[string]any:
			next, ok := v[step]
			if !ok {
				return nil, false
			}
			o = next
		case []any:
			i, ok := index(v, step)
			if !ok {
				return nil, false
			}
			o = v[i]
		default:
			return nil, false
		}
	}
	return o, true
}

// index reads a list's index; a name finds the item that has it, since lists such as
// containers have no order that anybody cares for.
func index(list []any, step string) (int, bool) {
	if i, err := strconv.Atoi(step); err == nil {
		return i, i >= 0 && i < len(list)
	}
	for i, item := range list {
		if m, ok := item.(map[string]any); ok && m["name"] == step {
			return i, true
		}
	}
	return 0, false
}

// remove takes out what a path leads to, where that is a map's field.
func remove(o map[string]any, path []string) {
	parent, ok := at(o, path[:len(path)-1])
	if m, isMap := parent.(map[string]any); ok && isMap {
		delete(m, path[len(path)-1])
	}
}

// replace puts a value where a path leads to.
func replace(o map[string]any, path []string, with any) {
	parent, ok := at(o, path[:len(path)-1])
	if !ok {
		return
	}
	switch p := parent.(type) {
	case map[string]any:
		p[path[len(path)-1]] = with
	case []any:
		if i, ok := index(p, path[len(path)-1]); ok {
			p[i] = with
		}
	}
}
