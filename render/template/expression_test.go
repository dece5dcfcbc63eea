package template

import (
	"fmt"
	"math/rand"
	"regexp"
	"strings"
	"testing"

	"github.com/openshift/library-go/pkg/template/generator"
)

func TestGenerate(t *testing.T) {
	for _, c := range []struct{ expression, want, err string }{
		{"test[0-9]{1}x", `^test[0-9]x$`, ""},
		{"[0-1]{8}", `^[01]{8}$`, ""},
		{"0x[A-F0-9]{4}", `^0x[A-F0-9]{4}$`, ""},
		{"[a-zA-Z0-9]{255}", `^[a-zA-Z0-9]{255}$`, ""},
		{"[a-a]{3}", `^aaa$`, ""},
		{"[\\d]{3}-[\\w]{2}", `^[0-9]{3}-[a-zA-Z0-9_]{2}$`, ""},
		{"[\\A]{40}", "^[^a-zA-Z0-9]{40}$", ""},
		{"[a-Z]{9}", `^[a-zA-Z]{9}$`, ""},
		{"admin[A-Z0-9]", `^admin\[A-Z0-9\]$`, ""},
		{"plain", `^plain$`, ""},
		{"", `^$`, ""},
		{"[ABC]{3}", "", "malformed expression syntax: [ABC]"},
		{"[Z-A]{3}", "", "invalid range specified: Z-A"},
		{"[A-z]{3}", "", "invalid range specified: A-z"},
		{"[a-z]{0}", "", "range must be within [1-255] characters (0)"},
		{"[a-z]{256}", "", "range must be within [1-255] characters (256)"},
		{"[a-z]{99999999999999999999}", "", "range must be within [1-255] characters (99999999999999999999)"},
		{strings.Repeat("[a-z]{255}", 1000), "", "an expression may be"},
	} {
		got, err := Generate(c.expression, nil)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%.40s: error %v, want %q", c.expression, err, c.err)
			}
			continue
		}
		if err != nil || !regexp.MustCompile(c.want).MatchString(got) {
			t.Errorf("%s: got %q, %v", c.expression, got, err)
		}
	}
}

func TestRangesIncludeTheirUpperBound(t *testing.T) {
	seen := map[rune]bool{}
	for range 40 {
		got, err := Generate("[0-9]{255}", nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range got {
			seen[r] = true
		}
	}
	if len(seen) != 10 {
		t.Errorf("[0-9] yielded only %d digits", len(seen))
	}
}

func TestPlaceholder(t *testing.T) {
	for expression, want := range map[string]string{
		"[a-z0-9]{12}": "generatedgen", "pw-[A-Z]{4}": "pw-GENE", "[0-9]{3}": "000", "x": "x",
	} {
		if got, err := Placeholder(expression); err != nil || got != want {
			t.Errorf("%s: got %q, %v, want %q", expression, got, err, want)
		}
	}
}

// upstream yields a value as OpenShift's own generator does, or says that it could not.
func upstream(expression string, seed int64) (value string, ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	v, err := generator.NewExpressionValueGenerator(rand.New(rand.NewSource(seed))).GenerateValue(expression)
	s, _ := v.(string)
	return s, err == nil
}

// What upstream yields must be something that ours can yield: each set's characters are
// in ours' alphabet. Only one set is looked at, because upstream searches its own output
// for further sets.
func checkCovers(t *testing.T, set string, n int, seed int64) {
	if n < 1 || n > 255 || !regexp.MustCompile(`^[a-zA-Z0-9\-\\]+$`).MatchString(set) || strings.Contains(set, `\A`) {
		return
	}
	got, ok := upstream(fmt.Sprintf("[%s]{%d}", set, n), seed)
	if !ok {
		return
	}
	alphabet, err := alphabetOf(set)
	if err != nil {
		t.Fatalf("[%s]{%d}: upstream yields %q, ours fails: %v", set, n, got, err)
	}
	if strings.Trim(got, alphabet) != "" {
		t.Fatalf("[%s]{%d}: upstream yields %q, ours has only %q", set, n, got, alphabet)
	}
}

func TestCoversWhatUpstreamYields(t *testing.T) {
	const chars = `abzAZ019-\wda`
	r := rand.New(rand.NewSource(1))
	for range 20_000 {
		set := make([]byte, 1+r.Intn(6))
		for i := range set {
			set[i] = chars[r.Intn(len(chars))]
		}
		checkCovers(t, string(set), 1+r.Intn(20), r.Int63())
	}
}

func FuzzGenerate(f *testing.F) {
	f.Add("[a-z]{3}[\\A]{255}", "a-z", 3)
	f.Add("[[]{1}]{2}", "\\w0-9", 4)
	f.Add("[-]{1}", "--", 1)
	f.Fuzz(func(t *testing.T, expression, set string, n int) {
		if got, err := Generate(expression, nil); err == nil && len(got) > 255*(len(expression)+1) {
			t.Errorf("%q grew to %d bytes", expression, len(got))
		}
		checkCovers(t, set, n, 1)
	})
}
