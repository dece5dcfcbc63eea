package runtime

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

var epoch = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// scene is a world with one pod of one container, "main", on which tables are built.
func scene(change ...func(*World)) World {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "u1"}, Spec: corev1.PodSpec{
		RestartPolicy: corev1.RestartPolicyAlways,
		Containers:    []corev1.Container{{Name: "main", Image: "web:1", ImagePullPolicy: corev1.PullIfNotPresent}},
	}}
	w := World{
		Now: epoch, Pod: pod, Drain: 2 * time.Second, Attached: "s0", Files: []types.UID{"u1"},
		Images: map[string]Image{"web:1": {Present: true}, "init:1": {Present: true}},
	}
	for _, c := range change {
		c(&w)
	}
	return w
}

func has(cs ...Container) func(*World) {
	return func(w *World) { w.Containers = append(w.Containers, cs...) }
}

func spec(f func(*corev1.PodSpec)) func(*World) { return func(w *World) { f(&w.Pod.Spec) } }

func sandboxed(attempt int, state State) Container {
	return Container{ID: "s" + string(rune('0'+attempt)), UID: "u1", Kind: Sandbox, Attempt: attempt, State: state}
}

// main is an attempt of the container "main" in sandbox s0, of an age if it runs or
// ended that long ago.
func main(attempt int, state State, age time.Duration, change ...func(*Container)) Container {
	c := Container{
		ID: "c" + string(rune('0'+attempt)), UID: "u1", Kind: App, Name: "main", Attempt: attempt, State: state, Sandbox: "s0",
		Hash: hashOf(&corev1.Container{Name: "main", Image: "web:1"}), StartedAt: epoch.Add(-age), FinishedAt: epoch.Add(-age),
	}
	if state == Exited {
		c.StartedAt = c.FinishedAt.Add(-time.Second)
	}
	for _, f := range change {
		f(&c)
	}
	return c
}

func backoff(d time.Duration) func(*Container) { return func(c *Container) { c.Backoff = d } }
func code(n int32) func(*Container)            { return func(c *Container) { c.ExitCode = n } }
func in(sandbox string) func(*Container)       { return func(c *Container) { c.Sandbox = sandbox } }

func initial0(name string, state State, change ...func(*Container)) Container {
	c := main(0, state, time.Second, change...)
	c.ID, c.Kind, c.Name, c.Hash = "i-"+name, Init, name, hashOf(&corev1.Container{Name: name, Image: "init:1"})
	return c
}

func withInit(w *World) {
	for _, n := range []string{"one", "two"} {
		w.Pod.Spec.InitContainers = append(w.Pod.Spec.InitContainers, corev1.Container{Name: n, Image: "init:1", ImagePullPolicy: corev1.PullIfNotPresent})
	}
}

func never(s *corev1.PodSpec)     { s.RestartPolicy = corev1.RestartPolicyNever }
func onFailure(s *corev1.PodSpec) { s.RestartPolicy = corev1.RestartPolicyOnFailure }

// withSidecar has a plain init container, "one", and then a sidecar, "side".
func withSidecar(w *World) {
	withInit(w)
	always := corev1.ContainerRestartPolicyAlways
	w.Pod.Spec.InitContainers[1].Name, w.Pod.Spec.InitContainers[1].RestartPolicy = "side", &always
}

func started(id string) func(*World) {
	return func(w *World) { w.Health = map[string]Health{id: {Started: true, Ready: true}} }
}

// late is a pod that has run longer than it may.
func late(w *World) {
	limit, start := int64(60), metav1.NewTime(epoch.Add(-time.Minute))
	w.Pod.Spec.ActiveDeadlineSeconds, w.Pod.Status.StartTime = &limit, &start
}

func deleted(ago time.Duration) func(*World) {
	return func(w *World) {
		at, grace := metav1.NewTime(epoch), int64(30)
		w.Pod.DeletionTimestamp, w.Pod.DeletionGracePeriodSeconds = &at, &grace
		w.DeletionSeen, w.HandedOver = epoch.Add(-ago), epoch.Add(-ago)
	}
}

