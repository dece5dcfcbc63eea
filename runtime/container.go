package runtime

import (
	"crypto/sha256"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Labels of every container of a pod; see the package's documentation.
const (
	LabelInstance   = "slipway.dev/instance"
	LabelNamespace  = "slipway.dev/pod-namespace"
	LabelPod        = "slipway.dev/pod-name"
	LabelUID        = "slipway.dev/pod-uid"
	LabelKind       = "slipway.dev/kind"
	LabelContainer  = "slipway.dev/container"
	LabelAttempt    = "slipway.dev/attempt"
	LabelHash       = "slipway.dev/hash"
	LabelSandbox    = "slipway.dev/sandbox"
	LabelBackoff    = "slipway.dev/backoff"
	LabelGrace      = "slipway.dev/grace"
	LabelGeneration = "slipway.dev/generation"
	LabelMessage    = "slipway.dev/message-policy"
	LabelGate       = "slipway.dev/gate"
)

// Kind says what a container is in its pod.
type Kind string

// The kinds of containers.
const (
	Sandbox Kind = "sandbox"
	Init    Kind = "init"
	App     Kind = "app"
	// Pooled is a sandbox that was made before its pod. It has no pod's labels: whose it is,
	// if anybody's, is written in the pod's directory.
	Pooled Kind = "pooled"
)

// State is a container's state; Docker's other ones are mapped to these.
type State string

// The states of a container.
const (
	// Created was not started yet.
	Created State = "created"
	Running State = "running"
	// Exited ran and ended, or could not be started.
	Exited State = "exited"
)

// Container is a container as it was observed.
type Container struct {
	ID      string
	UID     types.UID
	Kind    Kind
	Name    string
	Attempt int
	Hash    string
	// Sandbox is the id of the sandbox that it is joined to.
	Sandbox string
	// Backoff is how long after its end the next attempt may start.
	Backoff time.Duration
	// Grace is how long it may take to stop.
	Grace time.Duration

	State      State
	PID        int
	ExitCode   int32
	OOMKilled  bool
	Error      string
	StartedAt  time.Time
	FinishedAt time.Time
	// Message is what it left to say when it ended; see [corev1.Container]'s
	// terminationMessagePath.
	Message string
	// MessagePolicy says where it is looked for.
	MessagePolicy string

	Image      string
	ImageID    string
	StopSignal string

	// Pooled: it is a sandbox from the pool, which has another host name than the pod.
	Pooled bool
	// Program is what it becomes behind the gate that it began at; empty: there is none.
	Program string
	// Held: it waits at its gate.
	Held bool
}

// attemptOf is which container of its name and pod one is; 0 is the first.
func attemptOf(labels map[string]string) int {
	n, _ := strconv.Atoi(labels[LabelAttempt])
	return n
}

// observed reads a container from Docker's answer.
func observed(c container.InspectResponse) Container {
	l := c.Config.Labels
	backoff, _ := time.ParseDuration(l[LabelBackoff])
	grace, _ := time.ParseDuration(l[LabelGrace])
	o := Container{
		ID: c.ID, UID: types.UID(l[LabelUID]), Kind: Kind(l[LabelKind]), Name: l[LabelContainer], Attempt: attemptOf(l),
		Hash: l[LabelHash], Sandbox: l[LabelSandbox], Backoff: backoff, Grace: grace,
		PID: c.State.Pid, ExitCode: int32(c.State.ExitCode), OOMKilled: c.State.OOMKilled, Error: c.State.Error,
		StartedAt: moment(c.State.StartedAt), FinishedAt: moment(c.State.FinishedAt),
		Image: c.Config.Image, ImageID: c.Image, StopSignal: c.Config.StopSignal,
		MessagePolicy: l[LabelMessage], Program: l[LabelGate],
	}
	switch {
	case c.State.Running, c.State.Paused, c.State.Restarting:
		o.State = Running
	case c.State.Status == container.StateCreated && c.State.ExitCode == 0 && c.State.Error == "":
		o.State = Created
	default:
		o.State = Exited
	}
	if o.State == Exited && o.FinishedAt.IsZero() {
		// It could not be started: Docker notes no end.
		o.FinishedAt = moment(c.Created)
	}
	return o
}

// moment parses Docker's time; its zero time and what is no time are Go's zero time.
func moment(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || t.Year() <= 1 {
		return time.Time{}
	}
	return t.UTC()
}

// name is the container's name in Docker. It is made from what the container is, so
// that a step that is repeated after a crash finds what it made.
func containerName(instance string, pod *corev1.Pod, kind Kind, name string, attempt int) string {
	if kind == Sandbox {
		name = "POD"
	}
	return strings.Join([]string{"slipway", instance, name, pod.Name, pod.Namespace, string(pod.UID), strconv.Itoa(attempt)}, "_")
}

// hashOf covers what may be changed in a running pod: a container's image.
func hashOf(c *corev1.Container) string {
	return fmt.Sprintf("%.8x", sha256.Sum256([]byte(c.Name+"\x00"+c.Image)))
}

// graceOf is how long the pod's containers may take to stop.
func graceOf(pod *corev1.Pod) time.Duration {
	for _, s := range []*int64{pod.DeletionGracePeriodSeconds, pod.Spec.TerminationGracePeriodSeconds} {
		if s != nil {
			return time.Duration(*s) * time.Second
		}
	}
	return corev1.DefaultTerminationGracePeriodSeconds * time.Second
}
