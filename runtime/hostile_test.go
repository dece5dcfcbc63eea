package runtime_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/docker/docker/api/types/image"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"slipway.dev/slipway/runtime"
	"slipway.dev/slipway/runtime/engine/enginetest"
	"slipway.dev/slipway/runtime/mounts"
	"slipway.dev/slipway/runtime/scratch"
)

// What pods do that want to harm their node, or others on it.

func emptyDirs(names ...string) (all []corev1.Volume) {
	for _, n := range names {
		all = append(all, corev1.Volume{Name: n, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}})
	}
	return all
}

func saysAs(text string) func(*corev1.Pod) bool {
	return func(p *corev1.Pod) bool {
		for _, c := range p.Status.ContainerStatuses {
			if w := c.State.Waiting; w != nil && strings.Contains(w.Message, text) {
				return true
			}
		}
		return false
	}
}

// A pipe at a subPath would have whoever opens it wait until somebody writes.
func TestAPipeAtASubPathHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	init := sh("mkfifo /work/sub; ln -s /proc/1/root /work/link")
	init.Name, init.VolumeMounts = "init", []corev1.VolumeMount{{Name: "work", MountPath: "/work"}}
	names := map[string]string{}
	for i := range 10 { // More than there are workers.
		main := sh("true")
		main.VolumeMounts = []corev1.VolumeMount{{Name: "work", MountPath: "/sub", SubPath: "sub"}}
		want := "neither a directory nor a file"
		if i == 0 {
			main.VolumeMounts[0].SubPath, want = "link/etc", `subPath "link/etc"`
		}
		name := fmt.Sprintf("pipe-%d", i)
		names[name] = want
		l.pod(name, corev1.PodSpec{InitContainers: []corev1.Container{init}, Containers: []corev1.Container{main}, Volumes: emptyDirs("work")})
	}
	for name, want := range names {
		l.until(name, "refused", saysAs(want))
	}
	l.pod("good", corev1.PodSpec{Containers: []corev1.Container{sh(forever)}})
	l.until("good", "ready", ready)
}

// What refers to what refers to others doubles with each step: 2⁶⁰ bytes, if anybody let it.
func TestABombOfVariablesIsRefused(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	bomb := sh("true")
	bomb.Env = []corev1.EnvVar{{Name: "A0", Value: "0123456789"}}
	for i := range 60 {
		bomb.Env = append(bomb.Env, corev1.EnvVar{Name: fmt.Sprint("A", i+1), Value: fmt.Sprintf("$(A%d)$(A%d)", i, i)})
	}
	words := sh("true")
	words.Env = []corev1.EnvVar{{Name: "LONG", Value: strings.Repeat("x", 100<<10)}}
	for range 100 {
		words.Args = append(words.Args, "$(LONG)")
	}
	wide := sh("true")
	wide.Env = []corev1.EnvVar{{Name: "B0", Value: strings.Repeat("x", 4<<10)}}
	wide.Env = append(wide.Env, corev1.EnvVar{Name: "C", Value: strings.Repeat("$(B0)", 50)})
	l.pod("bomb", corev1.PodSpec{Containers: []corev1.Container{bomb}})
	l.pod("words", corev1.PodSpec{Containers: []corev1.Container{words}})
	l.pod("wide", corev1.PodSpec{Containers: []corev1.Container{wide}})
	for name, want := range map[string]string{"bomb": "env A14: is longer than", "words": "args: word 61 is more than", "wide": "env C: is longer than"} {
		l.until(name, "refused", saysAs(want))
	}
}

// Where a path is too long for whoever measures, nobody would see what lies there.
func TestWhatIsHiddenInDeepDirectoriesIsFound(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	limit := resource.MustParse("1Mi")
	volumes := emptyDirs("work")
	volumes[0].EmptyDir.SizeLimit = &limit
	hide := func(where string) string {
		return "cd " + where + "; d=" + strings.Repeat("d", 200) + "; i=0; while [ $i -lt 25 ]; do mkdir $d && cd -P $d; i=$((i+1)); done 2>/dev/null; dd if=/dev/zero of=big bs=1M count=2; " + forever
	}
	volume := sh(hide("/work"))
	volume.VolumeMounts = []corev1.VolumeMount{{Name: "work", MountPath: "/work"}}
	l.pod("volume", corev1.PodSpec{Containers: []corev1.Container{volume}, Volumes: volumes})
	layer := sh(hide("/"))
	layer.Resources.Limits = corev1.ResourceList{corev1.ResourceEphemeralStorage: limit}
	l.pod("layer", corev1.PodSpec{Containers: []corev1.Container{layer}})
	for _, name := range []string{"volume", "layer"} {
		if s := l.until(name, "evicted", phase(corev1.PodFailed)).Status; s.Reason != "Evicted" {
			t.Errorf("%s: %s: %s", name, s.Reason, s.Message)
		}
	}
}

