package runtime

import (
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Back-off between restarts, as the kubelet's: the first restart is immediate, the
// next waits 10 s, doubling up to 5 min; who ran for 10 min begins anew.
const (
	firstBackoff = 10 * time.Second
	maxBackoff   = 5 * time.Minute
	resetBackoff = 10 * time.Minute
)

// Decide says what brings the node nearer to what is wanted under one pod's name. After
// the actions the world is to be looked at again, until there are none.
func Decide(w World) Plan {
	var p Plan
	if w.clearStrangers(&p) {
		return p
	}
	switch {
	case w.Pod == nil:
	case w.Pod.DeletionTimestamp != nil:
		w.terminate(&p)
	case ended(w.Pod):
		w.settle(&p)
	default:
		w.run(&p)
	}
	return p
}

func ended(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// clearStrangers clears what belongs to no pod that is wanted: pods that were deleted
// while the agent was away, or whose name another one has now. While there is any,
// nothing else is done, since names and addresses may be theirs.
func (w World) clearStrangers(p *Plan) (found bool) {
	var wanted types.UID
	if w.Pod != nil {
		wanted = w.Pod.UID
	}
	var strangers []Container
	for _, c := range w.Containers {
		if c.UID != wanted {
			strangers = append(strangers, c)
		}
	}
	var files []Action
	for _, uid := range w.Files {
		if uid != wanted {
			files = append(files, Action{Verb: RemoveFiles, Name: string(uid)})
		}
	}
	if len(strangers) == 0 && len(files) == 0 {
		return false
	}
	if w.stopAll(p, strangers, nil, "its pod is gone") {
		p.do(Action{Verb: Detach})
		w.removeAll(p, strangers)
		p.Actions = append(p.Actions, files...)
	}
	return true
}

func (w World) stop(p *Plan, c Container, grace time.Duration, why string) {
	since, asked := w.Stopping[c.ID]
	switch {
	case !asked && grace > 0:
		p.do(Action{Verb: StopContainer, Name: c.Name, ID: c.ID, Grace: grace, Why: why})
		p.again(grace)
	case !asked, grace <= 0, !w.Now.Before(since.Add(grace)):
		p.do(Action{Verb: KillContainer, Name: c.Name, ID: c.ID, Why: why})
	default:
		p.again(since.Add(grace).Sub(w.Now))
	}
}

// removeAll removes containers, the sandbox last.
func (w World) removeAll(p *Plan, cs []Container) {
	for _, sandbox := range []bool{false, true} {
		for _, c := range cs {
			if (c.Kind == Sandbox) == sandbox {
				p.do(Action{Verb: RemoveContainer, Name: c.Name, ID: c.ID})
			}
		}
	}
}

// terminate ends a pod that is being deleted: when routers and rules have let go of it, its
// containers, then everything else, then the object.
func (w World) terminate(p *Plan) {
	grace := graceOf(w.Pod)
	runs := false
	for _, c := range w.Containers {
		runs = runs || c.Kind != Sandbox && c.State == Running
	}
	if rest := w.untilStop(grace); runs && grace > 0 && rest > 0 {
		p.again(rest)
		return
	}
	if runs && grace > 0 && w.HandedOver.IsZero() && len(w.Stopping) == 0 {
		p.do(Action{Verb: TellLate, Why: strings.Join(w.Holders, ", ")})
	}
	if !w.stopAll(p, w.Containers, &grace, "its pod is being deleted") {
		return
	}
	if left := len(w.Containers) > 0 || len(w.Files) > 0; left {
		// The sandbox answers who still has a connection, and then the network does.
		p.do(Action{Verb: Detach})
		w.removeAll(p, w.Containers)
		p.do(Action{Verb: RemoveFiles, Name: string(w.Pod.UID)})
	}
	if !w.Deleted {
		p.do(Action{Verb: DeletePod})
	}
}

// settle clears what a pod that has ended needs no more: its sandbox, its address, its
// volumes. Its containers stay, for their logs.
func (w World) settle(p *Plan) {
	grace := graceOf(w.Pod)
	if !w.stopAll(p, w.Containers, &grace, "its pod has ended") {
		return
	}
	var sandboxes []Container
	for _, c := range w.Containers {
		if c.Kind == Sandbox {
			sandboxes = append(sandboxes, c)
		}
	}
	if len(sandboxes) > 0 || w.Leftovers {
		p.do(Action{Verb: Detach})
		w.removeAll(p, sandboxes)
	}
	if w.Leftovers {
		p.do(Action{Verb: ClearFiles, Name: string(w.Pod.UID)})
	}
}

// run brings up a pod that is wanted.
func (w World) run(p *Plan) {
	if w.Evicted != "" {
		grace := evictionGrace
		w.stopAll(p, w.Containers, &grace, w.Evicted)
		return
	}
	if limit := w.Pod.Spec.ActiveDeadlineSeconds; limit != nil && w.Pod.Status.StartTime != nil {
		rest := w.Pod.Status.StartTime.Add(time.Duration(*limit) * time.Second).Sub(w.Now)
		if rest <= 0 {
			grace := graceOf(w.Pod)
			w.stopAll(p, w.Containers, &grace, "its pod ran longer than its active deadline")
			return
		}
		p.again(rest)
	}
	sandbox, ok := w.sandbox()
	if w.clearOld(p, sandbox.ID) {
		return
	}
	if !ok {
		w.newSandbox(p)
		return
	}
	if w.Attached != sandbox.ID {
		p.do(Action{Verb: Attach, ID: sandbox.ID})
		return
	}
	if w.openGates(p, sandbox.ID) {
		return
	}
	if w.over() {
		grace := graceOf(w.Pod)
		w.stopAll(p, w.Containers, &grace, "the pod's containers have ended")
		return
	}
	if w.initialize(p, sandbox) {
		w.keepAll(p)
	} else {
		for _, c := range w.Pod.Spec.Containers {
			if _, found := w.latest(App, c.Name); !found {
				p.wait(c.Name, reasonInitializing(w.Pod), "")
			}
		}
	}
}

// keepAll keeps the containers running. As with the kubelet, one is not started for the
// first time before the post-start hooks of those that the pod names before it have ended.
func (w World) keepAll(p *Plan) {
	held := false
	for i := range w.Pod.Spec.Containers {
		c := &w.Pod.Spec.Containers[i]
		o, found := w.latest(App, c.Name)
		if held && !found {
			p.wait(c.Name, reasonInitializing(w.Pod), "")
			continue
		}
		w.keep(p, c, App, w.Pod.Spec.RestartPolicy)
		held = held || hooked(c) && w.hookDue(p, c.Name, o, found)
	}
}

// hooked says whether the container has a post-start hook.
func hooked(c *corev1.Container) bool { return c.Lifecycle != nil && c.Lifecycle.PostStart != nil }

// hookDue says whether a container's post-start hook is still to come, or runs. One that
// cannot be started holds nobody up.
func (w World) hookDue(p *Plan, name string, o Container, found bool) bool {
	if !found {
		why := p.Waiting[name].Reason
		return why == "" || why == "ContainerCreating"
	}
	return o.State == Created || o.State == Running && !w.Health[o.ID].Hooked
}

// openGates lets containers go on that an agent before this one left waiting.
func (w World) openGates(p *Plan, sandbox string) (any bool) {
	for _, c := range w.Containers {
		if c.Held && c.Sandbox == sandbox {
			p.do(Action{Verb: OpenGate, Name: c.Name, ID: c.ID})
			any = true
		}
	}
	return any
}

func reasonInitializing(pod *corev1.Pod) string {
	if len(pod.Spec.InitContainers) > 0 {
		return "PodInitializing"
	}
	return "ContainerCreating"
}

// clearOld kills what is joined to another sandbox than the one that runs, and removes
// dead sandboxes and dead containers except the two newest of a name: the newest says
// what to do next, and the one before is what `logs --previous` reads.
func (w World) clearOld(p *Plan, sandbox string) (killed bool) {
	for _, c := range w.Containers {
		switch {
		case c.Kind == Sandbox && c.ID != sandbox:
			p.do(Action{Verb: RemoveContainer, ID: c.ID})
		case c.Kind == Sandbox:
		case c.State == Running && c.Sandbox != sandbox:
			p.do(Action{Verb: KillContainer, Name: c.Name, ID: c.ID, Why: "its sandbox is gone"})
			killed = true
		case c.State == Created && c.Sandbox != sandbox:
			p.do(Action{Verb: RemoveContainer, Name: c.Name, ID: c.ID})
		case c.State != Running:
			newest, _ := w.latest(c.Kind, c.Name)
			if last, _ := w.before(newest); c.ID != newest.ID && c.ID != last.ID {
				p.do(Action{Verb: RemoveContainer, Name: c.Name, ID: c.ID})
			}
		}
	}
	return killed
}

// newSandbox makes a sandbox unless every container has ended for good.
func (w World) newSandbox(p *Plan) {
	wanted := false
	for _, c := range w.Pod.Spec.Containers {
		o, found := w.latest(App, c.Name)
		wanted = wanted || !found || restarts(w.Pod.Spec.RestartPolicy, o)
	}
	for _, c := range w.Pod.Spec.InitContainers {
		if o, found := w.latest(Init, c.Name); found && !sidecar(&c) && w.Pod.Spec.RestartPolicy == corev1.RestartPolicyNever && o.ExitCode != 0 {
			wanted = false
		}
	}
	if !wanted {
		return
	}
	for _, c := range w.Pod.Spec.Containers {
		p.wait(c.Name, reasonInitializing(w.Pod), "")
	}
	if f, failed := w.Failures[string(Sandbox)]; failed && w.Now.Before(f.Retry) {
		p.again(f.Retry.Sub(w.Now))
		for _, c := range w.Pod.Spec.Containers {
			p.wait(c.Name, f.Reason, f.Message)
		}
		return
	}
	attempt := 0
	if old, found := w.latest(Sandbox, ""); found {
		attempt = old.Attempt + 1
	}
	p.do(Action{Verb: CreateSandbox, Attempt: attempt})
}

func restarts(policy corev1.RestartPolicy, c Container) bool {
	switch {
	case c.State != Exited:
		return true
	case policy == corev1.RestartPolicyNever:
		return false
	case policy == corev1.RestartPolicyOnFailure:
		return c.ExitCode != 0
	}
	return true
}

// keep keeps a container running as its restart policy says.
func (w World) keep(p *Plan, c *corev1.Container, kind Kind, policy corev1.RestartPolicy) {
	o, found := w.latest(kind, c.Name)
	switch {
	case !found:
		w.start(p, c, w.attemptsBefore(c.Name), 0)
	case o.State == Created:
		p.do(Action{Verb: ResumeContainer, Name: c.Name, ID: o.ID})
	case o.State == Running && o.Hash != hashOf(c):
		w.stop(p, o, graceOf(w.Pod), "its image changed")
	case o.State == Running && w.Health[o.ID].Failed != "":
		grace := graceOf(w.Pod)
		if own := w.Health[o.ID].Grace; own > 0 {
			grace = own
		}
		w.stop(p, o, grace, w.Health[o.ID].Failed)
	case o.State == Running:
	case restarts(policy, o):
		w.restart(p, c, o)
	}
}

// attemptsBefore is the restart count of a container of which nothing is left: it was
// removed by hand, and the pod's status still knows it.
func (w World) attemptsBefore(name string) int {
	for _, s := range append(w.Pod.Status.ContainerStatuses, w.Pod.Status.InitContainerStatuses...) {
		if s.Name == name && s.ContainerID != "" {
			return int(s.RestartCount) + 1
		}
	}
	return 0
}

func (w World) restart(p *Plan, c *corev1.Container, o Container) {
	delay := o.Backoff
	if o.FinishedAt.Sub(o.StartedAt) >= resetBackoff && !o.StartedAt.IsZero() {
		delay = 0
	}
	// What ended in the future ended before the clock was set back; nobody knows when.
	if rest := o.FinishedAt.Add(delay).Sub(w.Now); rest > 0 && rest <= delay {
		p.wait(c.Name, "CrashLoopBackOff", "back-off "+delay.String()+" restarting failed container "+c.Name)
		p.again(rest)
		return
	}
	next := min(2*delay, maxBackoff)
	if delay == 0 {
		next = firstBackoff
	}
	w.start(p, c, o.Attempt+1, next)
}
