package state_test

import (
	"fmt"
	"os"
	"runtime"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/state"
	"slipway.dev/slipway/state/statetest"
)

func filled(b *testing.B, n int) *state.Client {
	b.Helper()
	c := statetest.New(b)
	for i := range n {
		p := pod(fmt.Sprintf("ns%d", i%10), fmt.Sprintf("p%d", i), "n1")
		p.Labels = map[string]string{"app": "web", "deploymentconfig": "web"}
		p.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "A", Value: "1"}, {Name: "B", Value: "2"}}
		if err := c.Create(b.Context(), p); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	return c
}

func BenchmarkGet(b *testing.B) {
	c := filled(b, 1)
	var p corev1.Pod
	for b.Loop() {
		if err := c.Get(b.Context(), client.ObjectKey{Namespace: "ns0", Name: "p0"}, &p); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkList reads one namespace in ten: the time follows the result, not what exists.
func BenchmarkList(b *testing.B) {
	for _, n := range []int{100, 1000} {
		b.Run(fmt.Sprintf("%d of %d", n/10, n), func(b *testing.B) {
			c := filled(b, n)
			for b.Loop() {
				var l corev1.PodList
				if err := c.List(b.Context(), &l, client.InNamespace("ns3")); err != nil || len(l.Items) != n/10 {
					b.Fatal(err, len(l.Items))
				}
			}
		})
	}
}

func BenchmarkStatusUpdate(b *testing.B) {
	c := filled(b, 1)
	var p corev1.Pod
	if err := c.Get(b.Context(), client.ObjectKey{Namespace: "ns0", Name: "p0"}, &p); err != nil {
		b.Fatal(err)
	}
	for i := 0; b.Loop(); i++ {
		p.Status.Message = fmt.Sprint(i)
		if err := c.Status().Update(b.Context(), &p); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkApplyUnchanged(b *testing.B) {
	c := statetest.New(b)
	dc := &corev1.ReplicationController{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ReplicationController"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "x"},
		Spec: corev1.ReplicationControllerSpec{Selector: map[string]string{"l": "1"}, Template: &corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"l": "1"}},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "one", Image: "a"}}}}}}
	b.ReportAllocs()
	for b.Loop() {
		o := dc.DeepCopy()
		if err := c.Patch(b.Context(), o, client.Apply, client.FieldOwner("git"), client.ForceOwnership); err != nil {
			b.Fatal(err)
		}
	}
}

// manifests are n objects as an application has them: of four kinds, in namespaces of fifty.
func manifests(n int) []*unstructured.Unstructured {
	out := make([]*unstructured.Unstructured, n)
	for i := range n {
		ns, app := fmt.Sprintf("ns%d", i/50), fmt.Sprintf("app-%d", i/4)
		labels := map[string]any{"app": app, "part": "bench"}
		u := map[string]any{"apiVersion": "v1", "metadata": map[string]any{"namespace": ns, "name": fmt.Sprintf("%s-%d", app, i%4), "labels": labels}}
		switch i % 4 {
		case 0:
			u["apiVersion"], u["kind"] = "apps.openshift.io/v1", "DeploymentConfig"
			u["spec"] = map[string]any{"replicas": int64(2), "selector": map[string]any{"app": app}, "triggers": []any{map[string]any{"type": "ConfigChange"}},
				"template": map[string]any{"metadata": map[string]any{"labels": labels}, "spec": map[string]any{"containers": []any{map[string]any{
					"name": "web", "image": "example.com/web:1", "env": []any{map[string]any{"name": "A", "value": "1"}, map[string]any{"name": "B", "value": "2"}},
					"ports": []any{map[string]any{"containerPort": int64(8080), "protocol": "TCP"}}}}}}}
		case 1:
			u["kind"] = "Service"
			u["spec"] = map[string]any{"selector": map[string]any{"app": app}, "ports": []any{map[string]any{"name": "http", "port": int64(80), "targetPort": int64(8080)}}}
		case 2:
			u["kind"] = "ConfigMap"
			u["data"] = map[string]any{"app.properties": "a=1\nb=2\n", "log.level": "info"}
		case 3:
			u["apiVersion"], u["kind"] = "route.openshift.io/v1", "Route"
			u["spec"] = map[string]any{"host": app + ".example.com", "to": map[string]any{"kind": "Service", "name": app + "-1"}}
		}
		out[i] = &unstructured.Unstructured{Object: u}
	}
	return out
}

func applied(b *testing.B, c *state.Client, objects []*unstructured.Unstructured, dry ...string) {
	for i, r := range c.ApplyMany(b.Context(), objects, client.ApplyOptions{FieldManager: "git", Force: new(true), DryRun: dry}) {
		if r.Err != nil {
			b.Fatal(objects[i].GetName(), r.Err)
		}
	}
}

// BenchmarkApplyManyCreate applies objects that do not exist yet, with every write synced to disk.
func BenchmarkApplyManyCreate(b *testing.B) {
	for _, n := range []int{1000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := opened(b)
			objects := manifests(n)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				applied(b, s.ClientAt(fmt.Sprintf("/bench%d", i)), objects)
				i++
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "objects/s")
		})
	}
}

// BenchmarkApplyManyUnchanged is a dry run of what is there already.
func BenchmarkApplyManyUnchanged(b *testing.B) {
	const n = 2000
	c, objects := opened(b).Client(), manifests(n)
	applied(b, c, objects)
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		applied(b, c, objects, metav1.DryRunAll)
	}
	b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "objects/s")
}

// opened is a live state as a server has it: defaults, validation, and a disk that is waited for.
func opened(b *testing.B) *state.Store {
	s, err := state.Open(b.Context(), state.Options{DataDir: b.TempDir(), Default: api.Default, Validate: api.Validate, ValidateUpdate: api.ValidateUpdate})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(s.Close)
	return s
}

// BenchmarkMemory reports how many bytes of heap and of all memory a live object takes, of 10,000 that are watched and were just
// changed.
func BenchmarkMemory(b *testing.B) {
	const n = 10000
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	for b.Loop() {
		c, objects := opened(b).Client(), manifests(n)
		for _, l := range []client.ObjectList{&corev1.ConfigMapList{}, &corev1.ServiceList{}} {
			w, err := c.Watch(b.Context(), l)
			if err != nil {
				b.Fatal(err)
			}
			defer w.Stop()
			go func() {
				for range w.ResultChan() {
				}
			}()
		}
		before, full := heap(), resident(b)
		applied(b, c, objects)
		b.ReportMetric(float64(int64(heap())-int64(before))/n, "heap-bytes/object")
		b.ReportMetric(float64(resident(b)-full)/n, "resident-bytes/object")
		runtime.KeepAlive(objects)
	}
}

// resident is the memory of this process, the pages of etcd's files among it.
func resident(b *testing.B) int {
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Fatal(err)
	}
	var size, pages int
	if _, err := fmt.Sscan(string(data), &size, &pages); err != nil {
		b.Fatal(err)
	}
	return pages * os.Getpagesize()
}
