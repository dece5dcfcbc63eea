package runtime

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/strslice"
	corev1 "k8s.io/api/core/v1"

	"slipway.dev/slipway/api/constraints"
)

// Limits that every container has.
const (
	// pidsLimit is the number of processes and threads of one container.
	pidsLimit = 4096
	// Logs are rotated by the engine.
	logSize  = "10m"
	logFiles = "3"
)

// made is a container that is to be made, as Docker wants it.
type made struct {
	Config *container.Config
	Host   *container.HostConfig
}

// inputs are what a container is made from beside the pod.
type inputs struct {
	instance string
	kind     Kind
	action   Action
	// sandbox is the id of the sandbox to join.
	sandbox string
	env     []string
	mounts  []mount.Mount
	// message is the file for what it says when it ends.
	message string
	// machine is the node's memory in bytes; 0: unknown.
	machine int64
	// imageUser is the user that the image names; needed for runAsNonRoot.
	imageUser string
}

func labels(instance string, pod *corev1.Pod, kind Kind, attempt int) map[string]string {
	return map[string]string{
		LabelInstance: instance, LabelNamespace: pod.Namespace, LabelPod: pod.Name, LabelUID: string(pod.UID),
		LabelKind: string(kind), LabelAttempt: strconv.Itoa(attempt), LabelGrace: graceOf(pod).String(),
		LabelGeneration: strconv.FormatInt(pod.Generation, 10),
	}
}

// sandboxSpec is the container that holds the pod's namespaces. It may do nothing.
func sandboxSpec(instance, image string, pod *corev1.Pod, attempt int) made {
	pids := int64(64)
	if share := pod.Spec.ShareProcessNamespace; share != nil && *share {
		pids = pidsLimit
	}
	m := made{
		Config: &container.Config{Image: image, Hostname: hostname(pod), Labels: labels(instance, pod, Sandbox, attempt)},
		Host: &container.HostConfig{
			NetworkMode: "none", IpcMode: "shareable", ReadonlyRootfs: true,
			CapDrop: strslice.StrSlice{"ALL"}, SecurityOpt: []string{"no-new-privileges"},
			LogConfig: container.LogConfig{Type: "none"},
			Resources: container.Resources{PidsLimit: &pids},
		},
	}
	if pod.Spec.HostNetwork {
		m.Host.NetworkMode = "host"
	}
	return m
}

// containerSpec is one of the pod's containers.
func containerSpec(pod *corev1.Pod, c *corev1.Container, in inputs) (made, error) {
	l := labels(in.instance, pod, in.kind, in.action.Attempt)
	maps.Copy(l, map[string]string{
		LabelContainer: c.Name, LabelHash: hashOf(c), LabelSandbox: in.sandbox, LabelBackoff: in.action.Backoff.String(),
		LabelMessage: string(c.TerminationMessagePolicy),
	})
	command, err := expandAll(c.Command, in.env)
	if err != nil {
		return made{}, fmt.Errorf("container %s: command: %w", c.Name, err)
	}
	args, err := expandAll(c.Args, in.env)
	if err != nil {
		return made{}, fmt.Errorf("container %s: args: %w", c.Name, err)
	}
	config := &container.Config{
		Image: c.Image, Labels: l, Env: in.env, WorkingDir: c.WorkingDir, Entrypoint: command, Cmd: args,
		OpenStdin: c.Stdin, StdinOnce: c.StdinOnce, Tty: c.TTY,
		// How the pod is says its probes: the image's own check would run beside them for nothing.
		Healthcheck: &container.HealthConfig{Test: []string{"NONE"}},
	}
	host := &container.HostConfig{
		NetworkMode: container.NetworkMode("container:" + in.sandbox),
		IpcMode:     container.IpcMode("container:" + in.sandbox),
		Mounts:      in.mounts,
		SecurityOpt: []string{"no-new-privileges"},
		LogConfig:   container.LogConfig{Type: "json-file", Config: map[string]string{"max-size": logSize, "max-file": logFiles}},
		Resources:   resources(c.Resources),
	}
	host.OomScoreAdj = oomScore(pod, c, in.machine)
	if path := c.TerminationMessagePath; path != "" && !slices.ContainsFunc(in.mounts, func(m mount.Mount) bool { return m.Target == path }) {
		host.Mounts = append(slices.Clone(in.mounts), mount.Mount{Type: mount.TypeBind, Source: in.message, Target: path})
	}
	if share := pod.Spec.ShareProcessNamespace; share != nil && *share {
		host.PidMode = container.PidMode("container:" + in.sandbox)
	}
	if pod.Spec.HostPID {
		host.PidMode = "host"
	}
	if pod.Spec.HostIPC {
		host.IpcMode = "host"
	}
	return made{config, host}, secure(config, host, pod, c, in.imageUser)
}

