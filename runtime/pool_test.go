package runtime_test

import (
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/runtime"
	"slipway.dev/slipway/runtime/engine/enginetest"
)

// newPoolLab is a lab whose agent keeps sandboxes ready; it is returned when they are.
func newPoolLab(t *testing.T, sandboxes int) *lab {
	t.Helper()
	l := newLab(t)
	l.stop()
	l.tune = append(l.tune, func(o *runtime.Options) { o.Sandboxes = sandboxes })
	l.start()
	l.pooled(sandboxes)
	return l
}

// idle are the ids of the sandboxes of the pool that run and that no pod's directory names.
func (l *lab) idle() (ids []string) {
	l.t.Helper()
	taken := l.claims()
	for _, c := range l.containers() {
		if c.Labels[runtime.LabelKind] == string(runtime.Pooled) && c.State == container.StateRunning && !strings.Contains(taken, c.ID) {
			ids = append(ids, c.ID)
		}
	}
	return ids
}

func (l *lab) claims() string {
	l.t.Helper()
	files, err := filepath.Glob(filepath.Join(l.dir, "pods", "*", "sandbox"))
	if err != nil {
		l.t.Fatal(err)
	}
	var all strings.Builder
	for _, f := range files {
		// A pod may go meanwhile.
		if b, err := os.ReadFile(f); err == nil {
			all.Write(b)
		}
	}
	return all.String()
}

func (l *lab) pooled(n int) {
	l.t.Helper()
	l.poll("so many sandboxes are ready", func() bool { return len(l.idle()) == n }, func() any { return l.containers() })
}

// sandboxOf is the sandbox that a running container of a pod is joined to.
func (l *lab) sandboxOf(name string) (id string) {
	l.t.Helper()
	for _, c := range l.containers() {
		if c.Labels[runtime.LabelPod] == name && c.Labels[runtime.LabelSandbox] != "" && c.State == container.StateRunning {
			id = c.Labels[runtime.LabelSandbox]
		}
	}
	return id
}

func TestAPodTakesAReadySandboxForGood(t *testing.T) {
	t.Parallel()
	l := newPoolLab(t, 2)
	before := strings.Join(l.idle(), " ")
	pod := l.pod("web", corev1.PodSpec{Containers: []corev1.Container{sh(forever)}})
	l.until("web", "ready", ready)
	first := l.sandboxOf("web")
	if first == "" || !strings.Contains(before, first) {
		t.Errorf("it runs in sandbox %q, which is not among those that were ready: %s", first, before)
	}
	l.pooled(2) // It is filled again, and holds no more.
	if n := len(l.containers()); n != 4 {
		t.Errorf("%d containers, want the pod's two and two that are ready", n)
	}
	l.poll("people find it by its pod's name", func() bool {
		i, err := l.docker.ContainerInspect(t.Context(), first)
		return err == nil && strings.Contains(i.Name, "_POD_web_shop_")
	}, nothing)
	if m, err := l.agent.PodMetrics(t.Context()); err != nil || len(m) != 1 {
		t.Errorf("what is ready counts as a pod: %v, %v", m, err)
	}
	if err := l.client.Delete(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	l.poll("its sandbox goes with it", func() bool {
		_, err := l.docker.ContainerInspect(t.Context(), first)
		return err != nil && len(l.containers()) == 2
	}, func() any { return l.containers() })
}

// TestAPodIsTheSameInAReadySandbox checks what another host name, a gate before its
// program and a namespace that was there before could give away.
func TestAPodIsTheSameInAReadySandbox(t *testing.T) {
	t.Parallel()
	l := newPoolLab(t, 2)
	look := `hostname; cat /etc/hostname; echo $HOSTNAME "$0" "$@" $#; tr '\0' ' ' < /proc/1/cmdline; echo; ls /dev/shm | wc -l; ` +
		`grep -E 'NoNewPrivs|CapEff|SigBlk|SigIgn' /proc/self/status; ls -l /proc/self/fd 2>/dev/null | grep -c fifo; echo secret > /dev/shm/left; id -u`
	spec := func() corev1.PodSpec {
		c := corev1.Container{Name: "main", Command: []string{"sh", "-c", look}, Args: []string{"zero", "", "two words"}}
		user := int64(1000)
		c.SecurityContext = &corev1.SecurityContext{RunAsUser: &user}
		return corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{c}}
	}
	said := map[string]string{}
	for _, name := range []string{"first", "second"} {
		l.pod(name, spec())
		l.until(name, "succeeded", phase(corev1.PodSucceeded))
		said[name] = strings.ReplaceAll(l.logs(name, "main", corev1.PodLogOptions{}), name, "NAME")
	}
	yes, cold := true, spec() // One whose processes see each other has a sandbox made for it.
	cold.ShareProcessNamespace = &yes
	l.pod("third", cold)
	l.until("third", "succeeded", phase(corev1.PodSucceeded))
	want := strings.ReplaceAll(l.logs("third", "main", corev1.PodLogOptions{}), "third", "NAME")
	if said["first"] != said["second"] || !strings.HasPrefix(want, "NAME\nNAME\n") || !strings.Contains(said["first"], "zero  two words 2\n") {
		t.Errorf("the first said %q, the second %q, the cold one %q", said["first"], said["second"], want)
	}
	// The first process of the cold pod is pause.
	if got := withoutLine(said["first"], 3); got != withoutLine(want, 3) {
		t.Errorf("in a ready sandbox %q, in its own %q", got, withoutLine(want, 3))
	}
	if !strings.Contains(said["first"], "\nsh -c hostname; ") {
		t.Errorf("process 1 is not the program itself: %q", said["first"])
	}
}

