package runtime_test

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	securityv1 "github.com/openshift/api/security/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/runtime"
)

func fromHost(name, path string, t corev1.HostPathType) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: path, Type: &t}}}
}

// admitted makes a pod as one that was admitted by those constraints.
func (l *lab) admitted(name, by string, spec corev1.PodSpec) {
	l.t.Helper()
	grace := int64(1)
	spec.NodeName, spec.TerminationGracePeriodSeconds = node, &grace
	for i := range spec.Containers {
		spec.Containers[i].Image = l.image
	}
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}, Spec: spec}
	if by != "" {
		p.Annotations = map[string]string{api.ConstraintsAnnotation: by}
	}
	if err := l.client.Create(l.t.Context(), p); err != nil {
		l.t.Fatal(err)
	}
}

func TestPathsOfTheHost(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("old\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "tree", "leaf"), 0o755); err != nil {
		t.Fatal(err)
	}
	// A directory of its own: a socket's path is short.
	short, err := os.MkdirTemp("", "s")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(short) })
	listener, err := net.Listen("unix", filepath.Join(short, "s"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	c := sh("test -S /s && cat /file && echo new > /made/x && echo written > /createdfile && echo leaf > /leaf/x && " +
		"if echo no > /readonly/no; then echo it could write; fi; touch /unset/here; cat /dev/zero2 | head -c 4 | wc -c")
	for name, at := range map[string]string{"socket": "/s", "file": "/file", "made": "/made", "createdfile": "/createdfile", "unset": "/unset", "device": "/dev/zero2"} {
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: name, MountPath: at})
	}
	c.VolumeMounts = append(c.VolumeMounts,
		corev1.VolumeMount{Name: "tree", MountPath: "/leaf", SubPath: "leaf"}, corev1.VolumeMount{Name: "tree", MountPath: "/readonly", ReadOnly: true})
	l.admitted("paths", "hostmount-anyuid", corev1.PodSpec{
		RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{c},
		Volumes: []corev1.Volume{
			fromHost("socket", filepath.Join(short, "s"), corev1.HostPathSocket), fromHost("file", filepath.Join(dir, "file"), corev1.HostPathFile),
			fromHost("made", filepath.Join(dir, "a", "made"), corev1.HostPathDirectoryOrCreate), fromHost("createdfile", filepath.Join(dir, "createdfile"), corev1.HostPathFileOrCreate),
			fromHost("tree", filepath.Join(dir, "tree"), corev1.HostPathDirectory), fromHost("unset", filepath.Join(dir, "b", "unset"), corev1.HostPathUnset),
			fromHost("device", "/dev/zero", corev1.HostPathCharDev),
		},
	})
	l.until("paths", "ended", func(p *corev1.Pod) bool {
		return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
	})
	if got := l.logs("paths", "main", corev1.PodLogOptions{}); !strings.Contains(got, "old\n") || !strings.Contains(got, "\n4\n") || strings.Contains(got, "could write") {
		t.Errorf("it said %q", got)
	}
	pod := l.get("paths")
	if err := l.client.Delete(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	l.poll("the pod is gone", func() bool {
		return apierrors.IsNotFound(l.client.Get(t.Context(), client.ObjectKeyFromObject(pod), pod))
	}, func() any { return pod.Status })
	for file, want := range map[string]string{"a/made/x": "new\n", "createdfile": "written\n", "tree/leaf/x": "leaf\n", "b/unset/here": "", "file": "old\n"} {
		if got, err := os.ReadFile(filepath.Join(dir, file)); err != nil || string(got) != want {
			t.Errorf("%s after the pod: %q, %v", file, got, err)
		}
	}
}

func TestAPathThatIsNotOfItsTypeHoldsThePodBack(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]corev1.Volume{
		"absent": fromHost("a", filepath.Join(dir, "absent"), corev1.HostPathDirectory), "file": fromHost("a", filepath.Join(dir, "file"), corev1.HostPathDirectoryOrCreate),
		"directory": fromHost("a", dir, corev1.HostPathFileOrCreate), "socket": fromHost("a", filepath.Join(dir, "file"), corev1.HostPathSocket),
		"device": fromHost("a", "/dev/null", corev1.HostPathBlockDev), "deep": fromHost("a", filepath.Join(dir, "no", "file"), corev1.HostPathFileOrCreate),
	} {
		c := sh(forever)
		c.VolumeMounts = []corev1.VolumeMount{{Name: "a", MountPath: "/a"}}
		l.admitted(name, "hostmount-anyuid", corev1.PodSpec{Containers: []corev1.Container{c}, Volumes: []corev1.Volume{v}})
	}
	for _, name := range []string{"absent", "file", "directory", "socket", "device", "deep"} {
		l.until(name, "told why", waiting("volume a: "))
	}
	if _, err := os.Stat(filepath.Join(dir, "absent")); err == nil {
		t.Error("what had to be there was made")
	}
}

