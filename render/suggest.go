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

// suggest finds the word that is closest to a misspelled one, if any is close: it begins
// with the same word, or differs in few letters.
func suggest(word string, candidates []string) string {
	best, least := "", max(len(word)/3, 2)+1
	for _, c := range candidates {
		d := distance(strings.ToLower(word), strings.ToLower(c))
		if len(word) >= 4 && strings.HasPrefix(strings.ToLower(c), strings.ToLower(word)) {
			d = 1
		}
		if d < least {
			best, least = c, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(": did you mean %s?", best)
}

// distance counts the letters to add, drop or change between two words; words that differ
// in length by more than eight letters are far apart.
func distance(a, b string) int {
	if len(a)-len(b) > 8 || len(b)-len(a) > 8 {
		return 9
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := before
			if a[i] != b[j] {
				cost = 1 + min(before, row[j], row[j+1])
			}
			before, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
