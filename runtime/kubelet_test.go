package runtime_test

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/runtime"
	"slipway.dev/slipway/runtime/engine"
	"slipway.dev/slipway/runtime/engine/enginetest"
)

// What a kubelet's user relies on.

func TestCommandsReferToVariablesAndBeginInTheirDirectory(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	c := corev1.Container{
		Name: "main", WorkingDir: "/work", Command: []string{"sh", "-c", "echo $0 $1 $(WHO) '$$(WHO)' '$(NOBODY)'; pwd"}, Args: []string{"$(WHO)-a", "$(GREETING)"},
		Env:          []corev1.EnvVar{{Name: "WHO", Value: "tea"}, {Name: "GREETING", Value: "hello-$(WHO)"}},
		VolumeMounts: []corev1.VolumeMount{{Name: "work", MountPath: "/work"}},
	}
	l.pod("words", corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{c}, Volumes: emptyDirs("work")})
	l.until("words", "succeeded", phase(corev1.PodSucceeded))
	if got := l.logs("words", "main", corev1.PodLogOptions{}); got != "tea-a hello-tea tea $(WHO) $(NOBODY)\n/work\n" {
		t.Errorf("it said %q", got)
	}
}

func TestContainersShareNetworkAndIPCButNoProcesses(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	// Each waits for the other: the number of what is gone may be given again.
	look := func(own, other string) corev1.Container {
		c := sh("for n in net ipc pid; do readlink /proc/self/ns/$n; done; touch /work/" + own + "; until test -e /work/" + other + "; do sleep 0.05; done")
		c.Name, c.VolumeMounts = own, []corev1.VolumeMount{{Name: "work", MountPath: "/work"}}
		return c
	}
	l.pod("pod", corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{look("main", "two"), look("two", "main")}, Volumes: emptyDirs("work")})
	l.until("pod", "succeeded", phase(corev1.PodSucceeded))
	a := strings.Split(l.logs("pod", "main", corev1.PodLogOptions{}), "\n")
	b := strings.Split(l.logs("pod", "two", corev1.PodLogOptions{}), "\n")
	if len(a) != 4 || len(b) != 4 || a[0] != b[0] || a[1] != b[1] || a[2] == b[2] {
		t.Errorf("%q and %q", a, b)
	}
	own, err := os.Readlink("/proc/self/ns/ipc")
	if err != nil || own == a[1] {
		t.Errorf("the machine's own: %q, %v", own, err)
	}
}

func TestAProjectedVolumeIsOneInMemory(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	for _, o := range []client.Object{
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "settings"}, Data: map[string]string{"color": "blue", "other": "no"}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "login"}, Data: map[string][]byte{"password": []byte("s3cret")}},
	} {
		if err := l.client.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	mode := int32(0o400)
	c := sh("cat /all/color.txt /all/sub/password /all/name; ls /all; stat -L -c %a /all/sub/password; " + forever)
	c.VolumeMounts = []corev1.VolumeMount{{Name: "all", MountPath: "/all"}}
	l.pod("pod", corev1.PodSpec{Containers: []corev1.Container{c}, Volumes: []corev1.Volume{{Name: "all", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
		{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}, Items: []corev1.KeyToPath{{Key: "color", Path: "color.txt"}}}},
		{Secret: &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "login"}, Items: []corev1.KeyToPath{{Key: "password", Path: "sub/password", Mode: &mode}}}},
		{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{{Path: "name", FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.name"}}}}},
	}}}}}})
	l.until("pod", "ready", ready)
	const want = "blues3cretpodcolor.txt\nname\nsub\n400\n"
	l.poll("it shows all of them", func() bool { return l.logs("pod", "main", corev1.PodLogOptions{}) == want },
		func() any { return l.logs("pod", "main", corev1.PodLogOptions{}) })
	dirs, err := filepath.Glob(filepath.Join(l.dir, "pods", "*", "volumes", "all"))
	if err != nil || len(dirs) != 1 {
		t.Fatal(dirs, err)
	}
	const tmpfsMagic = 0x01021994 // statfs(2)
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dirs[0], &fs); err != nil || fs.Type != tmpfsMagic {
		t.Errorf("a secret is on a disk: %#x, %v", fs.Type, err)
	}
}

