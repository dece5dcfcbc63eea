package runtime

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slipway.dev/slipway/api"
)

// Addresses are the ones a pod's status shows; an invalid one is left out.
type Addresses struct {
	Host, Pod netip.Addr
}

// Status is the pod's status as a kubelet would write it, from what was observed and
// from the plan, which knows why containers wait. A pod that has ended keeps its phase.
func Status(w World, p Plan, a Addresses) corev1.PodStatus {
	s := *w.Pod.Status.DeepCopy()
	if s.StartTime == nil {
		s.StartTime = &metav1.Time{Time: w.Now.Truncate(time.Second)}
	}
	if a.Host.IsValid() {
		s.HostIP = a.Host.String()
		s.HostIPs = []corev1.HostIP{{IP: s.HostIP}}
	}
	if a.Pod.IsValid() {
		s.PodIP = a.Pod.String()
		s.PodIPs = []corev1.PodIP{{IP: s.PodIP}}
	}
	if ended(w.Pod) {
		return s
	}
	s.QOSClass, s.ObservedGeneration = qosOf(&w.Pod.Spec), w.Pod.Generation
	sandbox, _ := w.sandbox()
	s.InitContainerStatuses = w.containerStatuses(p, Init, w.Pod.Spec.InitContainers, s.InitContainerStatuses, sandbox)
	s.ContainerStatuses = w.containerStatuses(p, App, w.Pod.Spec.Containers, s.ContainerStatuses, sandbox)
	s.Phase, s.Reason, s.Message = w.phase(s)
	w.conditions(&s)
	return s
}

func (w World) containerStatuses(p Plan, kind Kind, specs []corev1.Container, old []corev1.ContainerStatus, sandbox Container) []corev1.ContainerStatus {
	var all []corev1.ContainerStatus
	for _, c := range specs {
		s := corev1.ContainerStatus{Name: c.Name, Image: c.Image}
		for _, o := range old {
			if o.Name == c.Name {
				s = o
			}
		}
		all = append(all, w.containerStatus(p, kind, s, sandbox))
	}
	return all
}

// containerStatus brings s, the last known status, up to date.
func (w World) containerStatus(p Plan, kind Kind, s corev1.ContainerStatus, sandbox Container) corev1.ContainerStatus {
	started := false
	s.Ready, s.Started = false, &started
	goesOn := kind == App || w.sidecar(s.Name)
	o, found := w.latest(kind, s.Name)
	waiting, waits := p.Waiting[s.Name]
	if !found {
		if !waits {
			waiting.Reason = "ContainerCreating"
		}
		if s.State.Terminated != nil || s.State.Running != nil {
			s.LastTerminationState = lost(s)
		}
		s.State = corev1.ContainerState{Waiting: &waiting}
		return s
	}
	s.RestartCount = int32(o.Attempt)
	s.Image, s.ImageID, s.ContainerID = o.Image, o.ImageID, "docker://"+o.ID
	if last, ok := w.before(o); ok && last.State == Exited {
		s.LastTerminationState = corev1.ContainerState{Terminated: terminated(last)}
	}
	switch o.State {
	case Running:
		s.State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Time{Time: o.StartedAt.Truncate(time.Second)}}}
		health := w.Health[o.ID]
		started = health.Started
		s.Ready = goesOn && started && health.Ready && o.Sandbox == sandbox.ID
	case Created:
		s.State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}}
	case Exited:
		s.State = corev1.ContainerState{Terminated: terminated(o)}
		if waits {
			s.LastTerminationState = s.State
			s.State = corev1.ContainerState{Waiting: &waiting}
		}
		s.Ready = !goesOn && o.ExitCode == 0
	}
	return s
}

// lost is the end of a container that was removed by hand: nobody knows how it ended.
func lost(s corev1.ContainerStatus) corev1.ContainerState {
	if s.State.Terminated != nil {
		return s.State
	}
	return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
		ExitCode: 137, Reason: "ContainerStatusUnknown", Message: "the container was removed", ContainerID: s.ContainerID, StartedAt: s.State.Running.StartedAt,
	}}
}

