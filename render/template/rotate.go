package template

import (
	"fmt"
	"regexp"
	"strings"
)

// RotateAnnotation stands on a TemplateInstance or a Template and makes new values of generated
// parameters: `2026-03` of all of them, `PASSWORD=2` of one, `2026-03,PASSWORD=2` of one
// by a word of its own. Each word stands for a value of its own, made once: a word that
// returns, as by a revert, returns the value.
const RotateAnnotation = "slipway.dev/rotate"

// rotation is a word that names a value; it becomes a part of a key.
var rotationWord = regexp.MustCompile(`^[A-Za-z0-9]([-._A-Za-z0-9]{0,61}[A-Za-z0-9])?$`)

// rotations are the words of an annotation, by parameter; the empty name is all others.
type rotations map[string]string

func parseRotations(text string) (rotations, error) {
	out := rotations{}
	if text == "" {
		return out, nil
	}
	for entry := range strings.SplitSeq(text, ",") {
		name, word, one := strings.Cut(strings.TrimSpace(entry), "=")
		if !one {
			name, word = "", name
		}
		switch _, twice := out[name]; {
		case one && !parameterName.MatchString(name):
			return nil, fmt.Errorf("%q is not PARAMETER=WORD", entry)
		case !rotationWord.MatchString(word):
			return nil, fmt.Errorf("%q must be a word of letters, digits, dots, dashes and underscores, 63 at the most", word)
		case twice:
			return nil, fmt.Errorf("parameter %q is given twice", name)
		}
		out[name] = word
	}
	return out, nil
}

// key is what a parameter's value is kept under: its name, and behind a dot, which no name
// holds, the word.
func (r rotations) key(parameter string) string {
	word, own := r[parameter]
	if !own {
		word = r[""]
	}
	if word == "" {
		return parameter
	}
	return parameter + "." + word
}

// CutKey splits what a value is kept under into the parameter and the word of its rotation.
func CutKey(key string) (parameter, rotation string) {
	parameter, rotation, _ = strings.Cut(key, ".")
	return parameter, rotation
}
