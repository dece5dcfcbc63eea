package builder

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

func TestIgnoreRules(t *testing.T) {
	for _, c := range []struct {
		rules      string
		doublestar bool
		out, in    []string
	}{
		{"", true, nil, []string{"a", "a/b"}},
		{"# x\n\n*.log\n", false, []string{"a.log"}, []string{"d/a.log", "a.logs"}},
		{"/dir/\n", false, []string{"dir", "dir/a/b"}, []string{"x/dir"}},
		{"*\n!keep\n", true, []string{"a", "b/c"}, []string{"keep", "keep/a"}},
		{"dir/*\n!dir/keep\ndir/keep/not\n", false, []string{"dir/a", "dir/keep/not"}, []string{"dir", "dir/keep", "dir/keep/a"}},
		{"!a\na\n", false, []string{"a"}, nil},
		{"**/x\n", true, []string{"x", "a/x", "a/b/x/y"}, []string{"a/xy"}},
		{"a/**\n", true, []string{"a/b", "a/b/c"}, []string{"a", "ab"}},
		{"a/**/z\n", true, []string{"a/z", "a/b/c/z"}, []string{"z"}},
		{"**/x\n", false, []string{"a/x"}, []string{"x", "a/b/x"}},
		{"../x\n", true, nil, []string{"x"}},
	} {
		g, err := ignoreFile(fstest.MapFS{"f": {Data: []byte(c.rules)}}, "f", c.doublestar)
		if err != nil {
			t.Fatalf("%q: %v", c.rules, err)
		}
		for _, p := range c.out {
			if !g.out(p) {
				t.Errorf("%q keeps %s", c.rules, p)
			}
		}
		for _, p := range c.in {
			if g.out(p) {
				t.Errorf("%q ignores %s", c.rules, p)
			}
		}
	}
	if _, err := ignoreFile(fstest.MapFS{"f": {Data: []byte("ok\n[a\n")}}, "f", true); err == nil || !strings.HasPrefix(err.Error(), "f:2: ") {
		t.Error(err)
	}
	if g := (ignore{}).but("a[b/*"); !g.out("a[b/*") || g.out("a[b/x") || g.out("ab/*") {
		t.Error("a literal path is taken for a glob")
	}
}

func FuzzIgnoreFile(f *testing.F) {
	f.Add("*\n!a/**/b\n", "a/x/b")
	f.Add("[a-z]\\*", "a")
	f.Fuzz(func(t *testing.T, rules, name string) {
		if !fs.ValidPath(name) || len(rules) > 1000 || len(name) > 200 || strings.Count(rules, "**") > 4 {
			return
		}
		for _, doublestar := range []bool{true, false} {
			g, err := ignoreFile(fstest.MapFS{"f": {Data: []byte(rules)}}, "f", doublestar)
			if err != nil {
				continue
			}
			if !g.bringsBack() && g.out(name) && !g.out(name+"/below") {
				t.Errorf("%q ignores %q but not what is below it", rules, name)
			}
			if !g.but(name).out(name) {
				t.Errorf("%q: %q is not out although it was taken out", rules, name)
			}
		}
	})
}

func entries(t *testing.T, write func(*layer) error) (list []string, err error) {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	if err := write(&layer{Writer: w, uid: 7, gid: 8}); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(&buf); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return list, nil
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Uid != 7 || h.Gid != 8 {
			t.Errorf("%s belongs to %d:%d", h.Name, h.Uid, h.Gid)
		}
		s := h.Name
		if h.Mode == 0o755 && h.Typeflag == tar.TypeReg {
			s += "*"
		}
		if h.Linkname != "" {
			s += " -> " + h.Linkname
		}
		list = append(list, s)
	}
}

func TestTreesAreWrittenWithoutGitAndIgnored(t *testing.T) {
	tree := fstest.MapFS{
		"a": {}, "x": {Mode: 0o700}, ".git/config": {}, "sub/.git": {}, "sub/b": {}, "link": {Mode: fs.ModeSymlink, Data: []byte("../../etc/passwd")},
		"dev": {Mode: fs.ModeDevice}, "dir/keep": {}, "dir/lose": {},
	}
	g, err := ignoreFile(fstest.MapFS{"f": {Data: []byte("dir\n!dir/keep\n")}}, "f", true)
	if err != nil {
		t.Fatal(err)
	}
	got, err := entries(t, func(l *layer) error { return l.tree(tree, "p", g) })
	want := []string{"p/a", "p/dir/keep", "p/link -> ../../etc/passwd", "p/sub/", "p/sub/b", "p/x*"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v %q, want %q", err, got, want)
	}
}

func TestRetar(t *testing.T) {
	archive := func(hs ...tar.Header) io.Reader {
		var buf bytes.Buffer
		w := tar.NewWriter(&buf)
		for _, h := range hs {
			if err := w.WriteHeader(&h); err != nil {
				t.Fatal(err)
			}
		}
		w.Close()
		return &buf
	}
	content := func(name string) (string, bool) { _, rest, below := strings.Cut(name, "/"); return rest, below }
	same := func(name string) (string, bool) { return name, true }
	got, err := entries(t, func(l *layer) error {
		return l.retar(archive(tar.Header{Name: "d/", Typeflag: tar.TypeDir}, tar.Header{Name: "d/a", Typeflag: tar.TypeReg, Mode: 0o4755},
			tar.Header{Name: "d/h", Typeflag: tar.TypeLink, Linkname: "d/a"}, tar.Header{Name: "d/s", Typeflag: tar.TypeSymlink, Linkname: "/x"},
			tar.Header{Name: "d/dev", Typeflag: tar.TypeBlock}, tar.Header{Name: "d/fifo", Typeflag: tar.TypeFifo}), "to", content)
	})
	if want := []string{"to/a*", "to/h -> to/a", "to/s -> /x"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v %q, want %q", err, got, want)
	}
	for _, h := range []tar.Header{
		{Name: "../a", Typeflag: tar.TypeReg}, {Name: "a/../../b", Typeflag: tar.TypeDir},
		{Name: "a", Typeflag: tar.TypeLink, Linkname: "../../etc/shadow"}, {Name: "a", Typeflag: tar.TypeLink, Linkname: "."},
	} {
		if got, err := entries(t, func(l *layer) error { return l.retar(archive(h), "to", same) }); err == nil {
			t.Errorf("%s -> %s is taken: %q", h.Name, h.Linkname, got)
		}
	}
	if got, err := entries(t, func(l *layer) error {
		return l.retar(archive(tar.Header{Name: "/etc/x", Typeflag: tar.TypeReg}), "to", same)
	}); err != nil || !slices.Equal(got, []string{"to/etc/x"}) {
		t.Errorf("absolute: %v %q", err, got)
	}
}

// strict refuses the sub-tree of a folder that is not there, as a git tree does.
type strict struct{ fstest.MapFS }

func (s strict) Sub(dir string) (fs.FS, error) {
	if _, err := fs.Stat(s.MapFS, dir); err != nil {
		return nil, err
	}
	return fs.Sub(s.MapFS, dir)
}

func TestScripts(t *testing.T) {
	for _, c := range []struct {
		tree fs.FS
		want []string
	}{
		{strict{fstest.MapFS{"a": {}}}, nil},
		{fstest.MapFS{"a": {}}, nil},
		{strict{fstest.MapFS{".s2i/bin/run": {Mode: 0o600}, ".s2i/environment": {}}}, []string{"s/run*"}},
	} {
		got, err := entries(t, func(l *layer) error { return l.scripts(c.tree, "s") })
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%v %q, want %q", err, got, c.want)
		}
	}
}
