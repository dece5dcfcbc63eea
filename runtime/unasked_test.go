package runtime_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

func TestNoContainerIsBlamedForItsEngine(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	v.args = append(v.args, "--live-restore")
	v.killDaemon()
	v.restart()
	l := newLabOn(t, v.Engine)
	probe := func() *corev1.Probe {
		return &corev1.Probe{PeriodSeconds: 1, TimeoutSeconds: 20, FailureThreshold: 1, ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"true"}}}}
	}
	c := sh(forever)
	c.ReadinessProbe, c.LivenessProbe = probe(), probe()
	l.pod("web", corev1.PodSpec{Containers: []corev1.Container{c}})
	l.once("web")
	before := map[string]string{"web": l.get("web").Status.ContainerStatuses[0].ContainerID}
	since := readySince(l.get("web"))

	t.Log("dockerd is away for some periods of the probes")
	v.killDaemon()
	time.Sleep(3 * time.Second)
	v.restart()
	l.once("web")

	t.Log("containerd is away, which dockerd starts again in its own time")
	pid := filepath.Join(filepath.Dir(strings.TrimPrefix(v.DaemonHost(), "unix://")), "exec/containerd/containerd.pid")
	old := v.pid("exec/containerd/containerd.pid")
	v.kill(old, syscall.SIGKILL)
	l.poll("there is another", func() bool {
		b, err := os.ReadFile(pid)
		now, _ := strconv.Atoi(strings.TrimSpace(string(b)))
		return err == nil && now > 0 && now != old
	}, nothing)
	l.poll("it was told of", l.event("web", "Unhealthy"), nothing)
	l.once("web")
	l.unchanged(before)
	if got := readySince(l.get("web")); !got.Equal(since) {
		t.Errorf("it was ready since %v, now since %v", since, got)
	}
}

func readySince(p *corev1.Pod) time.Time {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
			return c.LastTransitionTime.Time
		}
	}
	return time.Time{}
}
