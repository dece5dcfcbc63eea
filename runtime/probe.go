package runtime

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"slipway.dev/slipway/state/loop"
)

// eager is how often at most a probe is made until it succeeds for the first time, so
// that a pod is ready soon after it could be, whatever its period is.
const eager = 500 * time.Millisecond

// probers are the probes of the containers that run.
type probers struct {
	mu   sync.Mutex
	byID map[string]*prober // guarded by mu
}

// prober makes the probes of one container until it is cancelled.
type prober struct {
	agent  *Agent
	key    loop.Key
	pod    *corev1.Pod
	spec   *corev1.Container
	of     Container
	pid    int // of the sandbox
	cancel context.CancelFunc

	mu     sync.Mutex
	health Health // guarded by mu
}

// health starts and ends probers as the world needs, and collects what they found.
func (a *Agent) health(key loop.Key, w World) map[string]Health {
	found := map[string]Health{}
	a.probes.mu.Lock()
	defer a.probes.mu.Unlock()
	if a.probes.byID == nil {
		a.probes.byID = map[string]*prober{}
	}
	for _, c := range w.probed() {
		spec, _ := specOf(w.Pod, c.Name)
		if spec == nil {
			continue
		}
		p := a.probes.byID[c.ID]
		if p == nil {
			sandbox, _ := w.sandbox()
			p = &prober{agent: a, key: key, pod: w.Pod, spec: spec, of: c, pid: sandbox.PID, health: initial(w.Pod, spec, c)}
			if w.Attached == sandbox.ID {
				var ctx context.Context
				ctx, p.cancel = context.WithCancel(a.ctx)
				a.probes.byID[c.ID] = p
				a.work.Go(func() { p.run(ctx) })
			}
		}
		found[c.ID] = p.snapshot()
	}
	for id, p := range a.probes.byID {
		if _, wanted := found[id]; p.key == key && !wanted {
			p.cancel()
			delete(a.probes.byID, id)
		}
	}
	return found
}

// probed are the containers that run and are to go on running.
func (w World) probed() []Container {
	if w.Pod == nil || w.Pod.DeletionTimestamp != nil || ended(w.Pod) {
		return nil
	}
	sandbox, ok := w.sandbox()
	going := w.ran(App)
	for _, c := range w.ran(Init) {
		if spec, _ := specOf(w.Pod, c.Name); spec != nil && sidecar(spec) {
			going = append(going, c)
		}
	}
	return slices.DeleteFunc(going, func(c Container) bool { return !ok || c.State != Running || c.Sandbox != sandbox.ID })
}

// initial is a container's health before its first probe: what its pod's status says
// of it if the agent adopted it, so that a restart of the agent makes nothing unready,
// and runs no post-start hook again that was seen to end.
func initial(pod *corev1.Pod, spec *corev1.Container, c Container) Health {
	h := Health{Hooked: !hooked(spec), Started: !hooked(spec) && spec.StartupProbe == nil, Ready: spec.ReadinessProbe == nil}
	for _, s := range slices.Concat(pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses) {
		if s.ContainerID == "docker://"+c.ID {
			h.Started = h.Started || s.Started != nil && *s.Started
			h.Ready = h.Ready || s.Ready
			h.Hooked = h.Hooked || h.Started
		}
	}
	return h
}

// afterStart runs the post-start hook unless it has ended, and answers whether the
// container may go on: one whose hook failed is restarted, as an unhealthy one is. A
// hook that an agent that was killed did not see end is run again: at least once.
func (p *prober) afterStart(ctx context.Context) bool {
	if p.snapshot().Hooked {
		return true
	}
	err := p.agent.handle(ctx, p.pod, p.spec, p.of.ID, p.pid, *p.spec.Lifecycle.PostStart)
	for errors.As(err, &unasked{}) && ctx.Err() == nil { // The engine is away: the hook has still to run.
		select {
		case <-ctx.Done():
		case <-time.After(eager):
			err = p.agent.handle(ctx, p.pod, p.spec, p.of.ID, p.pid, *p.spec.Lifecycle.PostStart)
		}
	}
	switch {
	case ctx.Err() != nil:
		return false
	case err != nil:
		p.agent.say(p.pod, corev1.EventTypeWarning, "FailedPostStartHook", "PostStart hook of container %s failed: %v", p.of.Name, err)
		p.set(func(h *Health) { h.Failed = "its post-start hook failed" })
		return false
	}
	p.set(func(h *Health) { h.Hooked, h.Started = true, p.spec.StartupProbe == nil })
	return true
}

