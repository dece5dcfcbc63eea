package runtime_test

import (
	"io"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func TestAHookThatTakesAllTheTimeLeavesSomeForTheSignal(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.stop()
	// By the agent's clock nothing passes but what is said here: however slow the machine is.
	var passed atomic.Int64
	begin := time.Now()
	l.clock = func() time.Time { return begin.Add(time.Duration(passed.Load())) }
	l.start()
	c := sh("trap 'echo bye; exit 0' TERM; while :; do sleep 0.05; done")
	c.Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"sleep", "1000"}}}}
	grace := int64(1)
	pod := l.pod("hook", corev1.PodSpec{TerminationGracePeriodSeconds: &grace, Containers: []corev1.Container{c}})
	l.until("hook", "ready", ready)
	r, err := l.agent.Logs(t.Context(), client.ObjectKeyFromObject(pod), "", corev1.PodLogOptions{Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := l.client.Delete(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	l.poll("it is asked to end", func() bool {
		passed.Add(int64(time.Millisecond)) // It waits for routers and rules to let go.
		return l.event("hook", "Killing")()
	}, nothing)
	passed.Add(int64(1500 * time.Millisecond))
	if b, err := io.ReadAll(r); err != nil || string(b) != "bye\n" {
		t.Errorf("it said %q, %v", b, err)
	}
	l.poll("the hook is told of", l.event("hook", "FailedPreStopHook"), nothing)
}
