package jsonnet

import (
	"encoding/json"
	"path"
	"regexp"
	"strings"
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
	if i.legacyNames == nil {
		i.legacyNames = map[string]string{}
		for _, file := range bundlerFiles {
			data, found, err := i.host.Read(file)
			if err != nil {
				return "", err
			}
			if found {
				i.legacyNames = legacyNames(data)
				break
			}
		}
	}
	first, rest, _ := strings.Cut(name, "/")
	folder, ok := i.legacyNames[first]
	if !ok {
		return "", nil
	}
	return path.Join("vendor", folder, rest), nil
}
