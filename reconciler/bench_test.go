package reconciler_test

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/reconciler"
	"slipway.dev/slipway/state"
	"slipway.dev/slipway/state/event"
	"slipway.dev/slipway/state/loop"
	"slipway.dev/slipway/state/statetest"
)

// fleet is a number of applications of the same size in one repository. Rendering costs
// nothing, as from a cache: what is measured is the rest.
type fleet struct {
	testing.TB
	client *state.Client
	r      *reconciler.Reconciler
	apps   int
	size   int

	mu       sync.Mutex
	commits  int
	touched  map[int][]string       // by commit: the paths that it changed
	editions map[string][]edition   // by path, newest last
	rendered map[string]api.Desired // by path and edition
}

// edition is what a commit made of an application: its objects below changed say the commit.
type edition struct{ commit, changed int }

type noTree struct {
	fstest.MapFS
	commit int
}

func newFleet(t testing.TB, apps, size int) *fleet {
	f := &fleet{TB: t, client: statetest.New(t), apps: apps, size: size, commits: 1,
		touched: map[int][]string{}, editions: map[string][]edition{}, rendered: map[string]api.Desired{}}
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	f.r = &reconciler.Reconciler{Client: f.client, Sources: f, Render: f, Log: log, Events: event.New(f.client, "test", log), Applier: many{f.client}}
	f.must(f.client.Create(t.Context(), &v1alpha1.GitRepository{
		ObjectMeta: metav1.ObjectMeta{Namespace: "slipway", Name: "root"}, Spec: v1alpha1.GitRepositorySpec{URL: "https://git.example.com/root"},
	}))
	var objects []*unstructured.Unstructured
	for i := range apps {
		o := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "slipway.dev/v1alpha1", "kind": "Application", "metadata": map[string]any{"namespace": "slipway", "name": appName(i)},
			"spec": map[string]any{"sourceRef": map[string]any{"name": "root"}, "path": appPath(i), "project": appName(i)},
		}}
		objects = append(objects, o)
	}
	force := true
	for _, r := range f.client.ApplyMany(t.Context(), objects, client.ApplyOptions{FieldManager: "test", Force: &force}) {
		f.must(r.Err)
	}
	return f
}

// run runs the reconciler until the test ends.
func (f *fleet) run() {
	var done sync.WaitGroup
	ctx, stop := context.WithCancel(context.Background())
	controllers := f.r.Controllers()
	done.Go(func() { loop.Run(ctx, f.client, f.r.Log, controllers...) })
	f.Cleanup(func() { stop(); done.Wait() })
}

func appName(i int) string { return fmt.Sprintf("app-%05d", i) }
func appPath(i int) string { return "projects/" + appName(i) }

func (f *fleet) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

// commit changes n objects of each of the applications, and publishes it.
func (f *fleet) commit(n int, apps ...int) string {
	f.mu.Lock()
	f.commits++
	for _, i := range apps {
		f.editions[appPath(i)] = append(f.editions[appPath(i)], edition{f.commits, n})
		f.touched[f.commits] = append(f.touched[f.commits], appPath(i)+"/main.jsonnet")
	}
	f.mu.Unlock()
	name := f.head()
	repo := &v1alpha1.GitRepository{}
	f.must(f.client.Get(f.Context(), client.ObjectKey{Namespace: "slipway", Name: "root"}, repo))
	repo.Status.Artifact = &v1alpha1.GitArtifact{Revision: "main@sha1:" + name, Commit: name}
	f.must(f.client.Status().Update(f.Context(), repo))
	return name
}

func commitName(n int) string { return fmt.Sprintf("%040d", n) }

func (f *fleet) head() string { f.mu.Lock(); defer f.mu.Unlock(); return commitName(f.commits) }

func (f *fleet) Revision(ctx context.Context, key types.NamespacedName) (api.Revision, error) {
	return f.RevisionAt(ctx, key, f.head())
}

func (f *fleet) RevisionAt(_ context.Context, key types.NamespacedName, ref string) (api.Revision, error) {
	n := 0
	fmt.Sscanf(ref, "%d", &n)
	return api.Revision{Repository: key.String(), Commit: ref, Tree: noTree{commit: n}}, nil
}

