package slipway_test

import (
	"bufio"
	"bytes"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "slipway.dev/slipway"

// nouns are the parts that never import each other.
var nouns = []string{"state", "sources", "render", "reconciler", "runtime", "network", "registry", "router", "webhooks", "dashboard"}

// forEveryone are the packages of state that every part may import: interfaces and the shape
// of a controller, nothing that opens live state.
var forEveryone = []string{"state/loop", "state/event"}

// ofItsControllers is what the controllers under reconciler share: how pods are kept.
var ofItsControllers = []string{"reconciler/pods"}

// forTests are what tests of any part may import: live state, and several Docker hosts.
var forTests = []string{"state", "state/statetest", "runtime/lab", "runtime/lab/labtest"}

// ofTheReconciler are decisions that the reconciler itself is made of; they import nobody.
var ofTheReconciler = []string{"reconciler/health", "reconciler/gate", "reconciler/live", "reconciler/admission"}

const maxLines = 450

type source struct {
	file, dir string
	test      bool
	generated bool
	imports   []string
	lines     int
}

// TestImportsRunOneWay holds the rule of docs and DESIGN: cmd knows everybody, everybody
// knows api, and the nouns do not know each other.
func TestImportsRunOneWay(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		for _, imported := range s.imports {
			if own, ok := strings.CutPrefix(imported, module+"/"); ok {
				if why := refusal(s, own); why != "" {
					t.Errorf("%s imports %s: %s", s.file, own, why)
				}
			}
		}
	}
}

func top(dir string) string { return strings.SplitN(dir, "/", 2)[0] }

// refusal says why a file may not import a package of this module; empty: it may.
func refusal(s source, imported string) string {
	from, to := top(s.dir), top(imported)
	switch {
	case from == "cmd" || to == "api" && from != "api":
		return ""
	case to == "cmd":
		return "nobody imports cmd"
	case from == "api" && to != "api" && !s.test:
		return "api is the vocabulary: it knows nobody"
	case s.dir == "." && s.test, from == "examples" && s.test:
		return ""
	case s.test && slices.Contains(forTests, imported):
		return ""
	case slices.Contains(forEveryone, imported):
		return ""
	case from != to && slices.Contains(nouns, to):
		return to + " is another noun: declare an interface, cmd wires"
	case from != to:
		return "not a package to share: values shared by nouns live in api"
	case s.dir == "reconciler" && slices.Contains(ofTheReconciler, imported):
		return ""
	case from == "reconciler" && s.dir != "reconciler" && slices.Contains(ofItsControllers, imported):
		return ""
	case from == "reconciler" && imported != "reconciler" && under(s.dir, imported) == "":
		return "the reconciler's parts do not know each other: declare an interface, cmd wires"
	}
	return ""
}

// under is what two folders below reconciler share: one is the other, or lies in it.
func under(a, b string) string {
	second := func(p string) string {
		if parts := strings.Split(p, "/"); len(parts) > 1 {
			return parts[1]
		}
		return ""
	}
	if second(a) == second(b) {
		return second(a)
	}
	return ""
}

// TestVocabularyDoesNoInputOrOutput: api imports nothing that reaches outside.
func TestVocabularyDoesNoInputOrOutput(t *testing.T) {
	t.Parallel()
	outside := []string{"net", "net/http", "os", "os/exec", "syscall", "log/slog"}
	for _, s := range sources(t) {
		if top(s.dir) != "api" || s.test {
			continue
		}
		for _, imported := range s.imports {
			if slices.Contains(outside, imported) {
				t.Errorf("%s imports %s: api does no I/O", s.file, imported)
			}
		}
	}
}

func TestTestHelpersStayInTests(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		if s.test || strings.HasSuffix(s.dir, "test") {
			continue
		}
		for _, imported := range s.imports {
			if imported == "testing" || strings.HasPrefix(imported, module) && strings.HasSuffix(imported, "test") {
				t.Errorf("%s imports %s outside of a test", s.file, imported)
			}
		}
	}
}

func TestNamesSayWhatIsInside(t *testing.T) {
	t.Parallel()
	empty := regexp.MustCompile(`(?i)^(utils?|common|helpers?|misc|shared|base)$`)
	for _, s := range sources(t) {
		name := strings.TrimSuffix(strings.TrimSuffix(path.Base(s.file), ".go"), "_test")
		for _, word := range append(strings.Split(s.dir, "/"), name) {
			if empty.MatchString(word) {
				t.Errorf("%s: %q says nothing about what is inside", s.file, word)
			}
		}
	}
}

func TestFilesStayShort(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		if !s.test && !s.generated && s.lines > maxLines {
			t.Errorf("%s has %d lines, more than %d: split it by noun or verb", s.file, s.lines, maxLines)
		}
	}
}

var generated = regexp.MustCompile(`^// Code generated .* DO NOT EDIT\.$`)

// sources reads every Go file of the module. Folders with their own go.mod are modules of
// their own and are left out.
func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	root := os.DirFS(".")
	err := fs.WalkDir(root, ".", func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			if _, err := fs.Stat(root, path.Join(file, "go.mod")); err == nil && file != "." {
				return fs.SkipDir
			}
			if name := d.Name(); file != "." && (strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || name == "testdata" || name == "vendor") {
				return fs.SkipDir
			}
			return nil
		case path.Ext(file) != ".go":
			return nil
		}
		data, err := fs.ReadFile(root, file)
		if err != nil {
			return err
		}
		all = append(all, read(t, file, data))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 10 {
		t.Fatalf("only %d files found: the test looks at the wrong place", len(all))
	}
	return all
}

func read(t *testing.T, file string, data []byte) source {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, data, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	s := source{file: file, dir: path.Dir(file), test: strings.HasSuffix(file, "_test.go")}
	for _, i := range parsed.Imports {
		name, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		s.imports = append(s.imports, name)
	}
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); s.lines++ {
		s.generated = s.generated || generated.MatchString(lines.Text())
	}
	return s
}

// TestTheRuleRefuses guards the guard.
func TestTheRuleRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		dir      string
		test     bool
		imported string
		refused  bool
	}{
		{"cmd/slipway", false, "runtime", false}, {"router", false, "api", false}, {"router", false, "api/v1alpha1", false},
		{"router", false, "runtime", true}, {"router", false, "state", true}, {"router", true, "state/statetest", false},
		{"router", false, "state/statetest", true}, {"router", false, "state/loop", false}, {"router", true, "network", true},
		{"reconciler/build", false, "reconciler/deploy", true}, {"reconciler", false, "reconciler/deploy", true},
		{"reconciler/build", false, "reconciler/build/sub", false}, {"api", false, "state/loop", true}, {"router", false, "cmd/slipway", true},
		{"runtime/builder", false, "runtime/engine", false}, {"state", false, "state/loop", false},
	} {
		got := refusal(source{dir: c.dir, test: c.test, file: c.dir + "/x.go"}, c.imported)
		if (got != "") != c.refused {
			t.Errorf("%s (test %v) → %s: %q, want refused %v", c.dir, c.test, c.imported, got, c.refused)
		}
	}
}
