package runtime_test

import (
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/runtime"
)

func TestAPodRunsAndItsDeletionLeavesNothing(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.pod("web", corev1.PodSpec{Containers: []corev1.Container{sh(forever)}})
	pod := l.until("web", "ready", ready)
	s := pod.Status
	if s.Phase != corev1.PodRunning || s.ObservedGeneration != pod.Generation || s.HostIP == "" || s.StartTime == nil || len(s.ContainerStatuses) != 1 {
		t.Errorf("status %+v", s)
	}
	if c := s.ContainerStatuses[0]; !c.Ready || c.State.Running == nil || c.RestartCount != 0 || !strings.HasPrefix(c.ContainerID, "docker://") || c.ImageID == "" {
		t.Errorf("container status %+v", c)
	}
	for _, reason := range []string{"Pulled", "Created", "Started"} {
		l.poll("event "+reason, l.event("web", reason), nothing)
	}
	if err := l.client.Delete(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	l.poll("the pod is gone", func() bool {
		return apierrors.IsNotFound(l.client.Get(t.Context(), client.ObjectKeyFromObject(pod), &corev1.Pod{}))
	}, nothing)
	if left := l.containers(); len(left) != 0 {
		t.Errorf("containers are left: %v", left)
	}
	left, err := filepath.Glob(filepath.Join(l.dir, "pods", "*"))
	if err != nil || len(left) != 0 {
		t.Errorf("files are left: %v, %v", left, err)
	}
}

func TestAKilledContainerIsStartedAgainAndSaidSo(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.pod("web", corev1.PodSpec{Containers: []corev1.Container{sh("echo hello; " + forever)}})
	l.until("web", "ready", ready)
	l.poll("it has spoken", func() bool { return l.logs("web", "main", corev1.PodLogOptions{}) == "hello\n" }, nothing)
	first := l.running("main")
	if err := l.docker.ContainerKill(t.Context(), first, "KILL"); err != nil {
		t.Fatal(err)
	}
	pod := l.until("web", "restarted", func(p *corev1.Pod) bool { return ready(p) && p.Status.ContainerStatuses[0].RestartCount == 1 })
	last := pod.Status.ContainerStatuses[0].LastTerminationState.Terminated
	if last == nil || last.ExitCode != 137 || last.Reason != "Error" {
		t.Errorf("last state %+v", last)
	}
	l.poll("event Drift", l.event("web", "Drift"), nothing)
	if got := l.logs("web", "main", corev1.PodLogOptions{Previous: true}); got != "hello\n" {
		t.Errorf("the previous container's logs: %q", got)
	}
	// The sandbox, too.
	for _, c := range l.containers() {
		if c.Labels[runtime.LabelKind] == string(runtime.Sandbox) {
			if err := l.docker.ContainerRemove(t.Context(), c.ID, container.RemoveOptions{Force: true}); err != nil {
				t.Fatal(err)
			}
		}
	}
	l.until("web", "a second restart", func(p *corev1.Pod) bool {
		return p.Status.ContainerStatuses[0].RestartCount == 2 || waits(p, "CrashLoopBackOff")
	})
}

func waits(p *corev1.Pod, reason string) bool {
	for _, c := range append(p.Status.ContainerStatuses, p.Status.InitContainerStatuses...) {
		if c.State.Waiting != nil && c.State.Waiting.Reason == reason {
			return true
		}
	}
	return false
}

func TestARestartOfTheAgentRestartsNothing(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.pod("web", corev1.PodSpec{Containers: []corev1.Container{sh(forever)}})
	gone := l.pod("gone", corev1.PodSpec{Containers: []corev1.Container{sh(forever)}})
	l.until("gone", "ready", ready)
	before := l.until("web", "ready", ready)
	l.stop()
	if err := l.client.Delete(t.Context(), gone, client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	l.start()
	l.poll("the pod that was deleted meanwhile is cleared", func() bool { return len(l.containers()) == 2 }, func() any { return l.containers() })
	l.pod("next", corev1.PodSpec{Containers: []corev1.Container{sh(forever)}})
	l.until("next", "ready", ready)
	after := l.get("web")
	if b, a := before.Status.ContainerStatuses[0], after.Status.ContainerStatuses[0]; a.ContainerID != b.ContainerID || a.RestartCount != 0 || !ready(after) {
		t.Errorf("before %+v, after %+v", b, a)
	}
}

func TestInitContainersRunInOrderAndShareVolumes(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	mount := []corev1.VolumeMount{{Name: "work", MountPath: "/work"}}
	l.pod("job", corev1.PodSpec{
		RestartPolicy: corev1.RestartPolicyNever,
		Volumes:       []corev1.Volume{{Name: "work", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}},
		InitContainers: []corev1.Container{
			{Name: "one", Command: []string{"sh", "-c", "echo 1 > /work/f"}, VolumeMounts: mount},
			{Name: "two", Command: []string{"sh", "-c", "echo 2 >> /work/f"}, VolumeMounts: mount},
		},
		Containers: []corev1.Container{{Name: "main", Command: []string{"cat", "/work/f"}, VolumeMounts: mount}},
	})
	pod := l.until("job", "succeeded", phase(corev1.PodSucceeded))
	if got := l.logs("job", "main", corev1.PodLogOptions{}); got != "1\n2\n" {
		t.Errorf("it read %q", got)
	}
	if c := pod.Status.ContainerStatuses[0].State.Terminated; c == nil || c.Reason != "Completed" || c.ExitCode != 0 {
		t.Errorf("state %+v", c)
	}
	l.poll("the sandbox is gone, the containers stay for their logs", func() bool { return len(l.containers()) == 3 }, nothing)
}

func TestAFailedInitContainerFailsThePod(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	init := sh("exit 3")
	init.Name = "init"
	l.pod("job", corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, InitContainers: []corev1.Container{init}, Containers: []corev1.Container{sh("true")}})
	pod := l.until("job", "failed", phase(corev1.PodFailed))
	if s := pod.Status.InitContainerStatuses[0].State.Terminated; s == nil || s.ExitCode != 3 || s.Reason != "Error" {
		t.Errorf("state %+v", pod.Status.InitContainerStatuses[0])
	}
}

func TestTheEnvironment(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	for _, o := range []client.Object{
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "settings"}, Data: map[string]string{"COLOR": "blue", "file.txt": "from a file"}, BinaryData: map[string][]byte{"ICON": {0, 1, 2}}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "login"}, Data: map[string][]byte{"password": []byte("s3cret")}},
		&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "back-end"}, Spec: corev1.ServiceSpec{ClusterIP: "172.30.1.2", Ports: []corev1.ServicePort{{Port: 8080, Protocol: corev1.ProtocolTCP}}}},
	} {
		if err := l.client.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	c := sh(`echo "$COLOR $PASSWORD $BACK_END_SERVICE_HOST:$BACK_END_SERVICE_PORT $NAME $GREETING $(hostname) ${ICON-none}"; wc -c < /config/ICON; cat /config/file.txt /secret/password; ` +
		`echo; cat /etc/hostname; grep -c localhost /etc/hosts; (echo bad > /config/x) 2> /dev/null || echo read-only; cat /proc/self/status | grep -E 'NoNewPrivs|CapEff'`)
	c.EnvFrom = []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}}}}
	c.Env = []corev1.EnvVar{
		{Name: "PASSWORD", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "login"}, Key: "password"}}},
		{Name: "NAME", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.name"}}},
		{Name: "GREETING", Value: "hello-$(NAME)-$(NOBODY)"},
	}
	c.VolumeMounts = []corev1.VolumeMount{{Name: "config", MountPath: "/config"}, {Name: "secret", MountPath: "/secret", ReadOnly: true}}
	l.pod("env", corev1.PodSpec{
		RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{c},
		Volumes: []corev1.Volume{
			{Name: "config", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}}}},
			{Name: "secret", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "login"}}},
		},
	})
	l.until("env", "succeeded", phase(corev1.PodSucceeded))
	got := l.logs("env", "", corev1.PodLogOptions{})
	for _, want := range []string{
		"blue s3cret 172.30.1.2:8080 env hello-env-$(NOBODY) env none\n3\n", "from a files3cret\n", "env\n", "read-only\n",
		"CapEff:\t00000000000005fb\n", "NoNewPrivs:\t1\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in %q", want, got)
		}
	}
}