func (f *fleet) Changes(_ context.Context, _ types.NamespacedName, from, to string) ([]string, error) {
	a, b := 0, 0
	fmt.Sscanf(from, "%d", &a)
	fmt.Sscanf(to, "%d", &b)
	if a > b {
		a, b = b, a
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for n := a + 1; n <= b; n++ {
		out = append(out, f.touched[n]...)
	}
	return out, nil
}

func (f *fleet) Render(_ context.Context, r reconciler.Rendering) (api.Desired, error) {
	commit := r.Tree.(noTree).commit
	f.mu.Lock()
	defer f.mu.Unlock()
	var now edition
	for _, e := range f.editions[r.Path] {
		if e.commit <= commit {
			now = e
		}
	}
	key := fmt.Sprint(r.Path, now)
	d, ok := f.rendered[key]
	if !ok {
		d = api.Desired{Hash: key, Depends: api.Depends{Folders: []string{r.Path}, Files: []string{"lib/x.libsonnet"}}}
		for i := range f.size {
			said := 0
			if i < now.changed {
				said = now.commit
			}
			d.Objects = append(d.Objects, api.DesiredObject{Unstructured: sample(r.Project, i, said), Origin: api.Origin{File: r.Path + "/main.jsonnet"}})
		}
		f.rendered[key] = d
	}
	return d, nil
}

var _ fs.FS = noTree{}

// sample is an object of about a kilobyte: a DeploymentConfig, a Service, a Route or a ConfigMap.
func sample(project string, i, said int) *unstructured.Unstructured {
	name := fmt.Sprintf("web-%05d", i)
	labels := map[string]any{"app": name, "part-of": "shop", "said": fmt.Sprint(said)}
	meta := map[string]any{"name": name, "namespace": project, "labels": labels}
	o := map[string]any{"metadata": meta}
	switch i % 4 {
	case 0:
		o["apiVersion"], o["kind"] = "apps.openshift.io/v1", "DeploymentConfig"
		o["spec"] = map[string]any{
			"replicas": int64(2), "selector": map[string]any{"app": name},
			"triggers": []any{map[string]any{"type": "ConfigChange"}},
			"template": map[string]any{
				"metadata": map[string]any{"labels": map[string]any{"app": name}},
				"spec": map[string]any{"containers": []any{map[string]any{
					"name": "web", "image": "registry.example.com/shop/web@sha256:" + digest,
					"ports": []any{map[string]any{"containerPort": int64(8080), "protocol": "TCP"}},
					"env":   []any{map[string]any{"name": "A", "value": "1"}, map[string]any{"name": "B", "value": "2"}},
				}}},
			},
		}
	case 1:
		o["apiVersion"], o["kind"] = "v1", "Service"
		o["spec"] = map[string]any{"selector": map[string]any{"app": name}, "ports": []any{map[string]any{"name": "http", "port": int64(80), "targetPort": int64(8080), "protocol": "TCP"}}}
	case 2:
		o["apiVersion"], o["kind"] = "route.openshift.io/v1", "Route"
		o["spec"] = map[string]any{"host": name + "." + project + ".example.com", "to": map[string]any{"kind": "Service", "name": name, "weight": int64(100)}}
	default:
		o["apiVersion"], o["kind"] = "v1", "ConfigMap"
		o["data"] = map[string]any{"config": strings.Repeat("key = value\n", 40), "said": fmt.Sprint(said)}
	}
	return &unstructured.Unstructured{Object: o}
}

func (f *fleet) app(i int) *v1alpha1.Application {
	app := &v1alpha1.Application{}
	f.must(f.client.Get(f.Context(), client.ObjectKey{Namespace: "slipway", Name: appName(i)}, app))
	return app
}

// settled waits until an application follows a commit.
func (f *fleet) settled(i int, commit string) {
	f.Helper()
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(500 * time.Microsecond) {
		s := f.app(i).Status
		if s.LastAppliedCommit == commit {
			return
		}
		if time.Now().After(end) {
			f.Fatalf("%s does not follow %s: %+v", appName(i), commit, s.Conditions)
		}
	}
}

func (f *fleet) allSettled(commit string) {
	for i := range f.apps {
		f.settled(i, commit)
	}
}

func (f *fleet) look(i int) {
	f.Helper()
	_, err := f.r.Reconcile(f.Context(), types.NamespacedName{Namespace: "slipway", Name: appName(i)})
	f.must(err)
}

// BenchmarkFirstApply creates everything.
func BenchmarkFirstApply(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				f := newFleet(b, 1, n)
				f.r.Controllers()
				b.StartTimer()
				f.look(0)
				if f.app(0).Status.LastAppliedCommit == "" {
					b.Fatal(f.app(0).Status)
				}
			}
			b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "objects/s")
		})
	}
}

