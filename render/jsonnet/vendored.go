package jsonnet

import (
	"encoding/json"
	"path"
	"regexp"
	"strings"

	"github.com/google/go-jsonnet"
)

// The files in which jsonnet-bundler writes down what it put below vendor/: with what the
// dependencies depend on, and without.
var bundlerFiles = []string{"jsonnetfile.lock.json", "jsonnetfile.json"}

// remote is a git remote as jsonnet-bundler takes it: https, ssh, or `git@host:path`.
var remote = regexp.MustCompile(`^(?:(?:https?|ssh|git)://)?(?:[^@/]+@)?([^/:]+)(?::\d+)?[:/](.+?)(?:\.git)?/?$`)

// legacyNames maps the short name of each vendored library to its folder below vendor/:
// `ksonnet-util` to `github.com/grafana/jsonnet-libs/ksonnet-util`. jsonnet-bundler itself
// leaves symbolic links of these names, which are not followed here.
func legacyNames(data []byte) map[string]string {
	var file struct {
		Dependencies []struct {
			Name   string `json:"name"`
			Source struct {
				Git struct {
					Remote string `json:"remote"`
					Subdir string `json:"subdir"`
				} `json:"git"`
			} `json:"source"`
		} `json:"dependencies"`
	}
	names := map[string]string{}
	if json.Unmarshal(data, &file) != nil {
		return names
	}
	for _, d := range file.Dependencies {
		m := remote.FindStringSubmatch(d.Source.Git.Remote)
		if m == nil {
			continue
		}
		folder := path.Join(m[1], m[2], path.Clean("/"+d.Source.Git.Subdir))
		name := d.Name
		if name == "" {
			name = path.Base(folder)
		}
		if _, taken := names[name]; !taken && !strings.Contains("/"+folder+"/", "/../") {
			names[name] = folder
		}
	}
	return names
}

// legacy finds the place below vendor/ that an import by a short name means; empty: none.
func (i *importer) legacy(name string) (string, error) {
	var lists *jsonnet.Contents
	for at := 0; at < len(bundlerFiles) && lists == nil; at++ {
		// Read each time, so that every application is seen to depend on it; that costs nothing.
		var err error
		if lists, err = i.read(bundlerFiles[at]); err != nil {
			return "", err
		}
	}
	if lists == nil {
		return "", nil
	}
	if i.legacyNames == nil {
		i.legacyNames = legacyNames(lists.Data())
	}
	first, rest, _ := strings.Cut(name, "/")
	folder, ok := i.legacyNames[first]
	if !ok {
		return "", nil
	}
	return path.Join("vendor", folder, rest), nil
}
