package runtime

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// World is everything that [Decide] looks at: what is wanted under a pod's name, and
// what there is.
type World struct {
	Now time.Time
	// Pod is what is wanted; nil: no pod of this name is bound to this node.
	Pod *corev1.Pod
	// Containers are all of this node's containers with the pod's name, of whatever pod.
	Containers []Container
	// Files are the uids of the pods with this name that have a directory.
	Files []types.UID
	// Leftovers: of a pod that has ended, there are files that nobody needs any more.
	Leftovers bool
	// Attached is the id of the sandbox that the network is attached to; empty: unknown.
	Attached string
	// Evicted says why the pod may not go on; empty: it may.
	Evicted string
	// Images are the states of the images of containers that do not run.
	Images map[string]Image
	// Wanted says since when a container with pull policy Always wants its image pulled.
	Wanted map[string]time.Time
	// Failures are attempts to make a container that failed before Docker had one.
	Failures map[string]Failure
	// Stopping says since when a container, by id, is asked to stop.
	Stopping map[string]time.Time
	// Health is what the probes of a container, by id, found.
	Health map[string]Health
	// DeletionSeen is when the pod's deletion was first seen, and HandedOver since when no
	// router and no rules lead to it; zero: some may. Drain is how long after that the
	// containers go on.
	DeletionSeen, HandedOver time.Time
	Drain                    time.Duration
	// Holders are who led to it, or may have, when that was last looked at.
	Holders []string
	// Asked is what other nodes are asked before the pod is stopped; empty: nothing.
	Asked string
	// Deleted says that the object was deleted and only waits for its finalizers.
	Deleted bool
}

// Image is the state of an image on this node.
type Image struct {
	Present bool
	Pulling bool
	// User, Entrypoint, Cmd and Env are what a container has of it.
	User            string
	Entrypoint, Cmd []string
	Env             []string
	// PulledAt is when it was last pulled in this agent's life.
	PulledAt time.Time
	// Err is why the last pull failed, and Retry when the next is due.
	Err   string
	Retry time.Time
}

// Failure says why a container could not be made, with the reason of its waiting
// state, and when to try again.
type Failure struct {
	Reason, Message string
	Retry           time.Time
}

// Health is what the probes of a container found.
type Health struct {
	// Hooked: its post-start hook has ended; true without one.
	Hooked bool
	// Started and Ready are the results of startup and readiness probe; true without one,
	// once it is hooked.
	Started, Ready bool
	// Failed says why the container must be restarted; empty: it need not be.
	Failed string
	// Grace is how long it may take to stop then; 0: as long as the pod allows.
	Grace time.Duration
}

// Verb is what an [Action] does.
type Verb string

// The verbs.
const (
	CreateSandbox   Verb = "create-sandbox"
	Attach          Verb = "attach"
	Detach          Verb = "detach"
	PullImage       Verb = "pull"
	StartContainer  Verb = "start"  // makes it and starts it
	ResumeContainer Verb = "resume" // starts one that was made
	StopContainer   Verb = "stop"   // asks it to stop: pre-stop hook, then its stop signal
	KillContainer   Verb = "kill"
	RemoveContainer Verb = "remove"
	OpenGate        Verb = "open-gate" // lets one go on that waits
	RemoveFiles     Verb = "remove-files"
	ClearFiles      Verb = "clear-files" // those that only one that runs needs
	DeletePod       Verb = "delete-pod"
	TellLate        Verb = "tell-late" // says who may lead to the pod still
)

// Action is one step. Each may be repeated.
type Action struct {
	Verb Verb
	// Name is the container's name in the pod, or the uid for remove-files and clear-files.
	Name string
	// ID is Docker's id of the container.
	ID string
	// Attempt and Backoff are those of the container to make.
	Attempt int
	Backoff time.Duration
	// Grace is how long it may take to stop.
	Grace time.Duration
	// Why is told to people.
	Why string
}

func (a Action) String() string {
	words := []string{string(a.Verb)}
	for _, w := range []string{a.Name, a.ID} {
		if w != "" {
			words = append(words, w)
		}
	}
	if a.Verb == StartContainer || a.Verb == CreateSandbox {
		words = append(words, fmt.Sprintf("#%d", a.Attempt))
	}
	if a.Backoff > 0 {
		words = append(words, "backoff="+a.Backoff.String())
	}
	if a.Grace > 0 {
		words = append(words, "grace="+a.Grace.String())
	}
	return strings.Join(words, " ")
}

// Plan is what to do, in this order, and when to look again if nothing happens before
// (zero: never). Waiting says why containers that do not run do not.
type Plan struct {
	Actions []Action
	After   time.Duration
	Waiting map[string]corev1.ContainerStateWaiting
}

func (p Plan) String() string {
	var lines []string
	for _, a := range p.Actions {
		lines = append(lines, a.String())
	}
	return strings.Join(lines, "; ")
}

func (p *Plan) do(a Action) { p.Actions = append(p.Actions, a) }

// again asks for another look after d.
func (p *Plan) again(d time.Duration) {
	if p.After == 0 || d < p.After {
		p.After = max(d, time.Millisecond)
	}
}

func (p *Plan) wait(name, reason, message string) {
	if p.Waiting == nil {
		p.Waiting = map[string]corev1.ContainerStateWaiting{}
	}
	p.Waiting[name] = corev1.ContainerStateWaiting{Reason: reason, Message: message}
}

// latest is the newest container of a kind and name, of the pod that is wanted.
func (w World) latest(kind Kind, name string) (c Container, found bool) {
	for _, o := range w.Containers {
		if o.UID == w.Pod.UID && o.Kind == kind && o.Name == name && (!found || o.Attempt > c.Attempt) {
			c, found = o, true
		}
	}
	return c, found
}

// before is the newest container of the same kind and name that is older than c.
func (w World) before(c Container) (last Container, found bool) {
	for _, o := range w.Containers {
		if o.UID == c.UID && o.Kind == c.Kind && o.Name == c.Name && o.Attempt < c.Attempt && (!found || o.Attempt > last.Attempt) {
			last, found = o, true
		}
	}
	return last, found
}

// sandbox is the sandbox that runs, of the pod that is wanted.
func (w World) sandbox() (Container, bool) {
	if c, found := w.latest(Sandbox, ""); found && c.State == Running {
		return c, true
	}
	return Container{}, false
}
