// Package workload makes the repositories that are measured: many small applications
// that share a Jsonnet library, the same bytes for the same numbers everywhere.
//
//	lib/service.libsonnet              the shared library
//	apps/app-00001/main.jsonnet        an application: four objects
//	environments/default/main.jsonnet  all of them, for tk and for plain go-jsonnet
//	environments/default/spec.json     what tk wants beside it
//	jsonnetfile.json                   where tk finds the repository's root
//
// The same objects may be written as YAML, a file for each application, for peers that
// know no Jsonnet.
package workload

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-jsonnet"
	"sigs.k8s.io/yaml"
)

// Namespace holds every object.
const Namespace = "bench"

// PerApplication is how many objects an application has.
const PerApplication = 4

// App is the name of an application, counted from 0.
func App(i int) string { return fmt.Sprintf("app-%05d", i) }

// Folder of an application in the repository.
func Folder(i int) string { return "apps/" + App(i) }

// Main is the Jsonnet file of an application.
func Main(i int) string { return Folder(i) + "/main.jsonnet" }

// Environment is the file that imports all of them.
const Environment = "environments/default/main.jsonnet"

// Jsonnet is the repository of n applications: file names and their contents.
func Jsonnet(n int) map[string]string {
	files := map[string]string{
		"lib/service.libsonnet":          library,
		"lib/names.libsonnet":            names,
		"jsonnetfile.json":               `{"version": 1, "dependencies": [], "legacyImports": true}` + "\n",
		"environments/default/spec.json": environment,
		"README.md":                      "A repository to measure.\n",
	}
	var all strings.Builder
	all.WriteString("{\n")
	for i := range n {
		files[Main(i)] = Source(i, 0)
		fmt.Fprintf(&all, "  %q: import '../../%s',\n", App(i), Main(i))
	}
	all.WriteString("}\n")
	files[Environment] = all.String()
	return files
}

// Source is an application's Jsonnet file. Another edition is another value in its ConfigMap.
func Source(i, edition int) string {
	return fmt.Sprintf(`local service = import 'service.libsonnet';

service.new('%s', {
  image: 'registry.example.com/team-%d/%s:1.%d.0',
  port: %d,
  memory: %d,
  settings+: { EDITION: '%d', TEAM: 'team-%d' },
})
`, App(i), i%20, App(i), i%30, 8000+i%1000, 64+i%8*32, edition, i%20)
}

// Write puts files below a folder.
func Write(dir string, files map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(files)) {
		at := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(at, []byte(files[name]), 0o644); err != nil {
			return err
		}
	}
	return nil
}

const environment = `{
  "apiVersion": "tanka.dev/v1alpha1",
  "kind": "Environment",
  "metadata": {"name": "environments/default"},
  "spec": {"apiServer": "https://127.0.0.1:1", "namespace": "bench"}
}
`

const names = `{
  labels(name, team):: {
    'app.kubernetes.io/name': name,
    'app.kubernetes.io/part-of': 'shop',
    'app.kubernetes.io/managed-by': 'bench',
    team: team,
  },
  upper(map):: { [std.asciiUpper(k)]: map[k] for k in std.objectFields(map) },
}
`

// library is what a team's library does: defaults, loops, merges and string work.
const library = `local names = import 'names.libsonnet';

local defaults = {
  replicas: 0,
  port: 8080,
  memory: 128,
  settings: { log_level: 'info', listen: '0.0.0.0', workers: '4', timeout: '30s' },
  probes: { path: '/healthz', period: 10 },
};

{
  new(name, options):: {
    local c = defaults + options,
    local labels = names.labels(name, c.settings.TEAM),
    local meta = { name: name, namespace: '` + Namespace + `', labels: labels },

    config: {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: meta,
      data: names.upper(c.settings) + {
        'application.properties': std.join('\n', ['%s=%s' % [std.asciiLower(k), c.settings[k]] for k in std.objectFields(c.settings)]) + '\n',
        'feature-flags': std.manifestJsonEx({ ['flag-%02d' % i]: i % 3 == 0 for i in std.range(1, 12) }, '  '),
      },
    },

    account: {
      apiVersion: 'v1',
      kind: 'ServiceAccount',
      metadata: meta,
    },

    service: {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: meta,
      spec: {
        type: 'ClusterIP',
        selector: { 'app.kubernetes.io/name': name },
        ports: [{ name: 'http', port: 80, protocol: 'TCP', targetPort: c.port }],
      },
    },

    workload: {
      apiVersion: 'v1',
      kind: 'ReplicationController',
      metadata: meta,
      spec: {
        replicas: c.replicas,
        selector: { 'app.kubernetes.io/name': name },
        template: {
          metadata: { labels: labels },
          spec: {
            serviceAccountName: name,
            containers: [{
              name: 'main',
              image: c.image,
              ports: [{ name: 'http', containerPort: c.port, protocol: 'TCP' }],
              env: [{ name: k, value: c.settings[k] } for k in std.objectFields(c.settings)],
              resources: {
                requests: { cpu: '50m', memory: '%dMi' % c.memory },
                limits: { memory: '%dMi' % (c.memory * 2) },
              },
              readinessProbe: { httpGet: { path: c.probes.path, port: c.port }, periodSeconds: c.probes.period },
              volumeMounts: [{ name: 'config', mountPath: '/etc/config', readOnly: true }],
            }],
            volumes: [{ name: 'config', configMap: { name: name } }],
          },
        },
      },
    },
  },
}
`

// Manifests is the same repository without Jsonnet: objects, as they were rendered of the
// applications, go into a file for each application.
func Manifests(objects map[string][]map[string]any) (map[string]string, error) {
	files := map[string]string{"README.md": "Manifests to measure.\n"}
	for app, list := range objects {
		var b strings.Builder
		for _, o := range list {
			raw, err := yaml.Marshal(o)
			if err != nil {
				return nil, err
			}
			fmt.Fprintf(&b, "---\n%s", raw)
		}
		files["apps/"+app+"/objects.yaml"] = b.String()
	}
	return files, nil
}

// Objects are an application's objects, as its Jsonnet file gives them.
func Objects(i, edition int) ([]map[string]any, error) {
	vm := jsonnet.MakeVM()
	vm.Importer(&jsonnet.MemoryImporter{Data: map[string]jsonnet.Contents{
		"service.libsonnet": jsonnet.MakeContents(library), "names.libsonnet": jsonnet.MakeContents(names),
	}})
	text, err := vm.EvaluateAnonymousSnippet(Main(i), Source(i, edition))
	if err != nil {
		return nil, err
	}
	var tree map[string]map[string]any
	if err := json.Unmarshal([]byte(text), &tree); err != nil {
		return nil, err
	}
	var out []map[string]any
	for _, name := range []string{"config", "account", "service", "workload"} {
		out = append(out, tree[name])
	}
	return out, nil
}
