package render

import (
	"fmt"
	"strings"

	"slipway.dev/slipway/api"
)

// suggestKind names the kind that was probably meant.
func suggestKind(o api.DesiredObject) string {
	var names []string
	for _, k := range api.Kinds() {
		if k.Runtime {
			continue
		}
		if strings.EqualFold(k.Kind, o.GetKind()) {
			return fmt.Sprintf(": did you mean %s in %s?", k.Kind, k.GroupVersion())
		}
		names = append(names, k.Kind)
	}
	return suggest(o.GetKind(), names)
}

// suggest asks whether a misspelled word means another one.
func suggest(word string, candidates []string) string {
	if best := api.Closest(word, candidates); best != "" {
		return fmt.Sprintf(": did you mean %s?", best)
	}
	return ""
}