func terminated(c Container) *corev1.ContainerStateTerminated {
	t := &corev1.ContainerStateTerminated{
		ExitCode: c.ExitCode, Reason: "Completed", ContainerID: "docker://" + c.ID,
		StartedAt:  metav1.Time{Time: c.StartedAt.Truncate(time.Second)},
		FinishedAt: metav1.Time{Time: c.FinishedAt.Truncate(time.Second)},
	}
	switch {
	case c.OOMKilled:
		t.Reason = "OOMKilled"
	case c.StartedAt.IsZero():
		t.Reason, t.Message = "ContainerCannotRun", c.Error
		if t.ExitCode == 0 {
			t.ExitCode = 128
		}
	case c.ExitCode != 0:
		t.Reason, t.Message = "Error", c.Error
	}
	if c.Message != "" {
		t.Message = c.Message
	}
	return t
}

// late says whether the pod ran longer than its active deadline.
func (w World) late(start *metav1.Time) bool {
	limit := w.Pod.Spec.ActiveDeadlineSeconds
	return limit != nil && start != nil && !w.Now.Before(start.Add(time.Duration(*limit)*time.Second))
}

// phase counts the containers as the kubelet's getPhase does.
func (w World) phase(s corev1.PodStatus) (phase corev1.PodPhase, reason, message string) {
	stopped := !slices.ContainsFunc(w.Containers, func(c Container) bool {
		return c.UID == w.Pod.UID && c.Kind != Sandbox && c.State == Running
	})
	switch {
	case !stopped:
	case w.Evicted != "":
		return corev1.PodFailed, evictedReason, w.Evicted
	case w.late(s.StartTime):
		return corev1.PodFailed, "DeadlineExceeded", "Pod was active on the node longer than the specified deadline"
	}
	var waiting, running, succeeded, failed int
	policy := w.Pod.Spec.RestartPolicy
	for _, c := range s.InitContainerStatuses {
		switch t := c.State.Terminated; {
		case w.sidecar(c.Name):
			if c.State.Running != nil {
				running++
			}
			if (c.Started == nil || !*c.Started) && len(w.ran(App)) == 0 {
				return corev1.PodPending, "", ""
			}
		case t == nil:
			if c.State.Running == nil && c.LastTerminationState.Terminated != nil || len(w.ran(App)) > 0 {
				continue
			}
			return corev1.PodPending, "", ""
		case t.ExitCode != 0 && policy == corev1.RestartPolicyNever:
			return corev1.PodFailed, "", ""
		case t.ExitCode != 0:
			return corev1.PodPending, "", ""
		}
	}
	for _, c := range s.ContainerStatuses {
		switch {
		case c.State.Running != nil:
			running++
		case c.State.Terminated != nil && c.State.Terminated.ExitCode == 0:
			succeeded++
		case c.State.Terminated != nil:
			failed++
		case c.LastTerminationState.Terminated != nil: // It is about to be started again.
			running++
		default:
			waiting++
		}
	}
	switch {
	case waiting > 0:
		return corev1.PodPending, "", ""
	case running > 0, policy == corev1.RestartPolicyAlways, policy == "":
		return corev1.PodRunning, "", ""
	case failed == 0:
		return corev1.PodSucceeded, "", ""
	case policy == corev1.RestartPolicyNever:
		return corev1.PodFailed, "", ""
	}
	return corev1.PodRunning, "", ""
}

func (w World) ran(kind Kind) (cs []Container) {
	for _, c := range w.Containers {
		if c.UID == w.Pod.UID && c.Kind == kind {
			cs = append(cs, c)
		}
	}
	return cs
}

// sidecar says whether the init container of that name is one.
func (w World) sidecar(name string) bool {
	spec, kind := specOf(w.Pod, name)
	return kind == Init && sidecar(spec)
}

