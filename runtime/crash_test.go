package runtime_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	corev1 "k8s.io/api/core/v1"

	"slipway.dev/slipway/runtime"
	"slipway.dev/slipway/runtime/engine"
	"slipway.dev/slipway/runtime/mounts"
)

// victim is a private engine whose daemon is killed and started again.
type victim struct {
	*engine.Engine
	t    *testing.T
	args []string
}

func newVictim(t *testing.T) *victim {
	t.Helper()
	e, err := engine.Start(t.Context(), engine.Options{Dir: filepath.Join(t.TempDir(), "engine")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	v := &victim{Engine: e, t: t}
	line, err := os.ReadFile("/proc/" + strconv.Itoa(v.pid("pid")) + "/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	v.args = strings.Split(strings.TrimRight(string(line), "\x00"), "\x00")
	return v
}

// pid is in a file that the daemon keeps below its run directory, and is about to write when it has just
// started what has it.
func (v *victim) pid(file string) int {
	v.t.Helper()
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		b, err := os.ReadFile(filepath.Join(filepath.Dir(strings.TrimPrefix(v.DaemonHost(), "unix://")), file))
		pid := 0
		if err == nil {
			pid, err = strconv.Atoi(strings.TrimSpace(string(b)))
		}
		if err == nil {
			return pid
		}
		if time.Now().After(deadline) {
			v.t.Fatal(err)
		}
	}
}

func (v *victim) kill(pid int, signal syscall.Signal) {
	v.t.Helper()
	if err := syscall.Kill(pid, signal); err != nil {
		v.t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		if time.Now().After(deadline) {
			v.t.Fatalf("process %d does not end", pid)
		}
	}
}

// killDaemon kills dockerd. Its containerd goes with it (by the kernel's hand, a moment
// later), which the next dockerd would take for one that it can use.
func (v *victim) killDaemon() {
	v.t.Helper()
	containerd := v.pid("exec/containerd/containerd.pid")
	v.kill(v.pid("pid"), syscall.SIGKILL)
	_ = syscall.Kill(containerd, syscall.SIGKILL)
	for deadline := time.Now().Add(30 * time.Second); syscall.Kill(containerd, 0) == nil && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
}

func (v *victim) restart() {
	v.t.Helper()
	cmd := exec.Command(v.args[0], v.args[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		v.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if _, err := v.Ping(v.t.Context()); err == nil {
			return
		}
		select {
		case <-ended:
			v.t.Fatalf("dockerd ended at once: %v: %s", cmd.ProcessState, said.String())
		default:
		}
		if time.Now().After(deadline) {
			v.t.Fatal("dockerd does not come back")
		}
	}
}

// once checks that of every pod one sandbox and each container runs, and nothing else.
func (l *lab) once(pods ...string) {
	l.t.Helper()
	l.poll("every pod runs exactly once", func() bool {
		running := map[string]int{}
		for _, c := range l.containers() {
			if c.State == "running" {
				running[c.Labels[runtime.LabelPod]+"/"+c.Labels[runtime.LabelKind]]++
			}
		}
		for _, p := range pods {
			if running[p+"/app"] != 1 || running[p+"/sandbox"] != 1 || !ready(l.get(p)) {
				return false
			}
		}
		return len(running) == 2*len(pods)
	}, func() any { return l.containers() })
}

func TestPodsOutliveTheirEnginesEnds(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	l := newLabOn(t, v.Engine)
	secret := &corev1.Secret{Data: map[string][]byte{"word": []byte("tea")}}
	secret.Namespace, secret.Name = "shop", "word"
	if err := l.client.Create(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	main := sh("cat /secret/word; echo; " + forever)
	main.VolumeMounts = []corev1.VolumeMount{{Name: "secret", MountPath: "/secret"}}
	spec := corev1.PodSpec{
		Containers: []corev1.Container{main},
		Volumes:    []corev1.Volume{{Name: "secret", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "word"}}}},
	}
	l.pod("one", *spec.DeepCopy())
	l.pod("two", *spec.DeepCopy())
	l.once("one", "two")

	t.Log("dockerd is killed; its next one ends what ran")
	v.killDaemon()
	v.restart()
	l.until("one", "restarted", func(p *corev1.Pod) bool { return p.Status.ContainerStatuses[0].RestartCount == 1 })
	l.once("one", "two")

	t.Log("the machine is started again: no process, nothing below /run, no mount is left")
	v.reboot()
	if err := mounts.UndoBelow(l.dir); err != nil {
		t.Fatal(err)
	}
	v.args = append(v.args, "--live-restore")
	v.restart()
	l.once("one", "two")
	l.poll("it has its secret again", func() bool { return l.logs("one", "main", corev1.PodLogOptions{}) == "tea\n" }, nothing)

	t.Log("with live-restore, containers run on, whoever is killed")
	before := map[string]string{"one": l.get("one").Status.ContainerStatuses[0].ContainerID, "two": l.get("two").Status.ContainerStatuses[0].ContainerID}
	v.kill(v.pid("exec/containerd/containerd.pid"), syscall.SIGKILL)
	v.killDaemon()
	l.stop()
	v.restart()
	l.start()
	l.once("one", "two")
	l.unchanged(before)

	t.Log("containerd alone is killed: dockerd starts another, and nothing else happens")
	old := v.pid("exec/containerd/containerd.pid")
	v.kill(old, syscall.SIGKILL)
	l.poll("there is another", func() bool { return v.pid("exec/containerd/containerd.pid") != old }, nothing)
	l.pod("three", *spec.DeepCopy())
	l.once("one", "two", "three")
	l.unchanged(before)
}

// unchanged checks that pods' containers are those that they had.
func (l *lab) unchanged(before map[string]string) {
	l.t.Helper()
	for pod, id := range before {
		if got := l.get(pod).Status.ContainerStatuses[0].ContainerID; got != id {
			l.t.Errorf("pod %s was restarted: %s, then %s", pod, id, got)
		}
	}
}

// reboot kills the daemon, its containerd, its shims and its containers, and wipes the
// run directory.
func (v *victim) reboot() {
	v.t.Helper()
	run := filepath.Dir(strings.TrimPrefix(v.DaemonHost(), "unix://"))
	var inside []int
	list, err := v.ContainerList(v.t.Context(), container.ListOptions{})
	if err != nil {
		v.t.Fatal(err)
	}
	for _, c := range list {
		if i, err := v.ContainerInspect(v.t.Context(), c.ID); err == nil && i.State.Pid > 1 {
			inside = append(inside, i.State.Pid)
		}
	}
	v.killDaemon()
	shims, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		v.t.Fatal(err)
	}
	for _, file := range shims {
		line, err := os.ReadFile(file)
		if err == nil && strings.Contains(string(line), run+"/") && strings.Contains(string(line), "containerd-shim") {
			if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil {
				inside = append(inside, pid)
			}
		}
	}
	for _, pid := range inside {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	if err := mounts.UndoBelow(run); err != nil {
		v.t.Fatal(err)
	}
	if err := os.RemoveAll(run); err != nil {
		v.t.Fatal(err)
	}
	if err := os.MkdirAll(run, 0o711); err != nil {
		v.t.Fatal(err)
	}
}

func TestAnAgentThatIsStoppedAtAnyMomentMakesNothingTwice(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	pods := []string{"a", "b", "c", "d"}
	for _, p := range pods {
		c := sh("echo up; " + forever)
		init := sh("true")
		init.Name = "init"
		l.pod(p, corev1.PodSpec{InitContainers: []corev1.Container{init}, Containers: []corev1.Container{c}})
	}
	for range 6 {
		time.Sleep(time.Duration(rand.Int64N(int64(300 * time.Millisecond))))
		l.stop()
		l.start()
	}
	l.once(pods...)
	for _, p := range pods {
		if c := l.get(p).Status.ContainerStatuses[0]; c.RestartCount != 0 {
			t.Errorf("pod %s was restarted: %+v", p, c)
		}
	}
}
