package table

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
)

func podCells(p *corev1.Pod, now time.Time) []any {
	ready, all := 0, len(p.Spec.Containers)
	for _, s := range p.Status.ContainerStatuses {
		if s.Ready && s.State.Running != nil {
			ready++
		}
	}
	for _, s := range p.Status.InitContainerStatuses {
		if !goesOn(p, s.Name) {
			continue
		}
		all++
		if s.Ready && s.Started != nil && *s.Started {
			ready++
		}
	}
	return []any{
		p.Name, fmt.Sprintf("%d/%d", ready, all), PodStatus(p), restarts(p, now), age(p.CreationTimestamp, now),
		none(p.Status.PodIP), none(p.Spec.NodeName), none(p.Status.NominatedNodeName), openGates(p),
	}
}

// openGates is how many of a pod's readiness gates are open.
func openGates(p *corev1.Pod) string {
	if len(p.Spec.ReadinessGates) == 0 {
		return "<none>"
	}
	open := 0
	for _, g := range p.Spec.ReadinessGates {
		if slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == g.ConditionType && c.Status == corev1.ConditionTrue
		}) {
			open++
		}
	}
	return fmt.Sprintf("%d/%d", open, len(p.Spec.ReadinessGates))
}

// PodStatus is the word in the STATUS column: the phase, unless a container or the
// deletion tells more. The rules are those of kubernetes' printPod, but for pods that were
// ended for a reason of their own (Evicted, DeadlineExceeded): it tells more than that
// their containers were killed.
func PodStatus(p *corev1.Pod) string {
	word := string(p.Status.Phase)
	if p.Status.Reason != "" {
		word = p.Status.Reason
	}
	initial, waiting := initStatus(p)
	if waiting {
		word = initial
	}
	if !waiting || initialized(p) {
		if w := containersStatus(p); w != "" && (p.Status.Phase != corev1.PodFailed || p.Status.Reason == "") {
			word = w
		}
	}
	if p.DeletionTimestamp != nil && p.Status.Phase != corev1.PodFailed && p.Status.Phase != corev1.PodSucceeded {
		word = "Terminating"
	}
	if word == "" {
		word = "Pending"
	}
	if word == "Pending" && p.Spec.NodeName != "" && len(p.Status.ContainerStatuses) == 0 {
		word = "ContainerCreating" // Its node has it, and has not told of it yet.
	}
	return word
}

// PodTrouble is what keeps a pod from doing what it is there for, and why; empty: nothing
// that a person had to look after.
func PodTrouble(p *corev1.Pod) string {
	word := PodStatus(p)
	if p.Status.Phase == corev1.PodFailed {
		return saying(word, p.Status.Message)
	}
	if p.DeletionTimestamp != nil || p.Status.Phase == corev1.PodSucceeded {
		return ""
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Message != "" {
			return saying(word, c.Message)
		}
	}
	for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		// A container that is merely being made says at most that its image is pulled.
		if w := s.State.Waiting; w != nil && w.Message != "" && !strings.HasPrefix(w.Message, "pulling image ") {
			return saying(w.Reason, w.Message)
		}
	}
	if strings.HasSuffix(word, "BackOff") || strings.HasSuffix(word, "Error") || word == "ContainerCannotRun" {
		return word
	}
	return ""
}

func saying(word, why string) string {
	if why == "" {
		return word
	}
	return word + ": " + why
}

// initialized says that the containers were started: what init containers do since then, be
// it that a sidecar was ended with its pod, holds nothing up.
func initialized(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodInitialized && c.Status == corev1.ConditionTrue
	})
}

// initStatus is how far the init containers are, and whether they still hold the pod.
func initStatus(p *corev1.Pod) (word string, waiting bool) {
	for i, s := range p.Status.InitContainerStatuses {
		t := s.State.Terminated
		switch {
		case t != nil && t.ExitCode == 0, goesOn(p, s.Name) && s.Started != nil && *s.Started:
			continue
		case t != nil:
			return "Init:" + ended(t), true
		case s.State.Waiting != nil && s.State.Waiting.Reason != "" && s.State.Waiting.Reason != "PodInitializing":
			return "Init:" + s.State.Waiting.Reason, true
		}
		return fmt.Sprintf("Init:%d/%d", i, len(p.Spec.InitContainers)), true
	}
	return "", false
}

func containersStatus(p *corev1.Pod) (word string) {
	running := false
	for i := len(p.Status.ContainerStatuses) - 1; i >= 0; i-- {
		s := p.Status.ContainerStatuses[i]
		switch {
		case s.State.Waiting != nil && s.State.Waiting.Reason != "":
			word = s.State.Waiting.Reason
		case s.State.Terminated != nil:
			word = ended(s.State.Terminated)
		case s.Ready && s.State.Running != nil:
			running = true
		}
	}
	if word == "Completed" && running {
		word = "NotReady"
		for _, c := range p.Status.Conditions {
			if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
				word = "Running"
			}
		}
	}
	return word
}

func ended(t *corev1.ContainerStateTerminated) string {
	switch {
	case t.Reason != "":
		return t.Reason
	case t.Signal != 0:
		return fmt.Sprintf("Signal:%d", t.Signal)
	}
	return fmt.Sprintf("ExitCode:%d", t.ExitCode)
}

// goesOn says that an init container runs as long as the pod: a sidecar.
func goesOn(p *corev1.Pod, name string) bool {
	return slices.ContainsFunc(p.Spec.InitContainers, func(c corev1.Container) bool {
		return c.Name == name && c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
	})
}

// restarts counts those of the init containers until they are over, then those of the
// containers and sidecars.
func restarts(p *corev1.Pod, now time.Time) string {
	n := 0
	var last metav1.Time
	_, waiting := initStatus(p)
	initial := waiting && !initialized(p)
	for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		isInit := slices.ContainsFunc(p.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == s.Name })
		if isInit && !initial && !goesOn(p, s.Name) {
			continue
		}
		n += int(s.RestartCount)
		if t := s.LastTerminationState.Terminated; t != nil && last.Before(&t.FinishedAt) {
			last = t.FinishedAt
		}
	}
	if n > 0 && !last.IsZero() {
		return fmt.Sprintf("%d (%s ago)", n, duration.HumanDuration(now.Sub(last.Time)))
	}
	return strconv.Itoa(n)
}

func none(s string) string {
	if s == "" {
		return "<none>"
	}
	return s
}