func (p *prober) snapshot() Health {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.health
}

// set changes the health, and has the pod looked at if it did change.
func (p *prober) set(change func(*Health)) {
	p.mu.Lock()
	before := p.health
	change(&p.health)
	changed := p.health != before
	p.mu.Unlock()
	if changed {
		p.agent.wake(p.key)
	}
}

func (p *prober) run(ctx context.Context) {
	if !p.afterStart(ctx) {
		return
	}
	if probe := p.spec.StartupProbe; probe != nil && !p.snapshot().Started {
		startup, stop := context.WithCancel(ctx)
		p.repeat(startup, probe, "Startup", false, func(ok bool, message string) {
			if ok {
				p.set(func(h *Health) { h.Started = true })
			} else {
				p.set(func(h *Health) { h.Failed, h.Grace = "its startup probe failed: "+message, ownGrace(probe) })
			}
			stop()
		})
		stop()
		if !p.snapshot().Started {
			return
		}
	}
	var wg sync.WaitGroup
	if probe := p.spec.ReadinessProbe; probe != nil {
		wg.Go(func() {
			p.repeat(ctx, probe, "Readiness", p.snapshot().Ready, func(ok bool, _ string) { p.set(func(h *Health) { h.Ready = ok }) })
		})
	}
	if probe := p.spec.LivenessProbe; probe != nil {
		wg.Go(func() {
			p.repeat(ctx, probe, "Liveness", true, func(ok bool, message string) {
				if !ok {
					p.set(func(h *Health) { h.Failed, h.Grace = "its liveness probe failed: "+message, ownGrace(probe) })
				}
			})
		})
	}
	wg.Wait()
}

// repeat makes a probe every period and reports when, by its thresholds, its result
// is another than before.
func (p *prober) repeat(ctx context.Context, probe *corev1.Probe, kind string, good bool, report func(ok bool, message string)) {
	initial := seconds(probe.InitialDelaySeconds, 0)
	// No longer than it says: the clock may have been set back since the start.
	delay := min(p.of.StartedAt.Add(initial).Sub(p.agent.Clock()), initial)
	period := seconds(probe.PeriodSeconds, 10)
	ever := good
	for run, last := 0, good; ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(max(delay, 0)):
		}
		err := p.once(ctx, probe)
		if ctx.Err() != nil {
			return
		}
		if errors.As(err, &unasked{}) {
			// Nothing is known, and nothing changes: the engine's failures are not the container's.
			p.agent.Recorder.Event(p.pod, corev1.EventTypeWarning, "Unhealthy", "%s probe errored and resulted in Unknown state: %v", kind, err)
			delay = period
			continue
		}
		if ok := err == nil; ok == last {
			run++
		} else {
			run, last = 1, ok
		}
		delay = period
		if err != nil {
			if ever || kind == "Startup" {
				p.agent.Recorder.Event(p.pod, corev1.EventTypeWarning, "Unhealthy", "%s probe failed: %v", kind, err)
			}
			// A startup probe's failures are counted in its periods, however early it is made.
			if kind == "Readiness" && !ever {
				delay = min(period, eager)
			}
			if run >= threshold(probe.FailureThreshold, 3) && (good || kind == "Startup") {
				good = false
				report(false, err.Error())
			}
			continue
		}
		if run >= threshold(probe.SuccessThreshold, 1) && !good {
			good, ever = true, true
			report(true, "")
		}
	}
}

// ownGrace is the grace period of a probe that has one of its own.
func ownGrace(probe *corev1.Probe) time.Duration {
	if g := probe.TerminationGracePeriodSeconds; g != nil {
		return time.Duration(*g) * time.Second
	}
	return 0
}

func seconds(n int32, otherwise time.Duration) time.Duration {
	if n <= 0 {
		return otherwise * time.Second
	}
	return time.Duration(n) * time.Second
}

func threshold(n int32, otherwise int) int {
	if n <= 0 {
		return otherwise
	}
	return int(n)
}

func (p *prober) once(ctx context.Context, probe *corev1.Probe) error {
	ctx, cancel := context.WithTimeout(ctx, seconds(probe.TimeoutSeconds, 1))
	defer cancel()
	if probe.GRPC != nil {
		return p.agent.askGRPC(ctx, p.pod, p.pid, probe.GRPC)
	}
	return p.agent.handle(ctx, p.pod, p.spec, p.of.ID, p.pid, corev1.LifecycleHandler{
		Exec: probe.Exec, HTTPGet: probe.HTTPGet, TCPSocket: probe.TCPSocket,
	})
}
