package runtime_test

import (
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/runtime"
	"slipway.dev/slipway/runtime/engine"
	"slipway.dev/slipway/runtime/engine/enginetest"
	"slipway.dev/slipway/state/event"
	"slipway.dev/slipway/state/loop"
	"slipway.dev/slipway/state/statetest"
)

const node = "node-1"

// lab is a node with an agent on a real engine and a real live state.
type lab struct {
	t        testing.TB
	client   client.WithWatch
	docker   engine.Docker
	image    string
	instance string
	dir      string
	agent    *runtime.Agent
	// clock is the agent's; nil: the machine's.
	clock func() time.Time
	// tune changes the agent's options.
	tune []func(*runtime.Options)
	stop func()
}

func newLab(t testing.TB) *lab {
	t.Helper()
	return newLabOn(t, enginetest.Client(t))
}

func newLabOn(t testing.TB, docker engine.Docker) *lab {
	t.Helper()
	return newLabIn(t, docker, t.TempDir())
}

func newLabIn(t testing.TB, docker engine.Docker, dir string, tune ...func(*runtime.Options)) *lab {
	t.Helper()
	l := &lab{
		t: t, client: statetest.New(t), docker: docker, image: enginetest.Busybox(t, docker),
		instance: strings.ToLower(rand.Text()), dir: dir, tune: tune,
	}
	t.Cleanup(l.clear)
	l.start()
	return l
}

// start starts the agent; again after stop, as after its process' restart.
func (l *lab) start() {
	l.t.Helper()
	level := slog.LevelWarn
	if testing.Verbose() {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(l.t.Output(), &slog.HandlerOptions{Level: level}))
	o := runtime.Options{
		Node: node, Instance: l.instance, Client: l.client, Docker: l.docker, Dir: l.dir, Sandboxes: -1,
		Drain: 10 * time.Millisecond, Clock: l.clock, MeasureEvery: 200 * time.Millisecond, Log: log, Recorder: event.New(l.client, "runtime", log),
	}
	for _, f := range l.tune {
		f(&o)
	}
	a, err := runtime.New(o)
	if err != nil {
		l.t.Fatal(err)
	}
	l.agent = a
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{}, 2)
	go func() { loop.Run(ctx, l.client, log, a.Controllers()...); done <- struct{}{} }()
	go func() {
		if err := a.Run(ctx); err != nil {
			l.t.Error(err)
		}
		done <- struct{}{}
	}()
	stopped := false
	l.stop = func() {
		if !stopped {
			stopped = true
			cancel()
			<-done
			<-done
		}
	}
}

// clear removes whatever the test's agents left.
func (l *lab) clear() {
	l.stop()
	// A request that was under way when the agent stopped may still make a container.
	for clean := 0; clean < 3; clean++ {
		for _, c := range l.containers() {
			clean = 0
			if err := l.docker.ContainerRemove(context.Background(), c.ID, container.RemoveOptions{Force: true, RemoveVolumes: true}); err != nil {
				l.t.Log(err)
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	if err := runtime.Clear(l.dir); err != nil {
		l.t.Error(err)
	}
}

func (l *lab) containers() []container.Summary {
	all, err := l.docker.ContainerList(context.Background(), container.ListOptions{
		All: true, Filters: filters.NewArgs(filters.Arg("label", runtime.LabelInstance+"="+l.instance)),
	})
	if err != nil {
		l.t.Error(err)
	}
	return all
}

// running is the id of the container of that name that runs.
func (l *lab) running(name string) (id string) {
	for _, c := range l.containers() {
		if c.Labels[runtime.LabelContainer] == name && c.State == container.StateRunning {
			id = c.ID
		}
	}
	return id
}

func (l *lab) pod(name string, spec corev1.PodSpec) *corev1.Pod {
	l.t.Helper()
	grace := int64(1)
	if spec.TerminationGracePeriodSeconds == nil {
		spec.TerminationGracePeriodSeconds = &grace
	}
	spec.NodeName = node
	for _, cs := range [][]corev1.Container{spec.InitContainers, spec.Containers} {
		for i := range cs {
			if cs[i].Image == "" {
				cs[i].Image = l.image
			}
		}
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Labels: map[string]string{"app": name}}, Spec: spec}
	if err := l.client.Create(l.t.Context(), pod); err != nil {
		l.t.Fatal(err)
	}
	return pod
}

func (l *lab) get(name string) *corev1.Pod {
	l.t.Helper()
	var pod corev1.Pod
	if err := l.client.Get(l.t.Context(), client.ObjectKey{Namespace: "shop", Name: name}, &pod); err != nil {
		l.t.Fatal(err)
	}
	return &pod
}

// until polls the pod until ok.
func (l *lab) until(name, what string, ok func(*corev1.Pod) bool) *corev1.Pod {
	l.t.Helper()
	var pod *corev1.Pod
	l.poll(what, func() bool { pod = l.get(name); return ok(pod) }, func() any { return pod.Status })
	return pod
}

func (l *lab) poll(what string, ok func() bool, show func() any) {
	l.t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			l.t.Fatalf("not within 60 s: %s: %+v", what, show())
		}
	}
}

func nothing() any { return "" }

func ready(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func phase(p corev1.PodPhase) func(*corev1.Pod) bool {
	return func(pod *corev1.Pod) bool { return pod.Status.Phase == p }
}

func (l *lab) logs(name, c string, o corev1.PodLogOptions) string {
	l.t.Helper()
	r, err := l.agent.Logs(l.t.Context(), client.ObjectKey{Namespace: "shop", Name: name}, c, o)
	if err != nil {
		l.t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		l.t.Fatal(err)
	}
	return string(b)
}

func (l *lab) event(name, reason string) func() bool {
	return func() bool {
		var events corev1.EventList
		if err := l.client.List(l.t.Context(), &events, client.InNamespace("shop")); err != nil {
			l.t.Fatal(err)
		}
		for _, e := range events.Items {
			if e.InvolvedObject.Name == name && e.Reason == reason {
				return true
			}
		}
		return false
	}
}

func sh(script string) corev1.Container {
	return corev1.Container{Name: "main", Command: []string{"sh", "-c", script}}
}

// forever ends at once when it is told to.
const forever = "trap 'exit 0' TERM; while :; do sleep 0.05; done"