// waiting: a container's message says why it waits.
func waiting(why string) func(*corev1.Pod) bool {
	return func(p *corev1.Pod) bool {
		for _, c := range p.Status.ContainerStatuses {
			if w := c.State.Waiting; w != nil && strings.Contains(w.Message, why) {
				return true
			}
		}
		return false
	}
}

// TestANodeRunsOnlyWhatItsConstraintsAllow: also where whoever made the pod asked nobody.
func TestANodeRunsOnlyWhatItsConstraintsAllow(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	dir, yes := t.TempDir(), true
	path := func() corev1.PodSpec {
		c := sh("touch /a/was-here; " + forever)
		c.VolumeMounts = []corev1.VolumeMount{{Name: "a", MountPath: "/a"}}
		return corev1.PodSpec{Containers: []corev1.Container{c}, Volumes: []corev1.Volume{fromHost("a", dir, corev1.HostPathUnset)}}
	}
	power := func(sc corev1.SecurityContext) corev1.PodSpec {
		c := sh(forever)
		c.SecurityContext = &sc
		return corev1.PodSpec{Containers: []corev1.Container{c}}
	}
	l.admitted("nobody", "", path())
	l.admitted("anyuid", "anyuid", path())
	l.admitted("gone", "agents", path())
	l.admitted("privileged", "hostaccess", power(corev1.SecurityContext{Privileged: &yes}))
	l.admitted("escalates", "hostaccess", power(corev1.SecurityContext{AllowPrivilegeEscalation: &yes}))
	l.admitted("able", "restricted", power(corev1.SecurityContext{Capabilities: &corev1.Capabilities{Add: []corev1.Capability{"SYS_ADMIN"}}}))
	for name, why := range map[string]string{
		"nobody": "was admitted by no SecurityContextConstraints: spec.volumes[0]", "anyuid": "is not what SecurityContextConstraints anyuid allow: spec.volumes[0]",
		"gone": "SecurityContextConstraints agents, which are gone", "privileged": "securityContext.privileged", "escalates": "securityContext.allowPrivilegeEscalation",
		"able": "securityContext.capabilities.add[0]",
	} {
		l.until(name, "told why", waiting(why))
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("it was run: %v, %v", entries, err)
	}
	// Constraints that come, or come back, are enough.
	if err := l.client.Create(t.Context(), &securityv1.SecurityContextConstraints{
		ObjectMeta: metav1.ObjectMeta{Name: "agents"}, AllowHostDirVolumePlugin: true,
		RunAsUser:      securityv1.RunAsUserStrategyOptions{Type: securityv1.RunAsUserStrategyRunAsAny},
		SELinuxContext: securityv1.SELinuxContextStrategyOptions{Type: securityv1.SELinuxStrategyRunAsAny},
	}); err != nil {
		t.Fatal(err)
	}
	l.until("gone", "running", ready)
	l.poll("it writes on the host", func() bool {
		_, err := os.Stat(filepath.Join(dir, "was-here"))
		return err == nil
	}, nothing)
}

// TestPrivilegedContainers have what was asked for, and those beside them have not. Whether the kernel lets the engine
// run a privileged one depends on what the engine itself may do here: that the engine was asked for it is what counts.
func TestPrivilegedContainers(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	yes := true
	const tell = "grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/self/status; exec sleep 600"
	able, gains, plain := sh(tell), sh(tell), sh(tell)
	gains.Name, plain.Name = "gains", "plain"
	able.SecurityContext = &corev1.SecurityContext{Privileged: &yes}
	gains.SecurityContext = &corev1.SecurityContext{AllowPrivilegeEscalation: &yes, Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}, Add: []corev1.Capability{"SYS_TIME"}}}
	l.admitted("power", "privileged", corev1.PodSpec{Containers: []corev1.Container{able, gains, plain}})
	privileged := map[string]bool{}
	l.poll("all are made", func() bool {
		for _, c := range l.containers() {
			i, err := l.docker.ContainerInspect(t.Context(), c.ID)
			if name := c.Labels[runtime.LabelContainer]; err == nil && name != "" {
				privileged[name] = i.HostConfig.Privileged && !slices.Contains(i.HostConfig.SecurityOpt, "no-new-privileges")
			}
		}
		return len(privileged) == 3
	}, func() any { return privileged })
	if !privileged["main"] || privileged["gains"] || privileged["plain"] {
		t.Errorf("privileged: %v", privileged)
	}
	for name, want := range map[string][]string{"gains": {"CapEff:\t0000000002000000", "NoNewPrivs:\t0", "Seccomp:\t2"}, "plain": {"CapEff:\t00000000000005fb", "NoNewPrivs:\t1", "Seccomp:\t2"}} {
		l.poll(name+" has spoken", func() bool {
			return l.running(name) != "" && strings.Contains(l.logs("power", name, corev1.PodLogOptions{}), "Seccomp")
		}, func() any { return l.get("power").Status })
		for _, line := range want {
			if got := l.logs("power", name, corev1.PodLogOptions{}); !strings.Contains(got, line+"\n") {
				t.Errorf("%s: %q has no %q", name, got, line)
			}
		}
	}
}