func withoutLine(text string, n int) string {
	lines := strings.Split(text, "\n")
	return strings.Join(append(lines[:n:n], lines[min(n+1, len(lines)):]...), "\n")
}

func TestWhatCannotRunInAReadySandboxSaysWhy(t *testing.T) {
	t.Parallel()
	l := newPoolLab(t, 2)
	for name, c := range map[string]struct {
		command []string
		says    string
	}{
		"none":    {[]string{"/none"}, `exec: "/none": no such file or directory`},
		"unknown": {[]string{"unknown", "x"}, `exec: "unknown": executable file not found in $PATH`},
		"folder":  {[]string{"/etc"}, `exec: "/etc": permission denied`},
	} {
		l.pooled(2)
		l.pod(name, corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "main", Command: c.command}}})
		pod := l.until(name, "failed", phase(corev1.PodFailed))
		s := pod.Status.ContainerStatuses[0].State.Terminated
		if s == nil || s.Reason != "ContainerCannotRun" || s.Message != c.says || s.ExitCode != 127 {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

func TestTheImagesOwnCommandRunsBehindTheGate(t *testing.T) {
	t.Parallel()
	l := newPoolLab(t, 1)
	// The image runs sh, which reads nothing and ends; its PATH is the image's.
	l.pod("own", corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "main"}}})
	l.until("own", "succeeded", phase(corev1.PodSucceeded))
	l.pooled(1)
	l.pod("args", corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "main", Args: []string{"echo", "from args"}}}})
	l.until("args", "succeeded", phase(corev1.PodSucceeded))
	if got := l.logs("args", "main", corev1.PodLogOptions{}); got != "from args\n" {
		t.Errorf("it said %q", got)
	}
}

