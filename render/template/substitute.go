package template

import (
	"fmt"
	"regexp"
	"sort"

	utiljson "k8s.io/apimachinery/pkg/util/json"
)

var (
	textReference  = regexp.MustCompile(`\$\{([a-zA-Z0-9_]+)\}`)
	valueReference = regexp.MustCompile(`^\$\{\{([a-zA-Z0-9_]+)\}\}$`)
)

// substitution puts values in the place of references. The budget bounds what all of a
// template's objects grow to, in bytes.
type substitution struct {
	values map[string]string
	budget int
}

var errTooLarge = fmt.Errorf("the processed objects are larger than %d MiB", maxProcessed>>20)

// maxProcessed bounds what a template may grow to, in bytes.
const maxProcessed = 32 << 20

// text replaces each ${NAME} whose name is known. Values are not searched again.
func (s *substitution) text(in string) (string, error) {
	size := len(in)
	out := in
	for _, m := range textReference.FindAllStringSubmatch(in, -1) {
		size += len(s.values[m[1]])
		if size > s.budget {
			return "", errTooLarge
		}
	}
	if size > len(in) || textReference.MatchString(in) {
		out = textReference.ReplaceAllStringFunc(in, func(ref string) string {
			if v, ok := s.values[ref[2:len(ref)-1]]; ok {
				return v
			}
			return ref
		})
	}
	s.budget -= len(out)
	if s.budget < 0 {
		return "", errTooLarge
	}
	return out, nil
}

// value replaces references in a value and, where it is a map, in its keys. A text that
// is nothing but ${{NAME}} becomes the JSON value that NAME holds, or the text if it holds none.
func (s *substitution) value(v any) (any, error) {
	switch v := v.(type) {
	case string:
		if m := valueReference.FindStringSubmatch(v); m != nil {
			if given, ok := s.values[m[1]]; ok {
				return s.parsed(given)
			}
		}
		return s.text(v)
	case []any:
		for i := range v {
			out, err := s.value(v[i])
			if err != nil {
				return nil, err
			}
			v[i] = out
		}
		return v, nil
	case map[string]any:
		return s.mapping(v)
	}
	return v, nil
}

func (s *substitution) parsed(text string) (any, error) {
	if s.budget -= len(text); s.budget < 0 {
		return nil, errTooLarge
	}
	var v any
	if err := utiljson.Unmarshal([]byte(text), &v); err != nil {
		return text, nil
	}
	return v, nil
}

// mapping takes the keys in order, so that two keys that become one give the same answer each time.
func (s *substitution) mapping(m map[string]any) (map[string]any, error) {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	out := make(map[string]any, len(m))
	for _, k := range keys {
		key, err := s.text(k)
		if err != nil {
			return nil, err
		}
		if out[key], err = s.value(m[k]); err != nil {
			return nil, err
		}
	}
	return out, nil
}
