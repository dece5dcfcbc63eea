package runtime

import (
	"context"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"slipway.dev/slipway/state/loop"
)

// follow wakes a pod's key at every event of one of its containers. What happened
// while nobody listened is made up for by waking every pod that has containers.
func (a *Agent) follow(ctx context.Context) {
	known := map[loop.Key]bool{}
	for ctx.Err() == nil {
		err := a.listen(ctx, known)
		if ctx.Err() != nil {
			return
		}
		a.Log.Warn("Docker's events ended, will listen again", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

func (a *Agent) listen(ctx context.Context, known map[loop.Key]bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ours := filters.NewArgs(filters.Arg("label", LabelInstance+"="+a.Instance))
	stream := ours.Clone()
	stream.Add("type", string(events.ContainerEventType))
	// What ended unseen before is not in the pool any more.
	a.pool.poke()
	messages, errs := a.Docker.Events(ctx, events.ListOptions{Filters: stream})
	all, err := a.Docker.ContainerList(ctx, container.ListOptions{All: true, Filters: ours})
	if err != nil {
		return err
	}
	for _, c := range all {
		known[keyOf(c.Labels)] = true
	}
	for k := range known {
		if k.Name != "" {
			a.wakeAll(ctx, []loop.Key{k})
		}
	}
	for {
		select {
		case m := <-messages:
			of := a.ownerOf(m)
			if k := of.key; k.Name != "" && concerns(m.Action) {
				known[k] = true
				a.fromOutside(m, of)
				a.wakeAll(ctx, []loop.Key{k})
			}
		case err := <-errs:
			return err
		}
	}
}

// concerns says whether an event may change what runs; the commands of probes, for
// one, do not.
func concerns(action events.Action) bool {
	switch action {
	case events.ActionStart, events.ActionKill, events.ActionDie, events.ActionOOM, events.ActionDestroy, events.ActionPause, events.ActionUnPause:
		return true
	}
	return false
}

func keyOf(labels map[string]string) loop.Key {
	return loop.Key{Namespace: labels[LabelNamespace], Name: labels[LabelPod]}
}

// ownerOf is whose container an event is about; without a name: nobody's. One that waited in the pool
// and ended is taken out of it.
func (a *Agent) ownerOf(m events.Message) owner {
	l := m.Actor.Attributes
	if Kind(l[LabelKind]) != Pooled {
		return owner{keyOf(l), types.UID(l[LabelUID])}
	}
	of, _ := a.pool.owner(m.Actor.ID)
	if of.key.Name == "" && (m.Action == events.ActionDie || m.Action == events.ActionDestroy) {
		a.pool.drop(m.Actor.ID)
	}
	return of
}

// fromOutside says so when somebody else than the agent stops or removes a container.
func (a *Agent) fromOutside(m events.Message, of owner) {
	l := m.Actor.Attributes
	var did string
	switch m.Action {
	case events.ActionKill:
		did = "was sent signal " + l["signal"]
	case events.ActionDestroy:
		did = "was removed"
	default:
		return
	}
	if a.touched(m.Actor.ID) {
		return
	}
	name := l[LabelContainer]
	if k := Kind(l[LabelKind]); k == Sandbox || k == Pooled {
		name = "POD"
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: of.key.Namespace, Name: of.key.Name, UID: of.uid}}
	a.Recorder.Event(pod, corev1.EventTypeWarning, "Drift", "container %s (attempt %d) %s from outside of Slipway", name, attemptOf(l), did)
}