func TestAnAgentAdoptsWhatIsReadyAndRemovesTheRest(t *testing.T) {
	t.Parallel()
	l := newPoolLab(t, 2)
	l.pod("web", corev1.PodSpec{Containers: []corev1.Container{sh(forever)}})
	before := l.until("web", "ready", ready)
	l.pooled(2)
	adopted := strings.Join(l.idle(), " ")
	l.stop()
	// What looks like one of the pool's, but was made otherwise; and one that has ended.
	other := l.foreign(map[string]string{runtime.LabelInstance: l.instance, runtime.LabelKind: string(runtime.Pooled), runtime.LabelHash: "of another time"})
	l.start()
	l.poll("the other one is gone", func() bool { _, err := l.docker.ContainerInspect(t.Context(), other); return err != nil }, nothing)
	if got := strings.Join(l.idle(), " "); got != adopted {
		t.Errorf("ready before: %s, now: %s", adopted, got)
	}
	after := l.until("web", "ready", ready)
	if a, b := after.Status.ContainerStatuses[0], before.Status.ContainerStatuses[0]; a.ContainerID != b.ContainerID || a.RestartCount != 0 {
		t.Errorf("the pod was restarted: %+v", a)
	}

	t.Log("one that ends while it waits is replaced")
	ended := l.idle()[0]
	if err := l.docker.ContainerKill(t.Context(), ended, "KILL"); err != nil {
		t.Fatal(err)
	}
	l.poll("it is removed", func() bool { _, err := l.docker.ContainerInspect(t.Context(), ended); return err != nil }, nothing)
	l.pooled(2)

	t.Log("fewer are wanted")
	l.stop()
	l.tune = append(l.tune, func(o *runtime.Options) { o.Sandboxes = -1 })
	l.start()
	l.pooled(0)
	l.poll("nothing is left but the pod", func() bool { return len(l.containers()) == 2 }, func() any { return l.containers() })
}

// foreign runs a container that no agent made.
func (l *lab) foreign(labels map[string]string) string {
	l.t.Helper()
	c, err := l.docker.ContainerCreate(l.t.Context(), &container.Config{Image: l.image, Cmd: []string{"sh", "-c", forever}, Labels: labels},
		&container.HostConfig{NetworkMode: "none"}, nil, nil, "slipway-test-"+rand.Text())
	if err != nil {
		l.t.Fatal(err)
	}
	if err := l.docker.ContainerStart(l.t.Context(), c.ID, container.StartOptions{}); err != nil {
		l.t.Fatal(err)
	}
	return c.ID
}

