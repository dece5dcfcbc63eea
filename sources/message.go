package sources

import (
	"strings"

	"slipway.dev/slipway/api"
)

// message is a commit's message with its trailers as git-interpret-trailers(1) reads
// them: one block at the end, a line each.
func message(text string, trailers []api.Trailer) string {
	var b strings.Builder
	b.WriteString(strings.TrimSpace(strings.ReplaceAll(text, "\x00", "")))
	if b.Len() == 0 {
		b.WriteString("Change by Slipway")
	}
	b.WriteString("\n")
	block := ""
	for _, t := range trailers {
		key, value := trailerKey(t.Key), strings.Join(strings.Fields(strings.ReplaceAll(t.Value, "\x00", "")), " ")
		if key != "" && value != "" {
			block += key + ": " + value + "\n"
		}
	}
	if block != "" {
		b.WriteString("\n" + block)
	}
	return b.String()
}

// trailerKey keeps what git allows in one: letters, digits and dashes.
func trailerKey(key string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-':
			return r
		case r == ' ', r == '_':
			return '-'
		}
		return -1
	}, strings.TrimSpace(key))
}
