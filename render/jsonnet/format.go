package jsonnet

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// verb is one `%…` of a format string, of the kinds that are formatted here.
type verb struct {
	key                          string
	keyed                        bool
	alt, zero, left, sign, blank bool
	width                        int
	// kind is 'd', 's', or '%'.
	kind byte
	// before is the text in front of it.
	before string
}

// maxWidth is how wide a value may be padded to here, in characters.
const maxWidth = 1000

// verbs takes a format string apart. It is not ok if it holds what only the library's own
// function knows.
func verbs(s string) (out []verb, rest string, ok bool) {
	for {
		i := strings.IndexByte(s, '%')
		if i < 0 {
			return out, s, true
		}
		v := verb{before: s[:i]}
		s = s[i+1:]
		if strings.HasPrefix(s, "(") {
			end := strings.IndexByte(s, ')')
			if end < 0 {
				return nil, "", false
			}
			v.key, v.keyed, s = s[1:end], true, s[end+1:]
		}
		s = v.flags(s)
		for len(s) > 0 && s[0] >= '0' && s[0] <= '9' && v.width <= maxWidth {
			v.width, s = v.width*10+int(s[0]-'0'), s[1:]
		}
		if len(s) == 0 || v.width > maxWidth {
			return nil, "", false
		}
		switch s[0] {
		case 'd', 'i', 'u':
			v.kind = 'd'
		case 's', '%':
			v.kind = s[0]
		default:
			return nil, "", false
		}
		out, s = append(out, v), s[1:]
	}
}

func (v *verb) flags(s string) string {
	for len(s) > 0 {
		switch s[0] {
		case '#':
			v.alt = true
		case '0':
			v.zero = true
		case '-':
			v.left = true
		case '+':
			v.sign = true
		case ' ':
			v.blank = true
		default:
			return s
		}
		s = s[1:]
	}
	return s
}

// formatKeys lists the keys of an object that a format string uses; nil where that is not known here.
func formatKeys(s string) any {
	all, _, ok := verbs(s)
	if !ok {
		return nil
	}
	seen, keys := map[string]bool{}, []any{}
	for _, v := range all {
		switch {
		case v.kind == '%' && !v.keyed:
		case !v.keyed || v.kind == '%':
			return nil
		case !seen[v.key]:
			seen[v.key] = true
			keys = append(keys, v.key)
		}
	}
	return keys
}

// format is std.format; nil where it is not known here what that says.
func format(s string, vals any) any {
	all, rest, ok := verbs(s)
	if !ok || strange(s) {
		return nil
	}
	object, isObject := vals.(map[string]any)
	list, isList := vals.([]any)
	if !isObject && !isList {
		list = []any{vals}
	}
	var b strings.Builder
	for _, v := range all {
		b.WriteString(v.before)
		var text string
		switch {
		case v.kind == '%':
			if v.keyed {
				return nil
			}
			text = "%"
		case isObject != v.keyed:
			return nil
		default:
			var value any
			if isObject {
				if value, ok = object[v.key]; !ok {
					return nil
				}
			} else {
				if len(list) == 0 {
					return nil
				}
				value, list = list[0], list[1:]
			}
			if text, ok = v.text(value); !ok {
				return nil
			}
		}
		fill := strings.Repeat(" ", max(v.width-utf8.RuneCountInString(text), 0))
		if v.left {
			b.WriteString(text + fill)
		} else {
			b.WriteString(fill + text)
		}
	}
	if len(list) > 0 {
		return nil
	}
	b.WriteString(rest)
	return b.String()
}

// maxExact is the largest number below which every integer is exact.
const maxExact = 1 << 53

// text is a value before it is padded.
func (v verb) text(value any) (string, bool) {
	if v.kind == 's' {
		switch value := value.(type) {
		case string:
			return value, !strange(value)
		case bool:
			return strconv.FormatBool(value), true
		case nil:
			return "null", true
		case float64:
			return number(value), math.Abs(value) < maxExact
		}
		return "", false
	}
	n, ok := value.(float64)
	if !ok || math.Abs(n) >= maxExact || v.alt {
		return "", false
	}
	sign, width := "", 0
	switch {
	case n <= -1:
		sign = "-"
	case v.sign:
		sign = "+"
	case v.blank:
		sign = " "
	}
	if v.zero && !v.left {
		width = v.width
	}
	digits := strconv.FormatInt(int64(math.Abs(n)), 10)
	return sign + strings.Repeat("0", max(width-len(sign)-len(digits), 0)) + digits, true
}

// number writes a number as Jsonnet does.
func number(n float64) string {
	if n == math.Floor(n) {
		return strconv.FormatFloat(n, 'f', 0, 64)
	}
	return fmt.Sprintf("%.17g", n)
}
