package runtime_test

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func TestASidecarStartsFirstAndEndsLast(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	always := corev1.ContainerRestartPolicyAlways
	mount := []corev1.VolumeMount{{Name: "work", MountPath: "/work"}}
	side := corev1.Container{
		Name: "side", RestartPolicy: &always, VolumeMounts: mount,
		Command: []string{"sh", "-c", "trap 'cat /work/said; exit 0' TERM; sleep 0.3; touch /work/up; while :; do sleep 0.05; done"},
	}
	side.StartupProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"test", "-e", "/work/up"}}}, PeriodSeconds: 1, FailureThreshold: 60}
	main := sh("test -e /work/up && echo work is done > /work/said")
	main.VolumeMounts = mount
	l.pod("job", corev1.PodSpec{
		RestartPolicy: corev1.RestartPolicyNever, InitContainers: []corev1.Container{side}, Containers: []corev1.Container{main},
		Volumes: []corev1.Volume{{Name: "work", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}},
	})
	l.until("job", "succeeded", phase(corev1.PodSucceeded))
	if got := l.logs("job", "side", corev1.PodLogOptions{}); got != "work is done\n" {
		t.Errorf("the sidecar read %q at its end", got)
	}
}

func TestAContainersLastWords(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	file := sh("echo noise; printf 'out of tea' > /dev/termination-log; exit 4")
	file.SecurityContext = &corev1.SecurityContext{RunAsUser: new(int64)}
	*file.SecurityContext.RunAsUser = 1000
	logs := sh("echo out of milk; exit 5")
	logs.Name, logs.TerminationMessagePolicy = "logs", corev1.TerminationMessageFallbackToLogsOnError
	silent := sh("echo out of words; exit 6")
	silent.Name = "silent"
	l.pod("words", corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{file, logs, silent}})
	pod := l.until("words", "failed", phase(corev1.PodFailed))
	for i, want := range []string{"out of tea", "out of milk\n", ""} {
		if c := pod.Status.ContainerStatuses[i].State.Terminated; c == nil || c.Message != want || c.ExitCode != int32(4+i) {
			t.Errorf("%q: %+v", want, c)
		}
	}
}

func TestWhatAPodSharesAndIsToldOfItself(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	yes, medium := true, resource.MustParse("1Mi")
	limits := corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("32Mi"), corev1.ResourceCPU: resource.MustParse("500m")}
	peer := sh("exec sleep 600")
	peer.Name = "peer"
	main := sh(`until pidof sleep >/dev/null; do sleep 0.05; done; cat /proc/self/oom_score_adj /about/cpu; echo; echo "$MEMORY $LABEL"; ` +
		`grep tea.example /etc/hosts; cp /bin/busybox /mem/busybox; /mem/busybox echo runs in memory; dd if=/dev/zero of=/mem/big bs=1M count=4 2>/dev/null || echo full; exec sleep 600`)
	main.Resources.Limits = limits
	main.Env = []corev1.EnvVar{
		{Name: "MEMORY", ValueFrom: &corev1.EnvVarSource{ResourceFieldRef: &corev1.ResourceFieldSelector{Resource: "limits.memory", Divisor: resource.MustParse("1Mi")}}},
		{Name: "LABEL", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.labels['app']"}}},
	}
	main.VolumeMounts = []corev1.VolumeMount{{Name: "mem", MountPath: "/mem"}, {Name: "about", MountPath: "/about"}}
	medium.Add(resource.MustParse("2Mi"))
	l.pod("shared", corev1.PodSpec{
		ShareProcessNamespace: &yes, Containers: []corev1.Container{main, peer},
		HostAliases: []corev1.HostAlias{{IP: "192.0.2.9", Hostnames: []string{"tea.example"}}},
		Volumes: []corev1.Volume{
			{Name: "mem", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory, SizeLimit: &medium}}},
			{Name: "about", VolumeSource: corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{Items: []corev1.DownwardAPIVolumeFile{
				{Path: "cpu", ResourceFieldRef: &corev1.ResourceFieldSelector{ContainerName: "main", Resource: "limits.cpu", Divisor: resource.MustParse("1m")}},
			}}}},
		},
	})
	l.poll("it has spoken", func() bool {
		return l.running("main") != "" && strings.HasSuffix(l.logs("shared", "main", corev1.PodLogOptions{}), "full\n")
	}, func() any { return l.get("shared").Status })
	got := strings.Split(l.logs("shared", "main", corev1.PodLogOptions{}), "\n")
	want := []string{"", "500", "32 shared", "192.0.2.9\ttea.example", "runs in memory", "full", ""}
	want[0] = got[0]
	if strings.Join(got, "\n") != strings.Join(want, "\n") || len(got[0]) < 3 {
		t.Errorf("it said %q", got)
	}
	// Containers run before the agent has had time to say so.
	if p := l.until("shared", "ready", ready); p.Status.QOSClass != corev1.PodQOSBurstable {
		t.Errorf("class %s", p.Status.QOSClass)
	}
	metrics, err := l.agent.PodMetrics(t.Context())
	if m := metrics[client.ObjectKey{Namespace: "shop", Name: "shared"}]; err != nil || len(m) != 2 || m[0].Memory <= 0 {
		t.Errorf("metrics %+v, %v", metrics, err)
	}
	if m, err := l.agent.NodeMetrics(t.Context()); err != nil || m.CPU <= 0 || m.Memory <= 0 {
		t.Errorf("the node's metrics %+v, %v", m, err)
	}
}

