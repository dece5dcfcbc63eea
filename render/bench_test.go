package render_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"hash"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

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

// gitTree is a tree that is as quick to look into as one out of an object store.
type gitTree struct {
	fstest.MapFS
	folders map[string][]fs.DirEntry
	digests map[string]string
}

func newGitTree(files fstest.MapFS) gitTree {
	t := gitTree{MapFS: files, folders: map[string][]fs.DirEntry{}, digests: map[string]string{}}
	sums := map[string]hash.Hash{}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		t.digests[name] = fmt.Sprintf("%x", sha256.Sum256(files[name].Data))
		t.MapFS[name].Mode = 0o644
		info := fileInfo{path.Base(name), files[name]}
		t.add(path.Dir(name), fs.FileInfoToDirEntry(info))
		for dir := path.Dir(name); ; dir = path.Dir(dir) {
			if sums[dir] == nil {
				sums[dir] = sha256.New()
			}
			fmt.Fprintln(sums[dir], name, t.digests[name])
			if dir == "." {
				break
			}
		}
	}
	for dir, sum := range sums {
		t.digests[dir] = fmt.Sprintf("%x", sum.Sum(nil))
	}
	return t
}

// add lists an entry, and the folders on the way to it.
func (t gitTree) add(dir string, e fs.DirEntry) {
	_, known := t.folders[dir]
	t.folders[dir] = append(t.folders[dir], e)
	if !known && dir != "." {
		t.add(path.Dir(dir), fs.FileInfoToDirEntry(fileInfo{path.Base(dir), &fstest.MapFile{Mode: fs.ModeDir}}))
	}
}

func (t gitTree) Digest(name string) (string, bool) {
	d, ok := t.digests[name]
	return d, ok
}

func (t gitTree) ReadDir(name string) ([]fs.DirEntry, error) { return t.folders[name], nil }

func (t gitTree) Lstat(name string) (fs.FileInfo, error) {
	if file, ok := t.MapFS[name]; ok {
		return fileInfo{path.Base(name), file}, nil
	}
	if _, ok := t.folders[name]; ok {
		return fileInfo{path.Base(name), &fstest.MapFile{Mode: fs.ModeDir}}, nil
	}
	return nil, fs.ErrNotExist
}

type fileInfo struct {
	name string
	*fstest.MapFile
}

func (i fileInfo) Name() string       { return i.name }
func (i fileInfo) Size() int64        { return int64(len(i.Data)) }
func (i fileInfo) Mode() fs.FileMode  { return i.MapFile.Mode }
func (i fileInfo) ModTime() time.Time { return time.Time{} }
func (i fileInfo) IsDir() bool        { return i.MapFile.Mode.IsDir() }
func (i fileInfo) Sys() any           { return nil }

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

// processorTime is what this process and its ended children have used, and the memory that
// the largest of each held.
func processorTime(b *testing.B) (used time.Duration, own, child int64) {
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if err := syscall.Getrusage(who, &u); err != nil {
			b.Fatal(err)
		}
		used += time.Duration(u.Utime.Nano() + u.Stime.Nano())
		own, child = child, u.Maxrss>>10
	}
	return used, own, child
}

// report tells what a run costs beside its time: with others at work on the machine, the
// processor time is what can be compared.
func report(b *testing.B, before time.Duration) {
	used, own, child := processorTime(b)
	b.ReportMetric(float64((used-before).Milliseconds())/float64(b.N), "cpu-ms/op")
	b.ReportMetric(float64(own), "MB")
	b.ReportMetric(float64(child), "MB/child")
}

// All applications, each in a VM of its own, as go-jsonnet is used.
func BenchmarkColdPlain(b *testing.B) {
	n := size(b)
	files := services(n)
	before, _, _ := processorTime(b)
	for b.Loop() {
		for i := range n {
			plain(b, files, serviceFolder(i)+"/main.jsonnet")
		}
	}
	report(b, before)
}

// All applications by a renderer that has seen none of them.
func BenchmarkCold(b *testing.B) {
	n := size(b)
	files := services(n)
	first := newRenderer(b, render.Options{})
	for i, d := range whole(b, first, files, min(n, 50)) {
		sameAsPlain(b, files, i, d)
	}
	first.Close()
	tree := newGitTree(files)
	before, _, _ := processorTime(b)
	for b.Loop() {
		r := newRenderer(b, render.Options{})
		whole(b, r, tree, n)
		r.Close()
	}
	report(b, before)
}

// A look at all applications, none of which changed.
func BenchmarkNothingChanged(b *testing.B) {
	n := size(b)
	tree := newGitTree(services(n))
	r := newRenderer(b, render.Options{})
	whole(b, r, tree, n)
	for b.Loop() {
		whole(b, r, tree, n)
	}
}

// One application of all changed: from the new tree to its objects, and a look at the others.
func BenchmarkOneChanged(b *testing.B) {
	n := size(b)
	files := services(n)
	r := newRenderer(b, render.Options{})
	whole(b, r, newGitTree(files), n)
	edition := 0
	for b.Loop() {
		b.StopTimer()
		edition++
		i := edition % n
		files[serviceFolder(i)+"/main.jsonnet"] = &fstest.MapFile{Data: serviceSource(i, edition)}
		tree := newGitTree(files)
		b.StartTimer()
		got := whole(b, r, tree, n)
		b.StopTimer()
		sameAsPlain(b, files, i, got[i])
		b.StartTimer()
	}
}

// One file changed of an application that holds everything.
func BenchmarkOneFileChanged(b *testing.B) {
	n := size(b)
	files := services(n)
	r := newRenderer(b, render.Options{})
	render := func(tree fs.FS) api.Desired {
		d, err := r.Render(b.Context(), render.Request{Tree: tree, Path: "apps", Project: "shop", Application: "shop/all"})
		if err != nil || len(d.Objects) != 4*n {
			b.Fatal(len(d.Objects), err)
		}
		return d
	}
	render(newGitTree(files))
	edition := 0
	for b.Loop() {
		b.StopTimer()
		edition++
		i := edition % n
		files[serviceFolder(i)+"/main.jsonnet"] = &fstest.MapFile{Data: serviceSource(i, edition)}
		tree := newGitTree(files)
		b.StartTimer()
		got := render(tree)
		b.StopTimer()
		sameAsPlain(b, files, i, api.Desired{Objects: got.Objects[4*i : 4*i+4]})
		b.StartTimer()
	}
}
