package runtime

import (
	"net/netip"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

func TestPhase(t *testing.T) {
	t.Parallel()
	run := sandboxed(0, Running)
	for name, c := range map[string]struct {
		world World
		phase corev1.PodPhase
		ready bool
	}{
		"nothing yet":                    {world: scene(), phase: corev1.PodPending},
		"init containers run":            {world: scene(withInit, has(run, initial0("one", Running))), phase: corev1.PodPending},
		"an init container failed":       {world: scene(withInit, spec(never), has(run, initial0("one", Exited, code(1)))), phase: corev1.PodFailed},
		"and will be run again":          {world: scene(withInit, has(run, initial0("one", Exited, code(1)))), phase: corev1.PodPending},
		"it runs":                        {world: scene(has(run, main(0, Running, 0)), healthy), phase: corev1.PodRunning, ready: true},
		"it runs and is not ready":       {world: scene(has(run, main(0, Running, 0))), phase: corev1.PodRunning},
		"it runs in another sandbox":     {world: scene(has(sandboxed(1, Running), main(0, Running, 0)), healthy), phase: corev1.PodRunning},
		"it ended and is started again":  {world: scene(has(run, main(1, Exited, 0, backoff(time.Minute)))), phase: corev1.PodRunning},
		"it ended well":                  {world: scene(spec(never), has(run, main(0, Exited, 0))), phase: corev1.PodSucceeded},
		"it failed":                      {world: scene(spec(never), has(run, main(0, Exited, 0, code(2)))), phase: corev1.PodFailed},
		"it succeeded, policy OnFailure": {world: scene(spec(onFailure), has(run, main(0, Exited, 0))), phase: corev1.PodSucceeded},
		"a sidecar has not started":      {world: scene(withSidecar, has(run, initial0("one", Exited), initial0("side", Running))), phase: corev1.PodPending},
		"a sidecar is not ready": {world: scene(withSidecar, has(run, initial0("one", Exited), initial0("side", Running), main(0, Running, 0)), func(w *World) {
			w.Health = map[string]Health{"c0": {Started: true, Ready: true}, "i-side": {Started: true}}
		}), phase: corev1.PodRunning},
		"a sidecar is ready, too": {world: scene(withSidecar, has(run, initial0("one", Exited), initial0("side", Running), main(0, Running, 0)), func(w *World) {
			w.Health = map[string]Health{"c0": {Started: true, Ready: true}, "i-side": {Started: true, Ready: true}}
		}), phase: corev1.PodRunning, ready: true},
		"only a sidecar runs still":        {world: scene(withSidecar, spec(never), has(run, initial0("one", Exited), initial0("side", Running), main(0, Exited, 0)), started("i-side")), phase: corev1.PodRunning},
		"how a sidecar ended is no matter": {world: scene(withSidecar, spec(never), has(run, initial0("one", Exited), initial0("side", Exited, code(143)), main(0, Exited, 0))), phase: corev1.PodSucceeded},
		"its deadline passed":              {world: scene(late, has(run, main(0, Exited, 0, code(143)))), phase: corev1.PodFailed},
		"its deadline passed at its start": {world: scene(withInit, late, spec(onFailure), has(run, initial0("one", Exited, code(143)))), phase: corev1.PodFailed},
		"it was evicted":                   {world: scene(evicted, has(run, main(0, Exited, 0, code(137)))), phase: corev1.PodFailed},
		"it is being evicted":              {world: scene(evicted, has(run, main(0, Running, 0))), phase: corev1.PodRunning},
		"a gate is shut":                   {world: scene(has(run, main(0, Running, 0)), healthy, gated), phase: corev1.PodRunning},
		"a gate is open": {world: scene(has(run, main(0, Running, 0)), healthy, gated, func(w *World) {
			w.Pod.Status.Conditions = []corev1.PodCondition{{Type: "example.com/gate", Status: corev1.ConditionTrue}}
		}), phase: corev1.PodRunning, ready: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := Status(c.world, Decide(c.world), Addresses{Host: netip.MustParseAddr("192.0.2.1"), Pod: netip.MustParseAddr("10.128.0.2")})
			if s.Phase != c.phase {
				t.Errorf("phase %s, not %s", s.Phase, c.phase)
			}
			if s.PodIP != "10.128.0.2" || s.HostIP != "192.0.2.1" || s.StartTime == nil {
				t.Errorf("status %+v", s)
			}
			for _, cond := range s.Conditions {
				if cond.Type == corev1.PodReady && (cond.Status == corev1.ConditionTrue) != c.ready {
					t.Errorf("condition %+v", cond)
				}
			}
			again := c.world
			again.Pod = again.Pod.DeepCopy()
			again.Pod.Status = s
			again.Now = again.Now.Add(time.Second)
			if !ended(again.Pod) {
				for i, cond := range Status(again, Decide(c.world), Addresses{}).Conditions {
					if !cond.LastTransitionTime.Equal(&s.Conditions[i].LastTransitionTime) {
						t.Errorf("%s changes its time without changing", cond.Type)
					}
				}
			}
		})
	}
}

func evicted(w *World) { w.Evicted = "it wrote too much" }

func gated(w *World) {
	w.Pod.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: "example.com/gate"}}
}

func healthy(w *World) { w.Health = map[string]Health{"c0": {Started: true, Ready: true}} }

func TestWhatAContainerWaitsFor(t *testing.T) {
	t.Parallel()
	run := sandboxed(0, Running)
	for name, c := range map[string]struct {
		world  World
		reason string
	}{
		"its sandbox":         {scene(), "ContainerCreating"},
		"the init containers": {scene(withInit, has(run, initial0("one", Running))), "PodInitializing"},
		"its back-off":        {scene(has(run, main(1, Exited, 0, backoff(time.Minute)))), "CrashLoopBackOff"},
		"its image": {scene(has(run), func(w *World) {
			w.Images = map[string]Image{"web:1": {Err: "gone", Retry: epoch.Add(time.Minute)}}
		}), "ImagePullBackOff"},
		"its configuration": {scene(has(run), func(w *World) {
			w.Failures = map[string]Failure{"main": {Reason: "CreateContainerConfigError", Retry: epoch.Add(time.Minute)}}
		}), "CreateContainerConfigError"},
	} {
		s := Status(c.world, Decide(c.world), Addresses{})
		if w := s.ContainerStatuses[0].State.Waiting; w == nil || w.Reason != c.reason {
			t.Errorf("%s: %+v, not %s", name, s.ContainerStatuses[0].State, c.reason)
		}
	}
}

func TestHowAContainerEnded(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]Container{
		"Completed":          main(0, Exited, 0),
		"Error":              main(0, Exited, 0, code(1)),
		"OOMKilled":          main(0, Exited, 0, code(137), func(c *Container) { c.OOMKilled = true }),
		"ContainerCannotRun": main(0, Exited, 0, code(127), func(c *Container) { c.StartedAt = time.Time{} }),
	} {
		if got := terminated(c); got.Reason != want || got.ExitCode != c.ExitCode {
			t.Errorf("%+v, not %s", got, want)
		}
	}
}
