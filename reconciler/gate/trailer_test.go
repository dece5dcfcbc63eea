package gate_test

import (
	"os/exec"
	"strings"
	"testing"
	"unicode/utf8"

	"slipway.dev/slipway/reconciler/gate"
)

// messages are commit messages at the edges of what git takes for trailers.
var messages = []string{
	"", "title", "title\n\nA: b", "A: b", "A: b\n\nA: b\n", "title\n\nbody\n\nA: b\nC-d : e\n", "title\n\nA: b\nprose\n",
	"title\n\nSigned-off-by: x\nprose\nmore\nand more\n", "title\n\nSigned-off-by: x\n1\n2\n3\n4\n", "title\n\nA: b\n continued\n\tagain\n",
	"title\n\n(cherry picked from commit 1)\nA: b\n", "title\n\nA: b\n\n\n", "title\n\nA: b\n   \n", "title\n\nA b: c\n", "title\n\nA\tb: c\n", "title\n\n: c\n",
	"title\n\n continued\nA: b\n", "title\n\nA: b\n# comment\nC: d\n", "# comment\ntitle\n\nA: b", "\ntitle\n\nA: b", "title\nA: b", "title\n\nA_b: c\n",
	"title\n\nA:\n", "title\n\nA:b\nA: c\n", "title\n\nhttps://example.com\n", "title\n\nA: b\n#\n", "title\n\nA: b\r\n", "title\n\nprose\n  indented\nA: b",
	"title\n\nSigned-off-by: x\nprose\n  indented\n  indented\n  indented\nB: c",
}

// TestTrailersAreGits compares with the real git.
func TestTrailersAreGits(t *testing.T) {
	t.Parallel()
	for _, m := range messages {
		compareWithGit(t, m)
	}
}

func compareWithGit(t *testing.T, message string) {
	t.Helper()
	cmd := exec.Command("git", "-c", "trailer.separators=:", "-c", "core.commentChar=#", "interpret-trailers", "--parse", "--no-divider")
	cmd.Env = append(cmd.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null")
	cmd.Stdin = strings.NewReader(message)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%q: %v", message, err)
	}
	var want []string
	for line := range strings.Lines(string(out)) {
		if key, value, ok := strings.Cut(strings.TrimRight(line, "\n"), ":"); ok && !strings.HasPrefix(line, "(cherry") {
			want = append(want, strings.TrimSpace(key)+": "+strings.Join(strings.Fields(value), " "))
		}
	}
	var got []string
	for _, tr := range gate.Trailers(message) {
		got = append(got, tr.Key+": "+strings.Join(strings.Fields(tr.Value), " "))
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%q\ngot  %q\nwant %q (git)", message, got, want)
	}
}

// FuzzTrailers: whatever a commit says, what is taken for a trailer is one for git, too.
func FuzzTrailers(f *testing.F) {
	for _, m := range messages {
		f.Add(m)
	}
	f.Fuzz(func(t *testing.T, message string) {
		for _, tr := range gate.Trailers(message) {
			if tr.Key == "" || strings.ContainsAny(tr.Key, ":\n") || strings.Contains(tr.Value, "\n") {
				t.Errorf("%q: trailer %q", message, tr)
			}
		}
		if gate.Approves(message, strings.Repeat("0123456789abcdef", 4)) && !strings.Contains(strings.ToLower(message), "slipway-approve") {
			t.Errorf("%q approves", message)
		}
		// Git ends a message at a zero byte, and reads what is no UTF-8 by its settings.
		if utf8.ValidString(message) && !strings.ContainsAny(message, "\x00\r\v\f") && len(message) < 4096 {
			compareWithGit(t, message)
		}
	})
}