func TestAMissingConfigMapIsWaitedFor(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	c := sh("echo $COLOR")
	c.EnvFrom = []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "late"}}}}
	l.pod("late", corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{c}})
	l.until("late", "waits", func(p *corev1.Pod) bool { return waits(p, "CreateContainerConfigError") })
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "late"}, Data: map[string]string{"COLOR": "red"}}
	if err := l.client.Create(t.Context(), cm); err != nil {
		t.Fatal(err)
	}
	l.until("late", "succeeded", phase(corev1.PodSucceeded))
	if got := l.logs("late", "", corev1.PodLogOptions{}); got != "red\n" {
		t.Errorf("it printed %q", got)
	}
}

func TestAConfigMapVolumeFollowsItsConfigMap(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "page"}, Data: map[string]string{"index.html": "one"}}
	if err := l.client.Create(t.Context(), cm); err != nil {
		t.Fatal(err)
	}
	c := sh("until grep two /page/index.html; do sleep 0.05; done")
	c.VolumeMounts = []corev1.VolumeMount{{Name: "page", MountPath: "/page"}}
	l.pod("page", corev1.PodSpec{
		RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{c},
		Volumes: []corev1.Volume{{Name: "page", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "page"}}}}},
	})
	l.until("page", "running", phase(corev1.PodRunning))
	cm.Data["index.html"] = "two"
	if err := l.client.Update(t.Context(), cm); err != nil {
		t.Fatal(err)
	}
	l.until("page", "succeeded", phase(corev1.PodSucceeded))
}