// TestASandboxThatWasUsedIsNeverReadyAgain: although its pod's directory, where it is written whose it
// is, was removed by hand, what joined it tells.
func TestASandboxThatWasUsedIsNeverReadyAgain(t *testing.T) {
	t.Parallel()
	l := newPoolLab(t, 1)
	pod := l.pod("web", corev1.PodSpec{Containers: []corev1.Container{sh(forever)}})
	l.until("web", "ready", ready)
	used := l.sandboxOf("web")
	l.stop()
	if err := runtime.Clear(filepath.Join(l.dir, "pods")); err != nil {
		t.Fatal(err)
	}
	if err := l.client.Delete(t.Context(), pod, client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	l.start()
	l.poll("it is gone", func() bool { _, err := l.docker.ContainerInspect(t.Context(), used); return err != nil }, func() any { return l.containers() })
	l.pooled(1)
}

// TestAnAgentThatDiesAtTheGate leaves a container waiting; the next agent lets it go on.
func TestAnAgentOpensTheGateThatOneBeforeItLeftShut(t *testing.T) {
	t.Parallel()
	l := newPoolLab(t, 1)
	c := sh("hostname; " + forever)
	l.pod("web", corev1.PodSpec{Containers: []corev1.Container{c}})
	l.until("web", "ready", ready)
	id := l.running("main")
	l.stop()
	// As if the agent had died between starting it and opening the gate.
	if err := l.docker.ContainerKill(t.Context(), id, "KILL"); err != nil {
		t.Fatal(err)
	}
	l.poll("it has ended", func() bool { return l.running("main") == "" }, nothing)
	if err := l.docker.ContainerStart(t.Context(), id, container.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	l.poll("it waits", func() bool {
		top, err := l.docker.ContainerTop(t.Context(), id, nil)
		return err == nil && len(top.Processes) > 0 && strings.Contains(strings.Join(top.Processes[0], " "), "/dev/.slipway/start")
	}, nothing)
	l.start()
	l.poll("it goes on", func() bool {
		return strings.HasSuffix(l.logs("web", "main", corev1.PodLogOptions{}), "web\nweb\n")
	}, func() any { return l.logs("web", "main", corev1.PodLogOptions{}) })
	if l.running("main") != id {
		t.Error("it was made anew")
	}
}

func TestKillingAgentsAndSandboxesWithAPoolMakesNothingTwice(t *testing.T) {
	t.Parallel()
	l := newPoolLab(t, 2)
	pods := []string{"a", "b", "c"}
	for _, p := range pods {
		l.pod(p, corev1.PodSpec{Containers: []corev1.Container{sh("echo up; " + forever)}})
	}
	for range 4 {
		l.stop()
		l.start()
	}
	for _, p := range pods {
		l.until(p, "ready", ready)
	}
	l.pooled(2)
	l.poll("every pod has a sandbox and a container", func() bool { return len(l.containers()) == 2*len(pods)+2 }, func() any { return l.containers() })

	t.Log("a pod's sandbox is killed")
	was := l.sandboxOf("a")
	if err := l.docker.ContainerKill(t.Context(), was, "KILL"); err != nil {
		t.Fatal(err)
	}
	l.poll("it has another one", func() bool { now := l.sandboxOf("a"); return now != "" && now != was && ready(l.get("a")) }, func() any { return l.get("a").Status })
	l.pooled(2)
	l.poll("and nothing else", func() bool {
		n := 0
		for _, c := range l.containers() {
			if c.State == container.StateRunning {
				n++
			}
		}
		return n == 2*len(pods)+2
	}, func() any { return l.containers() })
	if l.get("b").Status.ContainerStatuses[0].RestartCount != 0 {
		t.Error("another pod was restarted")
	}
}

func TestAReadySandboxIsConnectedToNothing(t *testing.T) {
	t.Parallel()
	l := newPoolLab(t, 1)
	i, err := l.docker.ContainerInspect(t.Context(), l.idle()[0])
	if err != nil {
		t.Fatal(err)
	}
	if i.HostConfig.NetworkMode != "none" || !i.HostConfig.ReadonlyRootfs || len(i.Mounts) != 0 || len(i.Config.Env) > 1 || i.HostConfig.Privileged {
		t.Errorf("%+v %+v", i.HostConfig, i.Config)
	}
	for _, label := range []string{runtime.LabelPod, runtime.LabelNamespace, runtime.LabelUID} {
		if v, has := i.Config.Labels[label]; has {
			t.Errorf("it says that it is a pod's: %s=%s", label, v)
		}
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "none"}}
	if err := l.client.Get(context.Background(), client.ObjectKeyFromObject(pod), pod); err == nil {
		t.Error("there is a pod")
	}
	if err := runtime.Remove(t.Context(), enginetest.Client(t), "another-instance", t.TempDir()); err != nil || len(l.idle()) != 1 {
		t.Errorf("another agent's end removed it: %v", err)
	}
}

func TestThePoolOutlivesItsEnginesEnd(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	l := newLabIn(t, v.Engine, t.TempDir(), func(o *runtime.Options) { o.Sandboxes = 1 })
	l.pooled(1)
	l.pod("web", corev1.PodSpec{Containers: []corev1.Container{sh(forever)}})
	l.until("web", "ready", ready)
	l.pooled(1)
	before := l.idle()[0]
	v.killDaemon()
	v.restart()
	l.poll("what waited is replaced, and the pod has one that runs", func() bool {
		now, has := l.idle(), l.sandboxOf("web")
		return len(now) == 1 && now[0] != before && has != "" && has != before && ready(l.get("web"))
	}, func() any { return l.containers() })
	l.poll("nothing else is left", func() bool {
		for _, c := range l.containers() {
			if c.Labels[runtime.LabelKind] == string(runtime.Pooled) && c.State != container.StateRunning {
				return false
			}
		}
		return true
	}, func() any { return l.containers() })
}
