package template

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
)

const (
	letters  = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	numerals = "0123456789"
	symbols  = "~!@#$%^&*()-_+={}[]\\|<,>.?/\"';:`"
	// The order of all characters: a range runs along it, so that `[a-Z]` and `[a-9]` are
	// ranges, and `[A-z]` is none.
	ordered = letters + numerals + symbols
)

// The grammar is upstream's, oddities included: whatever upstream can yield from an
// expression, this can yield.
var (
	setPattern   = regexp.MustCompile(`\[([a-zA-Z0-9\-\\]+)\]\{([0-9]+)\}`)
	wellFormed   = regexp.MustCompile(`\[(\\w|\\d|\\a|\\A)|([a-zA-Z0-9]\-[a-zA-Z0-9])+\]`)
	rangePattern = regexp.MustCompile(`([\\]?[a-zA-Z0-9]\-?[a-zA-Z0-9]?)`)
)

// maxExpression bounds an expression, in bytes, and with it what it expands to.
const maxExpression = 4096

// Generate makes a value from an expression such as `[A-Z]{1}[a-z0-9]{15}`. Text outside
// of `[set]{n}` stays as it is; n is 1 to 255.
func Generate(expression string, random io.Reader) (string, error) {
	return expand(expression, func(alphabet string, n int) (string, error) { return draw(alphabet, n, random) })
}

// Placeholder makes a value of the right form that is plainly not a secret, for previews:
// the word "generated" over and over where the set has its letters, else the set's first
// character.
func Placeholder(expression string) (string, error) {
	return expand(expression, func(alphabet string, n int) (string, error) {
		for _, word := range []string{"generated", "GENERATED"} {
			if strings.Trim(word, alphabet) == "" {
				return strings.Repeat(word, n/len(word)+1)[:n], nil
			}
		}
		return strings.Repeat(alphabet[:1], n), nil
	})
}

// Disguise is a Placeholder that differs from others, as far as random does, wherever the
// set leaves more room than the word takes.
func Disguise(expression string, random io.Reader) (string, error) {
	return expand(expression, func(alphabet string, n int) (string, error) {
		drawn, err := draw(alphabet, n, random)
		for _, word := range []string{"generated", "GENERATED"} {
			if n >= len(word)+6 && strings.Trim(word, alphabet) == "" {
				return word + drawn[len(word):], err
			}
		}
		return drawn, err
	})
}

func expand(expression string, fill func(alphabet string, n int) (string, error)) (string, error) {
	if len(expression) > maxExpression {
		return "", fmt.Errorf("an expression may be %d bytes long, this one has %d", maxExpression, len(expression))
	}
	var out strings.Builder
	at := 0
	for _, m := range setPattern.FindAllStringSubmatchIndex(expression, -1) {
		out.WriteString(expression[at:m[0]])
		at = m[1]
		set := expression[m[0] : m[3]+1]
		if !wellFormed.MatchString(set) {
			return "", fmt.Errorf("malformed expression syntax: %s", set)
		}
		n, err := strconv.Atoi(expression[m[4]:m[5]])
		if err != nil || n < 1 || n > 255 {
			return "", fmt.Errorf("range must be within [1-255] characters (%s)", expression[m[4]:m[5]])
		}
		alphabet, err := alphabetOf(expression[m[2]:m[3]])
		if err != nil {
			return "", err
		}
		filled, err := fill(alphabet, n)
		if err != nil {
			return "", err
		}
		out.WriteString(filled)
	}
	out.WriteString(expression[at:])
	return out.String(), nil
}

// alphabetOf lists the characters of a set, each once.
func alphabetOf(set string) (string, error) {
	var all string
	for _, r := range rangePattern.FindAllString(set, -1) {
		from, to := r[0], r[len(r)-1]
		switch string([]byte{from, to}) {
		case `\w`:
			all += letters + numerals + "_"
		case `\d`:
			all += numerals
		case `\a`:
			all += letters + numerals
		case `\A`:
			all += symbols
		default:
			first, last := strings.IndexByte(ordered, from), strings.IndexByte(ordered, to)
			if first > last {
				return "", fmt.Errorf("invalid range specified: %c-%c", from, to)
			}
			all += ordered[first : last+1]
		}
	}
	var once strings.Builder
	for i := range all {
		if strings.IndexByte(all[:i], all[i]) < 0 {
			once.WriteByte(all[i])
		}
	}
	if once.Len() == 0 {
		return "", fmt.Errorf("malformed expression syntax: [%s] holds no characters", set)
	}
	return once.String(), nil
}

// draw picks n characters, each with the same probability.
func draw(alphabet string, n int, random io.Reader) (string, error) {
	if random == nil {
		random = rand.Reader
	}
	out := make([]byte, 0, n)
	buf := make([]byte, 64)
	fair := 256 - 256%len(alphabet)
	for len(out) < n {
		if _, err := io.ReadFull(random, buf); err != nil {
			return "", errors.Join(errors.New("no randomness to generate a value from"), err)
		}
		for _, b := range buf {
			if int(b) < fair && len(out) < n {
				out = append(out, alphabet[int(b)%len(alphabet)])
			}
		}
	}
	return string(out), nil
}
