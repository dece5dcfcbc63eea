package render_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"

	"github.com/google/go-jsonnet"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/render"
)

// services is a repository of n small applications, four objects each, that share a library.
func services(n int) fstest.MapFS {
	out := fstest.MapFS{
		"lib/service.libsonnet": {Data: []byte(serviceLibrary)},
		"lib/names.libsonnet":   {Data: []byte(namesLibrary)},
	}
	for i := range n {
		out[serviceFolder(i)+"/main.jsonnet"] = &fstest.MapFile{Data: serviceSource(i, 0)}
	}
	return out
}

func serviceFolder(i int) string { return fmt.Sprintf("apps/app-%05d", i) }

func serviceSource(i, edition int) []byte {
	return fmt.Appendf(nil, `local service = import 'service.libsonnet';

service.new('app-%05d', {
  image: 'registry.example.com/team-%d/app:1.%d.0',
  port: %d,
  memory: %d,
  settings+: { EDITION: '%d', TEAM: 'team-%d' },
})
`, i, i%20, i%30, 8000+i%1000, 64+i%8*32, edition, i%20)
}

const namesLibrary = `{
  labels(name, team):: { 'app.kubernetes.io/name': name, 'app.kubernetes.io/part-of': 'shop', 'app.kubernetes.io/managed-by': 'bench', team: team },
  upper(map):: { [std.asciiUpper(k)]: map[k] for k in std.objectFields(map) },
}
`

const serviceLibrary = `local names = import 'names.libsonnet';
local defaults = {
  replicas: 0, port: 8080, memory: 128,
  settings: { log_level: 'info', listen: '0.0.0.0', workers: '4', timeout: '30s' },
  probes: { path: '/healthz', period: 10 },
};
{
  new(name, options):: {
    local c = defaults + options,
    local labels = names.labels(name, c.settings.TEAM),
    local meta = { name: name, namespace: 'shop', labels: labels },
    config: {
      apiVersion: 'v1', kind: 'ConfigMap', metadata: meta,
      data: names.upper(c.settings) + {
        'application.properties': std.join('\n', ['%s=%s' % [std.asciiLower(k), c.settings[k]] for k in std.objectFields(c.settings)]) + '\n',
        'feature-flags': std.manifestJsonEx({ ['flag-%02d' % i]: i % 3 == 0 for i in std.range(1, 12) }, '  '),
      },
    },
    account: { apiVersion: 'v1', kind: 'ServiceAccount', metadata: meta },
    service: {
      apiVersion: 'v1', kind: 'Service', metadata: meta,
      spec: {
        type: 'ClusterIP', selector: { 'app.kubernetes.io/name': name },
        ports: [{ name: 'http', port: 80, protocol: 'TCP', targetPort: c.port }],
      },
    },
    workload: {
      apiVersion: 'v1', kind: 'ReplicationController', metadata: meta,
      spec: {
        replicas: c.replicas, selector: { 'app.kubernetes.io/name': name },
        template: {
          metadata: { labels: labels },
          spec: {
            serviceAccountName: name,
            containers: [{
              name: 'main', image: c.image,
              ports: [{ name: 'http', containerPort: c.port, protocol: 'TCP' }],
              env: [{ name: k, value: c.settings[k] } for k in std.objectFields(c.settings)],
              resources: { requests: { cpu: '50m', memory: '%dMi' % c.memory }, limits: { memory: '%dMi' % (c.memory * 2) } },
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

// plain evaluates an application as go-jsonnet alone does: a VM for each.
func plain(t testing.TB, files fstest.MapFS, file string) string {
	importer := &jsonnet.MemoryImporter{Data: map[string]jsonnet.Contents{}}
	for _, name := range []string{"service.libsonnet", "names.libsonnet"} {
		importer.Data[name] = jsonnet.MakeContentsRaw(files["lib/"+name].Data)
	}
	vm := jsonnet.MakeVM()
	vm.Importer(importer)
	out, err := vm.EvaluateAnonymousSnippet(file, string(files[file].Data))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// whole renders applications 0 to n-1, a few at the same time, and returns all results.
func whole(t testing.TB, r *render.Renderer, files fs.FS, n int) []api.Desired {
	out := make([]api.Desired, n)
	var next atomic.Int64
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				d, err := r.Render(t.Context(), render.Request{
					Tree: files, Path: serviceFolder(i), Project: "shop", Application: path.Base(serviceFolder(i)), Persist: true,
				})
				if err != nil {
					t.Errorf("%d: %v", i, err)
					return
				}
				out[i] = d
			}
		})
	}
	wait.Wait()
	return out
}

// sameAsPlain compares, byte by byte, an application's objects to what go-jsonnet says.
func sameAsPlain(t testing.TB, files fstest.MapFS, i int, d api.Desired) {
	t.Helper()
	var want map[string]json.RawMessage
	if err := json.Unmarshal([]byte(plain(t, files, serviceFolder(i)+"/main.jsonnet")), &want); err != nil {
		t.Fatal(err)
	}
	if len(d.Objects) != len(want) {
		t.Fatalf("%d objects, want %d", len(d.Objects), len(want))
	}
	for _, o := range d.Objects {
		key := map[string]string{"ConfigMap": "config", "ServiceAccount": "account", "Service": "service", "ReplicationController": "workload"}[o.GetKind()]
		var compact bytes.Buffer
		if err := json.Compact(&compact, want[key]); err != nil {
			t.Fatal(err)
		}
		got, err := json.Marshal(o.Object)
		if err != nil || !bytes.Equal(got, compact.Bytes()) {
			t.Fatalf("application %d: %s\nis not\n%s", i, got, compact.Bytes())
		}
	}
}

// size is how many applications the benchmarks have; SLIPWAY_BENCH_APPS sets it.
func size(b *testing.B) int {
	n := 250
	if s := os.Getenv("SLIPWAY_BENCH_APPS"); s != "" {
		if _, err := fmt.Sscan(s, &n); err != nil {
			b.Fatal(err)
		}
	}
	return n
}

func BenchmarkColdPlain(b *testing.B) {
	n := size(b)
	files := services(n)
	for b.Loop() {
		for i := range n {
			plain(b, files, serviceFolder(i)+"/main.jsonnet")
		}
	}
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/repository")
}

func BenchmarkCold(b *testing.B) {
	n := size(b)
	files := services(n)
	for b.Loop() {
		r := newRenderer(b, render.Options{})
		got := whole(b, r, files, n)
		b.StopTimer()
		for i := 0; i < n; i += max(n/50, 1) {
			sameAsPlain(b, files, i, got[i])
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/repository")
}