// One that ends again and again is never seen to run when it is measured.
func TestWhoWritesAndEndsIsEvicted(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	c := sh("dd if=/dev/zero of=/big bs=1M count=2")
	c.Resources.Limits = corev1.ResourceList{corev1.ResourceEphemeralStorage: resource.MustParse("1Mi")}
	l.pod("quick", corev1.PodSpec{Containers: []corev1.Container{c}})
	if s := l.until("quick", "evicted", phase(corev1.PodFailed)).Status; s.Reason != "Evicted" {
		t.Errorf("%s: %s", s.Reason, s.Message)
	}
}

// The files that a pod is given are on the node's disk, too (CVE-2020-8557).
func TestWhoFillsTheFilesThatItIsGivenIsEvicted(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	files := map[string]string{"hosts": "/etc/hosts", "words": "/dev/termination-log"}
	for name, file := range files {
		c := sh("dd if=/dev/zero of=" + file + " bs=1M count=2; " + forever)
		c.Resources.Limits = corev1.ResourceList{corev1.ResourceEphemeralStorage: resource.MustParse("1Mi")}
		l.pod(name, corev1.PodSpec{Containers: []corev1.Container{c}})
	}
	// And whoever reads such a file whole, to see whether it is as it should be, has no memory left.
	l.pod("huge", corev1.PodSpec{Containers: []corev1.Container{sh("test $(wc -c < /etc/hosts) -lt 1000 && echo small; truncate -s 64G /etc/hosts; exit 1")}})
	for name := range files {
		if s := l.until(name, "evicted", phase(corev1.PodFailed)).Status; s.Reason != "Evicted" {
			t.Errorf("%s: %s: %s", name, s.Reason, s.Message)
		}
	}
	l.until("huge", "restarted", func(p *corev1.Pod) bool { return waits(p, "CrashLoopBackOff") })
	if got := l.logs("huge", "main", corev1.PodLogOptions{}); got != "small\n" {
		t.Errorf("it saw %q", got)
	}
}

// A volume that an image asks for is made by the engine, where nobody looks for it.
func TestWhoFillsAVolumeOfItsImageIsEvicted(t *testing.T) {
	t.Parallel()
	docker := enginetest.Client(t)
	files, err := scratch.Busybox()
	if err != nil {
		t.Fatal(err)
	}
	ref, config := "slipway-test/volume:"+rand.Text(), scratch.BusyboxConfig
	config.Volumes, config.Labels = map[string]struct{}{"/data": {}}, map[string]string{"slipway.dev/test": ref}
	if _, err := scratch.Load(t.Context(), docker, ref, files, config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := docker.ImageRemove(context.Background(), ref, image.RemoveOptions{}); err != nil {
			t.Error(err)
		}
	})
	l := newLabOn(t, docker) // It is cleared before the image is.
	c := sh("dd if=/dev/zero of=/data/big bs=1M count=2; " + forever)
	c.Image, c.Resources.Limits = ref, corev1.ResourceList{corev1.ResourceEphemeralStorage: resource.MustParse("1Mi")}
	l.pod("volume", corev1.PodSpec{Containers: []corev1.Container{c}})
	if s := l.until("volume", "evicted", phase(corev1.PodFailed)).Status; s.Reason != "Evicted" {
		t.Errorf("%s: %s", s.Reason, s.Message)
	}
}