func TestProbesDecideReadinessAndLife(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	exec := func(command ...string) corev1.ProbeHandler {
		return corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: command}}
	}
	web := corev1.Container{
		Name: "main", Command: []string{"sh", "-c", "mkdir /www; echo ok > /www/index.html; sleep 0.5; exec httpd -f -p 8080 -h /www"},
		Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}},
	}
	web.StartupProbe = &corev1.Probe{ProbeHandler: exec("test", "-e", "/www/index.html"), PeriodSeconds: 1, FailureThreshold: 30}
	web.ReadinessProbe = &corev1.Probe{PeriodSeconds: 1, FailureThreshold: 1}
	web.ReadinessProbe.HTTPGet = &corev1.HTTPGetAction{Path: "/index.html"}
	web.ReadinessProbe.HTTPGet.Port.Type, web.ReadinessProbe.HTTPGet.Port.StrVal = 1, "http"
	web.LivenessProbe = &corev1.Probe{ProbeHandler: exec("test", "!", "-e", "/tmp/sick"), PeriodSeconds: 1, FailureThreshold: 1}
	l.pod("web", corev1.PodSpec{Containers: []corev1.Container{web}})
	l.until("web", "ready", ready)
	l.exec("mv", "/www/index.html", "/www/away.html")
	l.until("web", "not ready", func(p *corev1.Pod) bool { return !ready(p) })
	l.exec("mv", "/www/away.html", "/www/index.html")
	l.until("web", "ready again", ready)
	l.exec("touch", "/tmp/sick")
	l.until("web", "restarted", func(p *corev1.Pod) bool { return p.Status.ContainerStatuses[0].RestartCount == 1 && ready(p) })
	l.poll("event Unhealthy", l.event("web", "Unhealthy"), nothing)
}

func (l *lab) exec(command ...string) {
	l.t.Helper()
	e, err := l.docker.ContainerExecCreate(l.t.Context(), l.running("main"), container.ExecOptions{Cmd: command})
	if err != nil {
		l.t.Fatal(err)
	}
	if err := l.docker.ContainerExecStart(l.t.Context(), e.ID, container.ExecStartOptions{Detach: true}); err != nil {
		l.t.Fatal(err)
	}
}

func TestWhatCannotRunSaysWhy(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	yes := true
	bad := sh("true")
	bad.Image = "127.0.0.1:1/shop/none@sha256:" + strings.Repeat("0", 64)
	l.pod("no-image", corev1.PodSpec{Containers: []corev1.Container{bad}})
	never := sh("true")
	never.Image, never.ImagePullPolicy = "shop/none:1", corev1.PullNever
	l.pod("never", corev1.PodSpec{Containers: []corev1.Container{never}})
	l.pod("crash", corev1.PodSpec{Containers: []corev1.Container{sh("exit 7")}})
	l.pod("no-command", corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "main", Command: []string{"/none"}}}})
	root := sh("true")
	root.SecurityContext = &corev1.SecurityContext{RunAsNonRoot: &yes}
	l.pod("root", corev1.PodSpec{Containers: []corev1.Container{root}})

	l.until("no-image", "ImagePullBackOff", func(p *corev1.Pod) bool { return waits(p, "ImagePullBackOff") && p.Status.Phase == corev1.PodPending })
	l.until("never", "ErrImageNeverPull", func(p *corev1.Pod) bool { return waits(p, "ErrImageNeverPull") })
	crash := l.until("crash", "CrashLoopBackOff", func(p *corev1.Pod) bool { return waits(p, "CrashLoopBackOff") })
	if c := crash.Status.ContainerStatuses[0]; c.LastTerminationState.Terminated == nil || c.LastTerminationState.Terminated.ExitCode != 7 || c.RestartCount < 1 {
		t.Errorf("status %+v", c)
	}
	failed := l.until("no-command", "failed", phase(corev1.PodFailed))
	if c := failed.Status.ContainerStatuses[0].State.Terminated; c == nil || c.Reason != "ContainerCannotRun" {
		t.Errorf("state %+v", c)
	}
	l.until("root", "refused", func(p *corev1.Pod) bool { return waits(p, "CreateContainerConfigError") })
}