// resources maps limits and requests as the kubelet does: a CPU limit to a quota, a CPU
// request to shares, a memory limit to a limit without swap.
func resources(r corev1.ResourceRequirements) container.Resources {
	pids := int64(pidsLimit)
	out := container.Resources{PidsLimit: &pids}
	if cpu, ok := r.Limits[corev1.ResourceCPU]; ok && cpu.MilliValue() > 0 {
		out.CPUPeriod = int64(100 * time.Millisecond / time.Microsecond)
		out.CPUQuota = max(cpu.MilliValue()*out.CPUPeriod/1000, 1000)
	}
	request, ok := r.Requests[corev1.ResourceCPU]
	if !ok {
		request = r.Limits[corev1.ResourceCPU]
	}
	out.CPUShares = max(request.MilliValue()*1024/1000, 2)
	if memory, ok := r.Limits[corev1.ResourceMemory]; ok && memory.Value() > 0 {
		out.Memory, out.MemorySwap = memory.Value(), memory.Value()
	}
	return out
}

// secure applies the security contexts. That the pod may have what they ask for was seen by [Agent.allowed].
func secure(config *container.Config, host *container.HostConfig, pod *corev1.Pod, c *corev1.Container, imageUser string) error {
	sc, psc := c.SecurityContext, pod.Spec.SecurityContext
	if sc == nil {
		sc = &corev1.SecurityContext{}
	}
	if psc == nil {
		psc = &corev1.PodSecurityContext{}
	}
	host.Privileged = sc.Privileged != nil && *sc.Privileged
	if host.Privileged || sc.AllowPrivilegeEscalation != nil && *sc.AllowPrivilegeEscalation {
		host.SecurityOpt = nil
	}
	user, group := either(sc.RunAsUser, psc.RunAsUser), either(sc.RunAsGroup, psc.RunAsGroup)
	if user != nil {
		config.User = strconv.FormatInt(*user, 10)
	}
	if group != nil {
		if user == nil {
			name, _, _ := strings.Cut(imageUser, ":")
			config.User = name
			if name == "" {
				config.User = "0"
			}
		}
		config.User += ":" + strconv.FormatInt(*group, 10)
	}
	if nonRoot := either(sc.RunAsNonRoot, psc.RunAsNonRoot); nonRoot != nil && *nonRoot {
		effective := config.User
		if effective == "" {
			effective = imageUser
		}
		name, _, _ := strings.Cut(effective, ":")
		if uid, err := strconv.ParseInt(name, 10, 64); err != nil || uid == 0 {
			return fmt.Errorf("container %s: runAsNonRoot is set, but its image runs as %q: a numeric user other than 0 is needed", c.Name, effective)
		}
	}
	for _, g := range psc.SupplementalGroups {
		host.GroupAdd = append(host.GroupAdd, strconv.FormatInt(g, 10))
	}
	if psc.FSGroup != nil {
		host.GroupAdd = append(host.GroupAdd, strconv.FormatInt(*psc.FSGroup, 10))
	}
	host.ReadonlyRootfs = sc.ReadOnlyRootFilesystem != nil && *sc.ReadOnlyRootFilesystem
	grant(host, sc.Capabilities)
	return nil
}

// grant gives a container its capabilities. One that is privileged has them all, whatever it drops.
func grant(host *container.HostConfig, want *corev1.Capabilities) {
	if host.Privileged {
		return
	}
	if want == nil {
		want = &corev1.Capabilities{}
	}
	held := constraints.Capabilities()
	for _, drop := range want.Drop {
		d := strings.TrimPrefix(strings.ToUpper(string(drop)), "CAP_")
		held = slices.DeleteFunc(held, func(c string) bool { return d == "ALL" || c == d })
	}
	for _, add := range want.Add {
		a := strings.TrimPrefix(strings.ToUpper(string(add)), "CAP_")
		if !slices.Contains(held, a) {
			held = append(held, a)
		}
	}
	host.CapDrop, host.CapAdd = strslice.StrSlice{"ALL"}, held
}

func either[T any](a, b *T) *T {
	if a != nil {
		return a
	}
	return b
}

// mountsOf are the container's mounts: the pod's files of /etc, then its volumes.
func mountsOf(dir string, pod *corev1.Pod, c *corev1.Container, env []string, etc map[string]string) ([]mount.Mount, error) {
	var all []mount.Mount
	taken := map[string]bool{}
	for i, m := range c.VolumeMounts {
		if m.SubPathExpr != "" {
			expanded, err := expandAll([]string{m.SubPathExpr}, env)
			if err != nil {
				return nil, fmt.Errorf("container %s: volumeMounts[%d].subPathExpr: %w", c.Name, i, err)
			}
			m.SubPath = expanded[0]
		}
		reads := m.ReadOnly
		for _, v := range pod.Spec.Volumes {
			if v.Name == m.Name && readOnly(&v) {
				reads = true
			}
		}
		source := sourceOf(dir, pod, m.Name)
		if m.SubPath != "" {
			var err error
			target := filepath.Join(dir, "subpaths", c.Name, strconv.Itoa(i))
			if source, err = subPath(source, m.SubPath, target); err != nil {
				return nil, fmt.Errorf("container %s: volumeMounts[%d]: %w", c.Name, i, err)
			}
		}
		target := filepath.Clean(m.MountPath)
		taken[target] = true
		all = append(all, mount.Mount{Type: mount.TypeBind, Source: source, Target: target, ReadOnly: reads, BindOptions: propagation(pod, &m)})
	}
	for _, target := range slices.Sorted(maps.Keys(etc)) {
		if !taken[target] {
			all = append(all, mount.Mount{Type: mount.TypeBind, Source: etc[target], Target: target})
		}
	}
	return all, nil
}