// conditions sets the kubelet's conditions; one keeps its time while it keeps its status.
func (w World) conditions(s *corev1.PodStatus) {
	if sandbox, ok := w.sandbox(); ok && w.Attached == sandbox.ID {
		w.condition(s, corev1.PodReadyToStartContainers, corev1.ConditionTrue, "", "")
	} else {
		w.condition(s, corev1.PodReadyToStartContainers, corev1.ConditionFalse, "", "")
	}
	var waits, unready []string
	for _, c := range s.InitContainerStatuses {
		side := w.sidecar(c.Name)
		done := c.Ready || side && c.Started != nil && *c.Started
		if !done && len(w.ran(App)) == 0 {
			waits = append(waits, c.Name)
		}
		if side && !c.Ready {
			unready = append(unready, c.Name)
		}
	}
	for _, c := range s.ContainerStatuses {
		if !c.Ready {
			unready = append(unready, c.Name)
		}
	}
	ready, reason, message := corev1.ConditionTrue, "", ""
	if len(unready) > 0 {
		ready, reason, message = corev1.ConditionFalse, "ContainersNotReady", "containers with unready status: "+quoted(unready)
	}
	if s.Phase == corev1.PodSucceeded || s.Phase == corev1.PodFailed {
		ready, reason, message = corev1.ConditionFalse, "Pod"+map[corev1.PodPhase]string{corev1.PodSucceeded: "Completed", corev1.PodFailed: "Failed"}[s.Phase], ""
	}
	if s.Reason == evictedReason && strings.HasPrefix(s.Message, lowOnResource) {
		w.condition(s, corev1.DisruptionTarget, corev1.ConditionTrue, corev1.PodReasonTerminationByKubelet, s.Message)
	}
	w.condition(s, corev1.PodScheduled, corev1.ConditionTrue, "", "")
	if len(waits) > 0 {
		w.condition(s, corev1.PodInitialized, corev1.ConditionFalse, "ContainersNotInitialized", "containers with incomplete status: "+quoted(waits))
	} else {
		w.condition(s, corev1.PodInitialized, corev1.ConditionTrue, "", "")
	}
	w.condition(s, corev1.ContainersReady, ready, reason, message)
	if shut := w.shutGates(s); ready == corev1.ConditionTrue && len(shut) > 0 {
		ready, reason, message = corev1.ConditionFalse, "ReadinessGatesNotReady", "the status of pod readiness gates is not True: "+quoted(shut)
	}
	w.condition(s, corev1.PodReady, ready, reason, message)
	switch {
	case w.Asked == "":
	case w.HandedOver.IsZero():
		w.condition(s, api.HandOver, corev1.ConditionFalse, "Asked", w.Asked)
	default:
		w.condition(s, api.HandOver, corev1.ConditionTrue, "Answered", w.Asked)
	}
}

// shutGates are the pod's readiness gates whose condition, which somebody else sets, is
// not True.
func (w World) shutGates(s *corev1.PodStatus) (shut []string) {
	for _, g := range w.Pod.Spec.ReadinessGates {
		open := func(c corev1.PodCondition) bool {
			return c.Type == g.ConditionType && c.Status == corev1.ConditionTrue
		}
		if !slices.ContainsFunc(s.Conditions, open) {
			shut = append(shut, string(g.ConditionType))
		}
	}
	return shut
}

func (w World) condition(s *corev1.PodStatus, kind corev1.PodConditionType, status corev1.ConditionStatus, reason, message string) {
	for i := range s.Conditions {
		c := &s.Conditions[i]
		if c.Type != kind {
			continue
		}
		if c.Status != status {
			c.LastTransitionTime = metav1.Time{Time: w.Now.Truncate(time.Second)}
		}
		c.Status, c.Reason, c.Message = status, reason, message
		return
	}
	s.Conditions = append(s.Conditions, corev1.PodCondition{
		Type: kind, Status: status, Reason: reason, Message: message, LastTransitionTime: metav1.Time{Time: w.Now.Truncate(time.Second)},
	})
}

func quoted(names []string) string {
	s := "["
	for i, n := range names {
		if i > 0 {
			s += " "
		}
		s += n
	}
	return s + "]"
}
