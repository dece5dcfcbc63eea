package api

import "strings"

// Closest is the word that a misspelled one most likely means: one that begins with it,
// or differs in few letters. Empty: none is near. Of two that are as near the first wins.
func Closest(word string, candidates []string) string {
	lower := strings.ToLower(word)
	best, least := "", min(max(len(word)/3, 2)+1, len(word))
	for _, c := range candidates {
		d := distance(lower, strings.ToLower(c))
		if len(word) >= 4 && strings.HasPrefix(strings.ToLower(c), lower) {
			d = 1
		}
		if d < least {
			best, least = c, d
		}
	}
	return best
}

// far is the distance of words that are not compared: they differ much in length, or
// are long.
const far = 64

// distance is how many letters must be put in, taken out or changed between two words.
func distance(a, b string) int {
	if len(a) > far || len(b) > far || len(a)-len(b) > 8 || len(b)-len(a) > 8 {
		return far
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
