package runtime_test

import (
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// TestAClockThatIsSetHoldsNothingUp: what runs goes on, what ends is restarted and becomes ready, and the node
// reports, whether the clock is set forward or back.
func TestAClockThatIsSetHoldsNothingUp(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.stop()
	var ahead atomic.Int64
	l.clock = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	l.start()
	c := sh(forever)
	c.ReadinessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"true"}}}, InitialDelaySeconds: 1}
	l.pod("web", corev1.PodSpec{Containers: []corev1.Container{c}})
	id := l.until("web", "ready", ready).Status.ContainerStatuses[0].ContainerID
	restarts := int32(0)
	for _, jump := range []time.Duration{time.Hour, -2 * time.Hour} {
		ahead.Add(int64(jump))
		// A new process remembers no times of before.
		l.stop()
		l.start()
		l.poll("the node reports by the new clock", func() bool {
			var n corev1.Node
			if err := l.client.Get(t.Context(), client.ObjectKey{Name: node}, &n); err != nil {
				t.Fatal(err)
			}
			for _, c := range n.Status.Conditions {
				if c.Type == corev1.NodeReady {
					return c.LastHeartbeatTime.Sub(l.clock()).Abs() < time.Minute
				}
			}
			return false
		}, nothing)
		if s := l.get("web").Status.ContainerStatuses[0]; s.ContainerID != id || s.RestartCount != restarts {
			t.Errorf("after %s: %+v", jump, s)
		}
		// The second restart would wait for ten seconds, by whatever clock.
		for range 2 {
			if err := l.docker.ContainerKill(t.Context(), l.running("main"), "KILL"); err != nil {
				t.Fatal(err)
			}
			restarts++
			id = l.until("web", "restarted and ready", func(p *corev1.Pod) bool {
				return ready(p) && p.Status.ContainerStatuses[0].RestartCount == restarts
			}).Status.ContainerStatuses[0].ContainerID
		}
	}
}