// handedOver is what something led to until that long ago; 0: something does.
func handedOver(ago time.Duration) func(*World) {
	return func(w *World) {
		if w.HandedOver = (time.Time{}); ago > 0 {
			w.HandedOver = epoch.Add(-ago)
		}
	}
}

func stranger(state State) Container {
	return Container{ID: "x", UID: "u0", Kind: App, Name: "main", State: state, Grace: 5 * time.Second}
}

func TestDecide(t *testing.T) {
	t.Parallel()
	run := sandboxed(0, Running)
	for name, c := range map[string]struct {
		world World
		plan  string
		after time.Duration
	}{
		"a new pod gets a sandbox": {world: scene(), plan: "create-sandbox #0"},
		"a sandbox that failed is tried again later": {
			world: scene(func(w *World) { w.Failures = map[string]Failure{"sandbox": {Retry: epoch.Add(time.Second)}} }), after: time.Second,
		},
		"a sandbox is attached once":                   {world: scene(has(run), func(w *World) { w.Attached = "" }), plan: "attach s0"},
		"then its container starts":                    {world: scene(has(run)), plan: "start main #0"},
		"what runs is left alone":                      {world: scene(has(run, main(0, Running, time.Hour)))},
		"one that was made but not started is started": {world: scene(has(run, main(0, Created, 0))), plan: "resume main c0"},

		"an image that is not there is pulled": {
			world: scene(has(run), func(w *World) { w.Images = nil }), plan: "pull main",
		},
		"while it is pulled there is nothing to do": {
			world: scene(has(run), func(w *World) { w.Images = map[string]Image{"web:1": {Pulling: true}} }),
		},
		"a pull that failed is tried again later": {
			world: scene(has(run), func(w *World) { w.Images = map[string]Image{"web:1": {Err: "no", Retry: epoch.Add(time.Second)}} }), after: time.Second,
		},
		"somebody may load it before": {
			world: scene(has(run), func(w *World) { w.Images = map[string]Image{"web:1": {Err: "no", Retry: epoch.Add(time.Minute)}} }), after: lookForImage,
		},
		"which does not help who always pulls": {
			world: scene(has(run), func(w *World) {
				w.Pod.Spec.Containers[0].ImagePullPolicy = corev1.PullAlways
				w.Images = map[string]Image{"web:1": {Err: "no", Retry: epoch.Add(time.Minute)}}
			}), after: time.Minute,
		},
		"policy Always pulls what is there": {
			world: scene(has(run), spec(func(s *corev1.PodSpec) { s.Containers[0].ImagePullPolicy = corev1.PullAlways })), plan: "pull main",
		},
		"and starts once it was pulled": {
			world: scene(has(run), spec(func(s *corev1.PodSpec) { s.Containers[0].ImagePullPolicy = corev1.PullAlways }), func(w *World) {
				w.Wanted = map[string]time.Time{"main": epoch.Add(-time.Second)}
				w.Images["web:1"] = Image{Present: true, PulledAt: epoch}
			}), plan: "start main #0",
		},
		"a container that could not be made waits": {
			world: scene(has(run), func(w *World) { w.Failures = map[string]Failure{"main": {Retry: epoch.Add(time.Second)}} }), after: time.Second,
		},

		"the first restart is immediate": {world: scene(has(run, main(0, Exited, 0))), plan: "start main #1 backoff=10s"},
		"the second waits 10 s": {
			world: scene(has(run, main(0, Exited, time.Minute), main(1, Exited, 3*time.Second, backoff(10*time.Second)))), after: 7 * time.Second,
		},
		"and the delay doubles": {
			world: scene(has(run, main(0, Exited, time.Minute), main(1, Exited, 10*time.Second, backoff(10*time.Second)))), plan: "start main #2 backoff=20s",
		},
		"up to 5 min": {
			world: scene(has(run, main(0, Exited, time.Hour), main(1, Exited, 5*time.Minute, backoff(5*time.Minute)))), plan: "start main #2 backoff=5m0s",
		},
		"one that ended in the future, by a clock that was set back since, does not wait for it": {
			world: scene(has(run, main(0, Exited, time.Minute), main(1, Exited, -time.Hour, backoff(10*time.Second)))), plan: "start main #2 backoff=20s",
		},
		"who ran for long begins anew": {
			world: scene(has(run, main(1, Exited, 0, backoff(5*time.Minute), func(c *Container) { c.StartedAt = epoch.Add(-time.Hour) }))), plan: "start main #2 backoff=10s",
		},
		"the container before stays for its logs, older ones go": {
			world: scene(has(run, main(0, Exited, time.Hour), main(1, Exited, time.Minute), main(2, Running, time.Second))), plan: "remove main c0",
		},
		"one that was removed by hand is counted": {
			world: scene(has(run), func(w *World) {
				w.Pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "main", RestartCount: 3, ContainerID: "docker://c3"}}
			}), plan: "start main #4",
		},
		"OnFailure restarts a failure":       {world: scene(spec(onFailure), has(run, main(0, Exited, 0, code(1)))), plan: "start main #1 backoff=10s"},
		"and lets a success be":              {world: scene(spec(onFailure), has(run, main(0, Exited, 0)))},
		"Never restarts nothing":             {world: scene(spec(never), has(run, main(0, Exited, 0, code(1))))},
		"another image replaces a container": {world: scene(spec(func(s *corev1.PodSpec) { s.Containers[0].Image = "web:2" }), has(run, main(0, Running, 0))), plan: "stop main c0 grace=30s", after: 30 * time.Second},
		"an unhealthy container is stopped": {
			world: scene(has(run, main(0, Running, time.Minute)), func(w *World) { w.Health = map[string]Health{"c0": {Failed: "sick"}} }), plan: "stop main c0 grace=30s", after: 30 * time.Second,
		},
		"and killed after its grace": {
			world: scene(has(run, main(0, Running, time.Minute)), func(w *World) {
				w.Health = map[string]Health{"c0": {Failed: "sick"}}
				w.Stopping = map[string]time.Time{"c0": epoch.Add(-30 * time.Second)}
			}), plan: "kill main c0",
		},

		"init containers run first":         {world: scene(withInit, has(run)), plan: "start one #0"},
		"one after the other":               {world: scene(withInit, has(run, initial0("one", Exited))), plan: "start two #0"},
		"a running one is waited for":       {world: scene(withInit, has(run, initial0("one", Running)))},
		"then the containers":               {world: scene(withInit, has(run, initial0("one", Exited), initial0("two", Exited))), plan: "start main #0"},
		"a failed one is run again":         {world: scene(withInit, has(run, initial0("one", Exited, code(1)))), plan: "start one #1 backoff=10s"},
		"but not with policy Never":         {world: scene(withInit, spec(never), has(run, initial0("one", Exited, code(1))))},
		"they are not run beside what runs": {world: scene(withInit, has(run, main(0, Running, 0)))},

		"a sidecar starts in its turn": {world: scene(withSidecar, has(run, initial0("one", Exited))), plan: "start side #0"},
		"and what comes after waits until it has started": {
			world: scene(withSidecar, has(run, initial0("one", Exited), initial0("side", Running))),
		},
		"then it goes on": {
			world: scene(withSidecar, has(run, initial0("one", Exited), initial0("side", Running)), started("i-side")), plan: "start main #0",
		},
		"a sidecar is kept beside the containers, whatever the restart policy": {
			world: scene(withSidecar, spec(never), has(run, initial0("one", Exited), initial0("side", Exited), main(0, Running, 0))), plan: "start side #1 backoff=10s",
		},
		"an unhealthy one is restarted, in its probe's own grace": {
			world: scene(withSidecar, has(run, initial0("one", Exited), initial0("side", Running), main(0, Running, 0)), func(w *World) {
				w.Health = map[string]Health{"i-side": {Started: true, Failed: "sick", Grace: 3 * time.Second}}
			}), plan: "stop side i-side grace=3s", after: 3 * time.Second,
		},
		"with nothing left to stand beside it is stopped": {
			world: scene(withSidecar, spec(never), has(run, initial0("one", Exited), initial0("side", Running), main(0, Exited, 0)), started("i-side")),
			plan:  "stop side i-side grace=30s", after: 30 * time.Second,
		},
		"and not started again": {
			world: scene(withSidecar, spec(never), has(run, initial0("one", Exited), initial0("side", Exited), main(0, Exited, 0))),
		},
		"a deleted pod's sidecar outlives its containers": {
			world: scene(withSidecar, deleted(time.Minute), has(run, initial0("side", Running), main(0, Running, 0))), plan: "stop main c0 grace=30s", after: 30 * time.Second,
		},
		"and is stopped in what is left of the grace": {
			world: scene(withSidecar, deleted(time.Minute), has(run, initial0("side", Running), main(0, Exited, 0)), func(w *World) {
				w.Stopping = map[string]time.Time{"c0": epoch.Add(-20 * time.Second)}
			}), plan: "stop side i-side grace=10s", after: 10 * time.Second,
		},
		"which is a moment at least": {
			world: scene(withSidecar, deleted(time.Minute), has(run, initial0("side", Running), main(0, Exited, 0)), func(w *World) {
				w.Stopping = map[string]time.Time{"c0": epoch.Add(-40 * time.Second)}
			}), plan: "stop side i-side grace=2s", after: 2 * time.Second,
		},
		"an evicted pod is stopped soon": {world: scene(evicted, has(run, main(0, Running, time.Minute))), plan: "stop main c0 grace=1s", after: time.Second},
		"past its deadline a pod is stopped": {
			world: scene(late, has(run, main(0, Running, time.Minute))), plan: "stop main c0 grace=30s", after: 30 * time.Second,
		},

		"without its sandbox a container is killed": {
			world: scene(has(sandboxed(0, Exited), main(0, Running, time.Minute))), plan: "remove s0; kill main c0",
		},
		"then there is a new sandbox": {world: scene(has(main(0, Exited, 0, code(137)))), plan: "create-sandbox #0"},
		"and the container in it":     {world: scene(has(sandboxed(1, Running), main(0, Exited, 0, code(137))), func(w *World) { w.Attached = "s1" }), plan: "start main #1 backoff=10s"},
		"init containers run in it, too": {
			world: scene(withInit, has(sandboxed(1, Running), main(0, Exited, 0), initial0("one", Exited, in("s0")), initial0("two", Exited, in("s0"))), func(w *World) { w.Attached = "s1" }),
			plan:  "start one #1",
		},
		"what has ended for good needs no sandbox": {world: scene(spec(never), has(main(0, Exited, 0)))},

		"a deleted pod drains first": {world: scene(deleted(0), has(run, main(0, Running, time.Hour))), after: 2 * time.Second},
		"not before nothing leads to it any more": {
			world: scene(deleted(5*time.Second), handedOver(0), has(run, main(0, Running, time.Hour))), after: 25 * time.Second,
		},
		"and what was under way has arrived": {
			world: scene(deleted(5*time.Second), handedOver(time.Second), has(run, main(0, Running, time.Hour))), after: time.Second,
		},
		"but it waits no longer than its grace period": {
			world: scene(deleted(30*time.Second), handedOver(0), has(run, main(0, Running, time.Hour))), plan: "tell-late; stop main c0 grace=30s", after: 30 * time.Second,
		},
		"nor drains": {
			world: scene(deleted(30*time.Second), handedOver(time.Second), has(run, main(0, Running, time.Hour))), plan: "stop main c0 grace=30s", after: 30 * time.Second,
		},
		"nor longer than 30 s": {
			world: scene(deleted(30*time.Second), handedOver(0), func(w *World) { *w.Pod.DeletionGracePeriodSeconds = 3600 }, has(run, main(0, Running, time.Hour))),
			plan:  "tell-late; stop main c0 grace=1h0m0s", after: time.Hour,
		},
		"and not at all without one": {
			world: scene(deleted(0), handedOver(0), func(w *World) { *w.Pod.DeletionGracePeriodSeconds = 0 }, has(run, main(0, Running, time.Hour))), plan: "kill main c0",
		},
		"then it is asked to stop": {world: scene(deleted(2*time.Second), has(run, main(0, Running, time.Hour))), plan: "stop main c0 grace=30s", after: 30 * time.Second},
		"and waited for": {
			world: scene(deleted(time.Minute), has(run, main(0, Running, time.Hour)), func(w *World) { w.Stopping = map[string]time.Time{"c0": epoch.Add(-10 * time.Second)} }), after: 20 * time.Second,
		},
		"and killed": {
			world: scene(deleted(time.Minute), has(run, main(0, Running, time.Hour)), func(w *World) { w.Stopping = map[string]time.Time{"c0": epoch.Add(-30 * time.Second)} }), plan: "kill main c0",
		},
		"and cleared, the object last": {
			world: scene(deleted(time.Minute), has(run, main(0, Exited, 0))), plan: "detach; remove main c0; remove s0; remove-files u1; delete-pod",
		},
		"a pod that never ran is only deleted": {world: scene(deleted(0), func(w *World) { w.Files = nil }), plan: "delete-pod"},
		"a pod with finalizers is left to them": {
			world: scene(deleted(0), func(w *World) { w.Files, w.Deleted = nil, true }),
		},
		"a pod that has ended lets go of its network": {
			world: scene(has(run, main(0, Exited, 0)), func(w *World) { w.Pod.Status.Phase = corev1.PodSucceeded }), plan: "detach; remove s0",
		},
		"and keeps its containers": {world: scene(has(main(0, Exited, 0)), func(w *World) { w.Pod.Status.Phase = corev1.PodSucceeded })},

		"what no pod wants is stopped":                  {world: World{Now: epoch, Containers: []Container{stranger(Running)}}, plan: "stop main x grace=5s", after: 5 * time.Second},
		"and cleared":                                   {world: World{Now: epoch, Containers: []Container{stranger(Exited)}, Files: []types.UID{"u0"}}, plan: "detach; remove main x; remove-files u0"},
		"files alone, too":                              {world: World{Now: epoch, Files: []types.UID{"u0"}}, plan: "detach; remove-files u0"},
		"a predecessor goes before its successor comes": {world: scene(has(stranger(Exited))), plan: "detach; remove main x"},
		"nothing wanted, nothing there":                 {world: World{Now: epoch}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := Decide(c.world)
			if p.String() != c.plan || p.After != c.after {
				t.Errorf("plan %q after %v, not %q after %v", p, p.After, c.plan, c.after)
			}
		})
	}
}

func TestPullPolicy(t *testing.T) {
	t.Parallel()
	for image, want := range map[string]corev1.PullPolicy{
		"web": corev1.PullAlways, "web:latest": corev1.PullAlways, "web:1": corev1.PullIfNotPresent,
		"127.0.0.1:5000/shop/web": corev1.PullAlways, "127.0.0.1:5000/shop/web:1": corev1.PullIfNotPresent,
		"127.0.0.1:5000/shop/web@sha256:00": corev1.PullIfNotPresent,
	} {
		if got := pullPolicy(&corev1.Container{Image: image}); got != want {
			t.Errorf("%s: %s, not %s", image, got, want)
		}
	}
}