func TestAProbeThatHangsLeavesNoProcess(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	c := sh(forever)
	c.ReadinessProbe = &corev1.Probe{PeriodSeconds: 1, TimeoutSeconds: 1, ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"sleep", "987"}}}}
	l.pod("hang", corev1.PodSpec{Containers: []corev1.Container{c}})
	l.until("hang", "running", phase(corev1.PodRunning))
	// hanging are the ids of the processes: the next probe begins as soon as one is ended.
	hanging := func() (ids []string) {
		top, err := l.docker.ContainerTop(t.Context(), l.running("main"), nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range top.Processes {
			if strings.Contains(strings.Join(p, " "), "sleep 987") {
				ids = append(ids, p[slices.Index(top.Titles, "PID")])
			}
		}
		return ids
	}
	var first []string
	l.poll("a probe hangs", func() bool { first = hanging(); return len(first) > 0 }, nothing)
	l.poll("and is ended", func() bool { return !slices.Contains(hanging(), first[0]) }, nothing)
	if l.get("hang").Status.ContainerStatuses[0].RestartCount != 0 {
		t.Error("the container ended with it")
	}
}

func TestAPodThatWritesTooMuchIsEvicted(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	limit := resource.MustParse("1Mi")
	volume := sh("dd if=/dev/zero of=/work/big bs=1M count=2; " + forever)
	volume.VolumeMounts = []corev1.VolumeMount{{Name: "work", MountPath: "/work"}}
	l.pod("volume", corev1.PodSpec{
		Containers: []corev1.Container{volume},
		Volumes:    []corev1.Volume{{Name: "work", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: &limit}}}},
	})
	layer := sh("dd if=/dev/zero of=/big bs=1M count=2; " + forever)
	layer.Resources.Limits = corev1.ResourceList{corev1.ResourceEphemeralStorage: limit}
	// Together they may write more, so that it is the one container's limit that is exceeded.
	roomy := corev1.Container{Name: "roomy", Command: []string{"sh", "-c", forever}}
	roomy.Resources.Limits = corev1.ResourceList{corev1.ResourceEphemeralStorage: resource.MustParse("1Gi")}
	l.pod("layer", corev1.PodSpec{Containers: []corev1.Container{layer, roomy}})
	l.pod("modest", corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Command: []string{"sh", "-c", forever}, Resources: layer.Resources}}})
	for name, want := range map[string]string{"volume": `EmptyDir volume "work" exceeds`, "layer": "Container main exceeded"} {
		s := l.until(name, "evicted", phase(corev1.PodFailed)).Status
		if s.Reason != "Evicted" || !strings.Contains(s.Message, want) {
			t.Errorf("%s: %s: %s", name, s.Reason, s.Message)
		}
		l.poll("event Evicted", l.event(name, "Evicted"), nothing)
	}
	if p := l.until("modest", "ready", ready); p.Status.Phase != corev1.PodRunning {
		t.Errorf("one that wrote little: %+v", p.Status)
	}
}

func TestASubPathMayNameThePod(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	c := sh("echo $HOME_OF > /own/f; cat /all/*/f")
	nobody := int64(4711) // Whoever may write to the volume may write to the directory that is made in it.
	c.SecurityContext = &corev1.SecurityContext{RunAsUser: &nobody}
	c.Env = []corev1.EnvVar{{Name: "HOME_OF", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.name"}}}}
	c.VolumeMounts = []corev1.VolumeMount{{Name: "work", MountPath: "/own", SubPathExpr: "of-$(HOME_OF)"}, {Name: "work", MountPath: "/all"}}
	escape := c
	escape.VolumeMounts = []corev1.VolumeMount{{Name: "work", MountPath: "/own", SubPathExpr: "$(OUT)/x"}}
	escape.Env = []corev1.EnvVar{{Name: "OUT", Value: "../.."}}
	volumes := []corev1.Volume{{Name: "work", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
	l.pod("mine", corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{c}, Volumes: volumes})
	l.pod("away", corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{escape}, Volumes: volumes})
	l.until("mine", "succeeded", phase(corev1.PodSucceeded))
	if got := l.logs("mine", "main", corev1.PodLogOptions{}); got != "mine\n" {
		t.Errorf("it read %q", got)
	}
	l.until("away", "refused", func(p *corev1.Pod) bool { return waits(p, "CreateContainerConfigError") })
}
