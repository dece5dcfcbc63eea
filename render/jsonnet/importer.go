package jsonnet

import (
	_ "embed"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/google/go-jsonnet"
)

// Library is the name under which slipway.libsonnet is imported.
const Library = "slipway.libsonnet"

// builtin is where the library is found: a name that no file of a tree can have.
const builtin = "<" + Library + ">"

//go:embed slipway.libsonnet
var library string

// Host is what an evaluation may ask for.
type Host interface {
	// Read returns a file of the tree; found is false if there is none. An error says why
	// the file may not be read.
	Read(name string) (data []byte, found bool, err error)
	// Generated returns the value of a template's parameter that is to be generated.
	Generated(instance, name, expression string) (string, error)
}

// importer serves the tree: a path relative to the importing file, else below lib/, else
// below vendor/ at the tree's root, there also by a library's short name.
type importer struct {
	host  Host
	found map[string]*jsonnet.Contents
	// legacyNames are the short names of vendored libraries; nil: not looked at yet.
	legacyNames map[string]string
	// reads are the names that were asked for lately.
	reads map[string]bool
}

func newImporter(h Host) *importer {
	c := jsonnet.MakeContents(library)
	return &importer{host: h, found: map[string]*jsonnet.Contents{builtin: &c}, reads: map[string]bool{}}
}

// Import implements jsonnet.Importer.
func (i *importer) Import(from, name string) (jsonnet.Contents, string, error) {
	if name == Library {
		return *i.found[builtin], builtin, nil
	}
	candidates, err := places(from, name)
	if err != nil {
		return jsonnet.Contents{}, "", fmt.Errorf("import %q: %w", name, err)
	}
	vendored := path.Join("vendor", path.Clean(name))
	for _, at := range candidates {
		if at == vendored {
			long, err := i.legacy(path.Clean(name))
			if err != nil {
				return jsonnet.Contents{}, "", fmt.Errorf("import %q: %w", name, err)
			}
			if long != "" {
				at = long
			}
		}
		c, err := i.read(at)
		if err != nil {
			return jsonnet.Contents{}, "", fmt.Errorf("import %q: %w", name, err)
		}
		if c != nil {
			return *c, at, nil
		}
	}
	return jsonnet.Contents{}, "", fmt.Errorf("import %q: no such file; looked for %s", name, strings.Join(candidates, ", "))
}

// places lists where an import may be found. None is outside of the tree.
func places(from, name string) ([]string, error) {
	switch {
	case name == "" || strings.ContainsAny(name, "\x00\\"):
		return nil, fmt.Errorf("not a path")
	case path.IsAbs(name):
		return nil, fmt.Errorf("absolute paths are not allowed: only files of the repository can be imported")
	}
	var out []string
	relative := path.Join(path.Dir(from), name)
	leaves := relative == ".." || strings.HasPrefix(relative, "../")
	if !leaves {
		out = append(out, relative)
	}
	if clean := path.Clean(name); clean != ".." && !strings.HasPrefix(clean, "../") {
		out = append(out, path.Join("lib", clean), path.Join("vendor", clean))
	} else if leaves {
		return nil, fmt.Errorf("the path leaves the repository")
	}
	return out, nil
}

// read asks the host once for each file, and remembers that there is none, too.
func (i *importer) read(name string) (*jsonnet.Contents, error) {
	i.reads[name] = true
	if c, ok := i.found[name]; ok {
		return c, nil
	}
	data, found, err := i.host.Read(name)
	if err != nil {
		return nil, err
	}
	i.found[name] = nil
	if found {
		c := jsonnet.MakeContentsRaw(data)
		i.found[name] = &c
	}
	return i.found[name], nil
}

// forget drops what is known to be absent below a folder: it is of use to one application,
// and there are many.
func (i *importer) forget(dir string) {
	for name, c := range i.found {
		if c == nil && (dir == "." || strings.HasPrefix(name, dir+"/")) {
			delete(i.found, name)
			if !strings.Contains(name, "/") {
				i.legacyNames = nil
			}
		}
	}
}

func (i *importer) takeReads() []string {
	names := slices.Sorted(maps.Keys(i.reads))
	clear(i.reads)
	return names
}
