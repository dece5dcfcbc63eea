package runtime

import (
	"cmp"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// lastMoment is what a container that is stopped after others has at least, when they
// used up the grace period.
const lastMoment = 2 * time.Second

// sidecar says whether an init container goes on beside the containers: it is started
// in its turn, the next when it has started, and it is stopped after all of them.
func sidecar(c *corev1.Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
}

// over says that every container has ended and none will be started again: nothing is
// left for the sidecars to stand beside.
func (w World) over() bool {
	for _, c := range w.Pod.Spec.Containers {
		if o, found := w.latest(App, c.Name); !found || restarts(w.Pod.Spec.RestartPolicy, o) {
			return false
		}
	}
	return true
}

// initialize runs the init containers, one after the other, and answers whether all
// have succeeded in this sandbox. It keeps the sidecars among them running.
func (w World) initialize(p *Plan, sandbox Container) (done bool) {
	begun := false
	for _, c := range w.Pod.Spec.Containers {
		o, found := w.latest(App, c.Name)
		begun = begun || found && o.Sandbox == sandbox.ID
	}
	for i := range w.Pod.Spec.InitContainers {
		c := &w.Pod.Spec.InitContainers[i]
		o, found := w.latest(Init, c.Name)
		here := found && o.Sandbox == sandbox.ID
		switch {
		case sidecar(c):
			w.keepInit(p, c, o, found && !here, corev1.RestartPolicyAlways)
			if begun || here && o.State == Running && w.Health[o.ID].Started {
				continue
			}
		case begun, here && o.State == Exited && o.ExitCode == 0:
			continue
		default:
			policy := w.Pod.Spec.RestartPolicy
			if policy != corev1.RestartPolicyNever {
				policy = corev1.RestartPolicyOnFailure
			}
			w.keepInit(p, c, o, found && !here, policy)
		}
		for _, later := range w.Pod.Spec.InitContainers[i+1:] {
			p.wait(later.Name, "PodInitializing", "")
		}
		return false
	}
	return true
}

func (w World) keepInit(p *Plan, c *corev1.Container, o Container, elsewhere bool, policy corev1.RestartPolicy) {
	if elsewhere {
		w.start(p, c, o.Attempt+1, 0) // A new sandbox begins with all of them.
		return
	}
	w.keep(p, c, Init, policy)
}

// stopAll asks the containers that run to stop, and kills them after their grace: the
// sidecars after the others, the last first, in what is left of the grace. It answers
// whether none runs. grace nil: each container's own.
func (w World) stopAll(p *Plan, cs []Container, grace *time.Duration, why string) (stopped bool) {
	var apps, sides []Container
	var first time.Time
	for _, c := range cs {
		if at, asked := w.Stopping[c.ID]; asked && (first.IsZero() || at.Before(first)) {
			first = at
		}
		switch {
		case c.Kind == Sandbox || c.State != Running:
		case c.Kind == App:
			apps = append(apps, c)
		default:
			sides = append(sides, c)
		}
	}
	of := func(c Container) time.Duration {
		if grace != nil {
			return *grace
		}
		return c.Grace
	}
	for _, c := range apps {
		w.stop(p, c, of(c), why)
	}
	if len(apps) > 0 || len(sides) == 0 {
		return len(apps) == 0
	}
	last := slices.MaxFunc(sides, func(a, b Container) int {
		return cmp.Or(cmp.Compare(w.turn(a), w.turn(b)), a.StartedAt.Compare(b.StartedAt))
	})
	g := of(last)
	if since, asked := w.Stopping[last.ID]; g > 0 && !first.IsZero() {
		if !asked {
			since = w.Now
		}
		g = min(g, max(first.Add(g).Sub(since), lastMoment))
	}
	w.stop(p, last, g, why)
	return false
}

// turn is a container's place among the init containers, as far as it is known.
func (w World) turn(c Container) int {
	if w.Pod == nil || w.Pod.UID != c.UID {
		return 0
	}
	return slices.IndexFunc(w.Pod.Spec.InitContainers, func(s corev1.Container) bool { return s.Name == c.Name })
}