func TestLogsFollowTailAndTimestamps(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.pod("talk", corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{sh("for i in 1 2 3; do echo out $i; done; echo err >&2; sleep 1; echo end")}})
	l.until("talk", "running", phase(corev1.PodRunning))
	if got := l.logs("talk", "main", corev1.PodLogOptions{Follow: true}); strings.Replace(got, "err\n", "", 1) != "out 1\nout 2\nout 3\nend\n" {
		t.Errorf("followed: %q", got)
	}
	one := int64(1)
	if got := l.logs("talk", "main", corev1.PodLogOptions{TailLines: &one}); got != "end\n" {
		t.Errorf("tail: %q", got)
	}
	if got := l.logs("talk", "main", corev1.PodLogOptions{Timestamps: true, TailLines: &one}); !strings.HasSuffix(got, "Z end\n") {
		t.Errorf("timestamps: %q", got)
	}
	if _, err := l.agent.Logs(t.Context(), client.ObjectKey{Namespace: "shop", Name: "talk"}, "other", corev1.PodLogOptions{}); !apierrors.IsBadRequest(err) {
		t.Errorf("another container: %v", err)
	}
}

func TestAPreStopHookRunsBeforeTheSignal(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	c := sh("trap 'cat /tmp/hook; exit 0' TERM; while :; do sleep 0.05; done")
	c.Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"sh", "-c", "echo bye > /tmp/hook"}}}}
	grace := int64(20)
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
	b, err := io.ReadAll(r)
	if err != nil || string(b) != "bye\n" {
		t.Errorf("it saw %q, %v", b, err)
	}
}

func TestTheNodeIsRegisteredAndReady(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	var n corev1.Node
	l.poll("the node is ready", func() bool {
		if err := l.client.Get(t.Context(), client.ObjectKey{Name: node}, &n); err != nil {
			return false
		}
		for _, c := range n.Status.Conditions {
			if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue {
				return true
			}
		}
		return false
	}, func() any { return n })
	if n.Status.Capacity.Cpu().IsZero() || n.Status.Capacity.Memory().IsZero() || len(n.Status.Addresses) != 2 {
		t.Errorf("node %+v", n.Status)
	}
	// A pod that says how much it writes has to find room.
	if all, room := n.Status.Capacity.StorageEphemeral(), n.Status.Allocatable.StorageEphemeral(); room.IsZero() || room.Cmp(*all) >= 0 {
		t.Errorf("ephemeral storage: %s of %s", room, all)
	}
}

func TestEveryContainerIsConfined(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	c := sh(forever)
	c.Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("32Mi"), corev1.ResourceCPU: resource.MustParse("500m")}
	l.pod("limits", corev1.PodSpec{Containers: []corev1.Container{c}})
	l.until("limits", "ready", ready)
	for _, s := range l.containers() {
		i, err := l.docker.ContainerInspect(t.Context(), s.ID)
		if err != nil {
			t.Fatal(err)
		}
		h := i.HostConfig
		if h.PidsLimit == nil || *h.PidsLimit <= 0 || h.Privileged || h.NetworkMode.IsHost() || len(h.CapDrop) != 1 || len(h.SecurityOpt) != 1 {
			t.Errorf("%s: host config %+v", s.Names, h)
		}
		for _, m := range i.Mounts {
			if !strings.HasPrefix(m.Source, l.dir) {
				t.Errorf("%s: %s is mounted", s.Names, m.Source)
			}
		}
	}
	i, err := l.docker.ContainerInspect(t.Context(), l.running("main"))
	if err != nil {
		t.Fatal(err)
	}
	if h := i.Config.Healthcheck; h == nil || !slices.Equal(h.Test, []string{"NONE"}) {
		t.Errorf("a check that the image asks for runs beside the probes: %+v", h)
	}
	if h := i.HostConfig; h.Memory != 32<<20 || h.MemorySwap != 32<<20 || h.CPUQuota != 50000 || h.LogConfig.Config["max-size"] == "" {
		t.Errorf("host config %+v", h)
	}
}