func TestVolumesFollowSecretsAndThePodItself(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "login"}, Data: map[string][]byte{"password": []byte("one"), "old": nil}}
	if err := l.client.Create(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	c := sh("until grep -q two /login/password && test ! -e /login/old && grep -q paid /about/annotations; do sleep 0.05; done")
	c.VolumeMounts = []corev1.VolumeMount{{Name: "login", MountPath: "/login"}, {Name: "about", MountPath: "/about"}}
	l.pod("pod", corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{c}, Volumes: []corev1.Volume{
		{Name: "login", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "login"}}},
		{Name: "about", VolumeSource: corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{Items: []corev1.DownwardAPIVolumeFile{
			{Path: "annotations", FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.annotations"}},
		}}}},
	}})
	l.until("pod", "running", phase(corev1.PodRunning))
	secret.Data = map[string][]byte{"password": []byte("two")}
	if err := l.client.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	if err := l.client.Patch(t.Context(), l.get("pod"), client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"annotations":{"order":"paid"}}}`))); err != nil {
		t.Fatal(err)
	}
	l.until("pod", "succeeded", phase(corev1.PodSucceeded))
}

func TestPostStartHooks(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	exec := func(script string) *corev1.Lifecycle {
		return &corev1.Lifecycle{PostStart: &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"sh", "-c", script}}}}
	}
	main, next := sh(forever), sh("test -e /work/go && echo hooked; "+forever)
	next.Name = "next"
	mount := []corev1.VolumeMount{{Name: "work", MountPath: "/work"}}
	main.Lifecycle, main.VolumeMounts, next.VolumeMounts = exec("echo x >> /work/tries; until test -e /work/go; do sleep 0.05; done"), mount, mount
	l.pod("good", corev1.PodSpec{Containers: []corev1.Container{main, next}, Volumes: emptyDirs("work")})
	bad := sh(forever)
	bad.Lifecycle = exec("exit 9")
	l.pod("bad", corev1.PodSpec{Containers: []corev1.Container{bad}})
	l.until("bad", "restarted", func(p *corev1.Pod) bool { return waits(p, "CrashLoopBackOff") })
	l.poll("event", l.event("bad", "FailedPostStartHook"), nothing)

	l.until("good", "running", func(p *corev1.Pod) bool { return p.Status.ContainerStatuses[0].State.Running != nil })
	l.stop() // In the middle of the hook: it is run again, and not forgotten.
	l.start()
	tries := func() int {
		files, err := filepath.Glob(filepath.Join(l.dir, "pods", "*", "volumes", "work", "tries"))
		if err != nil || len(files) != 1 {
			return 0
		}
		b, err := os.ReadFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		return len(b) / 2
	}
	l.poll("the hook runs", func() bool { return tries() > 0 }, nothing)
	p := l.until("good", "told of", func(p *corev1.Pod) bool { return len(p.Status.ContainerStatuses) == 2 })
	if ready(p) || p.Status.ContainerStatuses[0].Ready || p.Status.ContainerStatuses[1].State.Waiting == nil {
		t.Errorf("while its hook runs: %+v", p.Status)
	}
	files, err := filepath.Glob(filepath.Join(l.dir, "pods", "*", "volumes", "work"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	if err := os.WriteFile(filepath.Join(files[0], "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l.until("good", "ready", ready)
	l.poll("the next one came after the hook", func() bool { return l.logs("good", "next", corev1.PodLogOptions{}) == "hooked\n" }, nothing)
	if p := l.get("good"); p.Status.ContainerStatuses[0].RestartCount != 0 {
		t.Errorf("%+v", p.Status.ContainerStatuses[0])
	}
}

func TestAProbeMayConnect(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	c := sh("until test -e /tmp/go; do sleep 0.05; done; exec httpd -f -p 8080 -h /tmp")
	c.Ports = []corev1.ContainerPort{{Name: "web", ContainerPort: 8080}}
	c.ReadinessProbe = &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromString("web")}}}
	l.pod("web", corev1.PodSpec{Containers: []corev1.Container{c}})
	l.until("web", "running", phase(corev1.PodRunning))
	if ready(l.get("web")) {
		t.Error("it is ready before it listens")
	}
	l.exec("touch", "/tmp/go")
	l.until("web", "ready", ready)
}

func TestADeadlineEndsAPod(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	one := int64(1)
	l.pod("late", corev1.PodSpec{ActiveDeadlineSeconds: &one, Containers: []corev1.Container{sh(forever)}})
	s := l.until("late", "failed", phase(corev1.PodFailed)).Status
	if s.Reason != "DeadlineExceeded" || ready(l.get("late")) {
		t.Errorf("%+v", s)
	}
}

func TestLogsSince(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.pod("talk", corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{sh("echo old; sleep 2; echo new")}})
	l.until("talk", "succeeded", phase(corev1.PodSucceeded))
	lines := strings.Split(l.logs("talk", "main", corev1.PodLogOptions{Timestamps: true}), "\n")
	if len(lines) != 3 {
		t.Fatalf("%q", lines)
	}
	stamp, _, _ := strings.Cut(lines[1], " ")
	at, err := time.Parse(time.RFC3339Nano, stamp)
	if err != nil {
		t.Fatal(err)
	}
	since := metav1.NewTime(at.Add(-time.Second))
	if got := l.logs("talk", "main", corev1.PodLogOptions{SinceTime: &since}); got != "new\n" {
		t.Errorf("since %v: %q", since, got)
	}
	hour := int64(3600)
	if got := l.logs("talk", "main", corev1.PodLogOptions{SinceSeconds: &hour}); got != "old\nnew\n" {
		t.Errorf("of an hour: %q", got)
	}
}

// controlOf reads what the kernel was told of a process, in cgroup v1's or v2's way.
func controlOf(t *testing.T, pid int, v1Controller, v1File, v2File string) string {
	t.Helper()
	groups, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(groups)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		path := ""
		switch {
		case len(f) < 3:
		case strings.Contains(","+f[1]+",", ","+v1Controller+","):
			path = filepath.Join("/sys/fs/cgroup", v1Controller, f[2], v1File)
		case f[1] == "":
			path = filepath.Join("/sys/fs/cgroup", f[2], v2File)
		}
		if b, err := os.ReadFile(path); path != "" && err == nil {
			return strings.TrimSpace(string(b))
		}
	}
	t.Fatalf("neither %s nor %s is anywhere in %s", v1File, v2File, groups)
	return ""
}

// TestTheKernelIsToldOfLimits: the numbers are the kubelet's, and the files those of the
// version of control groups that the machine has.
func TestTheKernelIsToldOfLimits(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	c := sh(forever)
	c.Resources = corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("250m"), corev1.ResourceMemory: resource.MustParse("16Mi")},
		Limits:   corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("500m"), corev1.ResourceMemory: resource.MustParse("32Mi")},
	}
	l.pod("web", corev1.PodSpec{Containers: []corev1.Container{c}})
	l.until("web", "ready", ready)
	i, err := l.docker.ContainerInspect(t.Context(), l.running("main"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ controller, v1, v2, want1, want2 string }{
		{"memory", "memory.limit_in_bytes", "memory.max", "33554432", "33554432"},
		{"pids", "pids.max", "pids.max", "4096", "4096"},
		{"cpu", "cpu.cfs_quota_us", "cpu.max", "50000", "50000 100000"},
		{"cpu", "cpu.shares", "cpu.weight", "256", "10"}, // 1 + (256-2)·9999/262142
	} {
		if got := controlOf(t, i.State.Pid, c.controller, c.v1, c.v2); got != c.want1 && got != c.want2 {
			t.Errorf("%s or %s is %q", c.v1, c.v2, got)
		}
	}
	score, err := os.ReadFile("/proc/" + strconv.Itoa(i.State.Pid) + "/oom_score_adj")
	if n, _ := strconv.Atoi(strings.TrimSpace(string(score))); err != nil || n < 2 || n > 999 {
		t.Errorf("oom_score_adj %s, %v", score, err)
	}
}

func TestWhoTakesTooMuchMemoryIsToldOf(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	c := sh("exec dd if=/dev/zero of=/dev/null bs=64M count=1")
	c.Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("16Mi")}
	l.pod("big", corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{c}})
	end := l.until("big", "failed", phase(corev1.PodFailed)).Status.ContainerStatuses[0].State.Terminated
	if end == nil || end.Reason != "OOMKilled" || end.ExitCode != 137 {
		t.Errorf("%+v", end)
	}
}

// slowed is an engine that takes a while to make a container, and counts how many it makes at once.
type slowed struct {
	engine.Docker
	mu        sync.Mutex
	now, most int // guarded by mu
}

func (s *slowed) ContainerCreate(ctx context.Context, c *container.Config, h *container.HostConfig, n *network.NetworkingConfig, p *ocispec.Platform, name string) (container.CreateResponse, error) {
	if c.Labels[runtime.LabelContainer] != "" {
		s.mu.Lock()
		s.now++
		s.most = max(s.most, s.now)
		s.mu.Unlock()
		defer func() { s.mu.Lock(); s.now--; s.mu.Unlock() }()
		time.Sleep(50 * time.Millisecond)
	}
	return s.Docker.ContainerCreate(ctx, c, h, n, p, name)
}

func TestStartsAreBounded(t *testing.T) {
	t.Parallel()
	s := &slowed{Docker: enginetest.Client(t)}
	l := newLabIn(t, s, t.TempDir(), func(o *runtime.Options) { o.Starts, o.Workers = 2, 16 })
	names := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
	for _, n := range names {
		l.pod(n, corev1.PodSpec{Containers: []corev1.Container{sh(forever)}})
	}
	for _, n := range names {
		l.until(n, "ready", ready)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.most != 2 {
		t.Errorf("%d containers were made at once", s.most)
	}
}

// TestEndedContainersGoWhenTheDiskIsFull: every disk is fuller than 1 %.
func TestEndedContainersGoWhenTheDiskIsFull(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.pod("job", corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{sh("true")}})
	l.until("job", "succeeded", phase(corev1.PodSucceeded))
	restarted := func(p *corev1.Pod) bool { return ready(p) && p.Status.ContainerStatuses[0].RestartCount == 1 }
	before := map[string]string{}
	// Several, as containers of one second are in no order by their times.
	for _, name := range []string{"web", "shop", "blog"} {
		l.pod(name, corev1.PodSpec{Containers: []corev1.Container{sh(forever)}})
		id := l.until(name, "ready", ready).Status.ContainerStatuses[0].ContainerID
		if err := l.docker.ContainerKill(t.Context(), strings.TrimPrefix(id, "docker://"), "KILL"); err != nil {
			t.Fatal(err)
		}
		before[name] = l.until(name, "restarted", restarted).Status.ContainerStatuses[0].ContainerID
	}
	l.stop()
	l.tune = append(l.tune, func(o *runtime.Options) { o.DiskHigh, o.DiskLow = 1, 1 })
	l.start()
	l.poll("what is kept for its log only is gone", func() bool {
		kept := map[string]int{}
		for _, c := range l.containers() {
			if c.Labels[runtime.LabelContainer] != "" {
				kept[c.Labels[runtime.LabelPod]]++
			}
		}
		return maps.Equal(kept, map[string]int{"web": 1, "shop": 1, "blog": 1})
	}, func() any { return l.containers() })
	for name, id := range before {
		if after := l.get(name); !restarted(after) || after.Status.ContainerStatuses[0].ContainerID != id {
			t.Errorf("what runs: %+v", after.Status)
		}
	}
	if p := l.get("job"); p.Status.Phase != corev1.PodSucceeded {
		t.Errorf("what has ended: %+v", p.Status)
	}
}
