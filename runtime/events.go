package runtime

import (
	"context"
	"strconv"
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
			if k := keyOf(m.Actor.Attributes); k.Name != "" && concerns(m.Action) {
				known[k] = true
				a.fromOutside(m)
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

// fromOutside says so when somebody else than the agent stops or removes a container.
func (a *Agent) fromOutside(m events.Message) {
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
	uid := types.UID(l[LabelUID])
	if a.touched(m.Actor.ID) {
		return
	}
	name := l[LabelContainer]
	if Kind(l[LabelKind]) == Sandbox {
		name = "POD"
	}
	attempt, _ := strconv.Atoi(l[LabelAttempt])
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: l[LabelNamespace], Name: l[LabelPod], UID: uid}}
	a.Recorder.Event(pod, corev1.EventTypeWarning, "Drift", "container %s (attempt %d) %s from outside of Slipway", name, attempt, did)
}
