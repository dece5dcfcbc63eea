package runtime

import (
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

func over(w *World) { w.Pod.Status.Phase = corev1.PodSucceeded }

func leftovers(w *World) { w.Leftovers = true }

func TestWhatAPodThatHasEndedKeeps(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		world World
		plan  string
	}{
		"its containers":                    {scene(over, has(main(0, Exited, 0))), ""},
		"no volumes":                        {scene(over, leftovers, has(main(0, Exited, 0))), "detach; clear-files u1"},
		"no volumes once its sandbox ended": {scene(over, leftovers, has(sandboxed(0, Running), main(0, Exited, 0))), "detach; remove s0; clear-files u1"},
		"volumes while anything runs":       {scene(over, leftovers, has(sandboxed(0, Running), main(0, Running, 0))), "stop main c0 grace=30s"},
	} {
		if p := Decide(c.world); p.String() != c.plan {
			t.Errorf("%s: plan %q, not %q", name, p, c.plan)
		}
	}
}

// withHook has a container after "main", which has a post-start hook.
func withHook(w *World) {
	w.Pod.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{PostStart: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: 1}}}
	w.Pod.Spec.Containers = append(w.Pod.Spec.Containers, corev1.Container{Name: "next", Image: "web:1", ImagePullPolicy: corev1.PullIfNotPresent})
}

func TestAPostStartHookHoldsBackWhatComesAfter(t *testing.T) {
	t.Parallel()
	run := sandboxed(0, Running)
	next := func(state State) Container {
		return main(0, state, 0, func(c *Container) {
			c.ID, c.Name, c.Hash = "n0", "next", hashOf(&corev1.Container{Name: "next", Image: "web:1"})
		})
	}
	hookedMain := func(w *World) { w.Health = map[string]Health{"c0": {Hooked: true, Started: true}} }
	for name, c := range map[string]struct {
		world World
		plan  string
		waits bool
	}{
		"before it starts":        {scene(withHook, has(run)), "start main #0", true},
		"while its image comes":   {scene(withHook, has(run), func(w *World) { w.Images["web:1"] = Image{Pulling: true} }), "", true},
		"while the hook runs":     {scene(withHook, has(run, main(0, Running, 0))), "", true},
		"not after that":          {scene(withHook, hookedMain, has(run, main(0, Running, 0))), "start next #0", false},
		"not who has run already": {scene(withHook, has(run, main(0, Running, 0), next(Exited))), "start next #1 backoff=10s", false},
		"not where it has failed": {scene(withHook, has(run, main(0, Exited, 0, backoff(time.Minute)))), "start next #0", false},
		"not where it cannot even": {scene(withHook, has(run), func(w *World) {
			w.Failures = map[string]Failure{"main": {Reason: "CreateContainerError", Retry: epoch.Add(time.Minute)}}
		}), "start next #0", false},
	} {
		p := Decide(c.world)
		if _, waits := p.Waiting["next"]; p.String() != c.plan || waits != c.waits {
			t.Errorf("%s: plan %q, waits %v, not %q", name, p, waits, c.plan)
		}
	}
}

// A kubelet ends who has the least priority, and then who uses most beyond what it asked for.
func TestWhoGoesWhenTheDiskIsFull(t *testing.T) {
	t.Parallel()
	on := fullness{disk: disk{total: 1000 << 20, files: 1000}, layers: true, volumes: true}
	user := func(name string, priority int32, request string, volumes, layers, files int64) diskUser {
		p := &corev1.Pod{Spec: corev1.PodSpec{Priority: &priority, Containers: []corev1.Container{{Name: "main"}}}}
		p.Name = name
		if request != "" {
			p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceEphemeralStorage: resource.MustParse(request)}
		}
		return userOf(p, written{volumes: map[string]int64{"v": volumes << 20}, containers: map[string]int64{"main": layers << 20}, files: files}, on)
	}
	for want, users := range map[string][]diskUser{
		"":            {user("little", 0, "", 5, 4, 9)},
		"most":        {user("less", 0, "", 100, 0, 0), user("most", 0, "", 60, 60, 0)},
		"unasked":     {user("asked", 0, "500Mi", 510, 0, 0), user("unasked", 0, "", 100, 0, 0)},
		"unimportant": {user("important", 10, "", 500, 0, 0), user("unimportant", 0, "", 100, 0, 0)},
		"many files":  {user("large", 0, "", 400, 0, 0), user("many files", 0, "", 0, 0, 500)},
	} {
		slices.Reverse(users)
		if u, found := worst(users); found != (want != "") || found && u.pod.Name != want {
			t.Errorf("%q: %+v", want, u.pod)
		}
	}
	on.layers = false
	if u := user("on another disk", 0, "", 0, 900, 0); u.share != 0 {
		t.Errorf("what is on another disk counts: %d", u.share)
	}
	d := disk{total: 100, free: 50, files: 100, filesFree: 4}
	if d.percent() != 96 {
		t.Errorf("%d %% of the inodes", d.percent())
	}
}