// BenchmarkRevision is a commit that one application of n objects depends on, from the
// source's status to the recorded end.
func BenchmarkRevision(b *testing.B) {
	for _, c := range []struct{ apps, size, changed int }{
		{1, 1000, 0}, {1, 1000, 10}, {1, 10_000, 0}, {1, 10_000, 100}, {2500, 4, 1},
	} {
		b.Run(fmt.Sprintf("%dx%d changed %d", c.apps, c.size, c.changed), func(b *testing.B) {
			f := newFleet(b, c.apps, c.size)
			f.run()
			f.allSettled(f.commit(0))
			report := spent(b)
			for b.Loop() {
				f.settled(c.apps/2, f.commit(c.changed, c.apps/2))
			}
			report()
		})
	}
}

// BenchmarkLook is a look at everything where nothing changed.
func BenchmarkLook(b *testing.B) {
	for _, c := range []struct{ apps, size int }{{1, 1000}, {1, 10_000}, {2500, 4}} {
		b.Run(fmt.Sprintf("%dx%d", c.apps, c.size), func(b *testing.B) {
			f := newFleet(b, c.apps, c.size)
			f.run()
			f.allSettled(f.commit(0))
			for i := range c.apps {
				f.look(i)
			}
			report := spent(b)
			for b.Loop() {
				for i := range c.apps {
					f.look(i)
				}
			}
			report()
		})
	}
}

// BenchmarkDriftCorrected is from a foreign write to the corrected object.
func BenchmarkDriftCorrected(b *testing.B) {
	for _, c := range []struct{ apps, size int }{{2500, 4}, {1, 10_000}} {
		b.Run(fmt.Sprintf("%dx%d", c.apps, c.size), func(b *testing.B) {
			f := newFleet(b, c.apps, c.size)
			f.run()
			f.allSettled(f.head())
			var took []time.Duration
			for i := 0; b.Loop(); i++ {
				app, at := i%c.apps, i/c.apps*4%c.size+3
				cm := &corev1.ConfigMap{}
				key := client.ObjectKey{Namespace: appName(app), Name: fmt.Sprintf("web-%05d", at)}
				f.must(f.client.Get(b.Context(), key, cm))
				want := cm.Data["said"]
				cm.Data["said"] = "by hand"
				start := time.Now()
				f.must(f.client.Update(b.Context(), cm))
				for cm.Data["said"] != want {
					time.Sleep(200 * time.Microsecond)
					f.must(f.client.Get(b.Context(), key, cm))
				}
				took = append(took, time.Since(start))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "ms-median")
		})
	}
}

// BenchmarkManyApplications is from the first commit of 1,000 applications to the last one ready.
func BenchmarkManyApplications(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		f := newFleet(b, 1000, 4)
		b.StartTimer()
		f.run()
		f.allSettled(f.head())
	}
}

// BenchmarkMemory reports how much a live object takes, live state included.
func BenchmarkMemory(b *testing.B) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	f := newFleet(b, 2500, 4)
	f.run()
	f.allSettled(f.head())
	for b.Loop() {
		runtime.GC()
	}
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(f.apps*f.size)/1024, "KiB/object")
	b.ReportMetric(float64(after.Sys-before.Sys)/float64(f.apps*f.size)/1024, "KiB-sys/object")
}

// spent starts to count the time that all cores spend on a benchmark, and reports it: on a
// machine that others use, too, it says more than the time that passes.
func spent(b *testing.B) (report func()) {
	now := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	start := now()
	return func() { b.ReportMetric(float64((now()-start).Microseconds())/1000/float64(b.N), "cpu-ms/op") }
}