// Without any limit of its own a pod must not take the room of all.
func TestAPodThatFillsTheDiskIsEvicted(t *testing.T) {
	t.Parallel()
	small := t.TempDir()
	if err := syscall.Mount("tmpfs", small, "tmpfs", 0, "size=64m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(small, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	docker := enginetest.Client(t)
	l := newLabIn(t, docker, filepath.Join(small, "pods"))
	writes := func(kilobytes int) corev1.PodSpec {
		c := sh(fmt.Sprintf("dd if=/dev/zero of=/work/big bs=1k count=%d; %s", kilobytes, forever))
		c.VolumeMounts = []corev1.VolumeMount{{Name: "work", MountPath: "/work"}}
		return corev1.PodSpec{Containers: []corev1.Container{c}, Volumes: emptyDirs("work")}
	}
	l.pod("modest", writes(100))
	l.until("modest", "ready", ready)
	l.pod("greedy", writes(62<<10))
	s := l.until("greedy", "evicted", phase(corev1.PodFailed)).Status
	if s.Reason != "Evicted" || !strings.Contains(s.Message, "low on resource: ephemeral-storage") {
		t.Errorf("%s: %s", s.Reason, s.Message)
	}
	if !slices.ContainsFunc(s.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.DisruptionTarget && c.Status == corev1.ConditionTrue
	}) {
		t.Errorf("no disruption: %+v", s.Conditions)
	}
	l.poll("its room is free", func() bool {
		var fs syscall.Statfs_t
		return syscall.Statfs(small, &fs) == nil && fs.Bfree > fs.Blocks/2
	}, nothing)
	if p := l.get("modest"); !ready(p) || p.Status.Phase != corev1.PodRunning {
		t.Errorf("who wrote little: %+v", p.Status)
	}
}

// A pod that has ended is kept for its logs, not for what it had: least of all memory.
func TestAPodThatHasEndedKeepsItsLogsOnly(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	c := sh("dd if=/dev/zero of=/mem/big bs=1M count=4 2>/dev/null; echo done; printf 'last words' > /dev/termination-log; exit 1")
	c.VolumeMounts = []corev1.VolumeMount{{Name: "mem", MountPath: "/mem"}, {Name: "disk", MountPath: "/disk", SubPath: "sub"}}
	volumes := emptyDirs("mem", "disk")
	volumes[0].EmptyDir.Medium = corev1.StorageMediumMemory
	l.pod("job", corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{c}, Volumes: volumes})
	l.until("job", "failed", phase(corev1.PodFailed))
	l.poll("its volumes are gone", func() bool {
		left, err := filepath.Glob(filepath.Join(l.dir, "pods", "*", "[vse]*")) // volumes, subpaths, etc
		trash, trashErr := filepath.Glob(filepath.Join(l.dir, "trash", "*"))
		below, mountErr := mounts.Below(l.dir)
		return errors.Join(err, trashErr, mountErr) == nil && len(below)+len(left)+len(trash) == 0
	}, nothing)
	l.stop()
	l.start()
	if got := l.logs("job", "main", corev1.PodLogOptions{}); got != "done\n" {
		t.Errorf("its log: %q", got)
	}
	if got := l.get("job").Status.ContainerStatuses[0].State.Terminated; got == nil || got.Message != "last words" {
		t.Errorf("its end: %+v", got)
	}
}

// One line of 40 MB, and no more of it on the disk than a log may have.
func TestAHugeLogIsCut(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	c := sh("head -c 40000000 /dev/zero | tr '\\0' x; echo; echo the end; exit 3")
	c.TerminationMessagePolicy = corev1.TerminationMessageFallbackToLogsOnError
	l.pod("talk", corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{c}})
	end := l.until("talk", "failed", phase(corev1.PodFailed)).Status.ContainerStatuses[0].State.Terminated
	if len(end.Message) != 2048 || !strings.HasSuffix(end.Message, "xx\nthe end\n") {
		t.Errorf("its last words are %d bytes that end with %q", len(end.Message), end.Message[max(0, len(end.Message)-20):])
	}
	one := int64(1)
	if got := l.logs("talk", "main", corev1.PodLogOptions{TailLines: &one}); got != "the end\n" {
		t.Errorf("tail: %q", got)
	}
	if got := l.logs("talk", "main", corev1.PodLogOptions{LimitBytes: &one}); got != "x" {
		t.Errorf("limited: %d bytes", len(got))
	}
	for _, c := range l.containers() {
		i, err := l.docker.ContainerInspect(t.Context(), c.ID)
		if err != nil {
			t.Fatal(err)
		}
		files, err := filepath.Glob(i.LogPath + "*")
		var sum int64
		for _, f := range files {
			if info, err := os.Stat(f); err == nil {
				sum += info.Size()
			}
		}
		if c.Labels[runtime.LabelContainer] == "main" && (err != nil || sum == 0 || sum > 32<<20) {
			t.Errorf("its log takes %d bytes in %v, %v", sum, files, err)
		}
	}
}
