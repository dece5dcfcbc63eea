package runtime_test

import (
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"slipway.dev/slipway/runtime"
	"slipway.dev/slipway/runtime/engine/enginetest"
)

// TestNamespacesOfTheHost: a pod gets those that it asks for, and no others.
func TestNamespacesOfTheHost(t *testing.T) {
	t.Parallel()
	docker := enginetest.Client(t)
	l := newLabIn(t, docker, t.TempDir(), func(o *runtime.Options) { o.HostIP = netip.MustParseAddr("127.0.0.1") })
	own := map[string]string{}
	for _, ns := range []string{"net", "pid", "ipc", "uts", "mnt"} {
		at, err := os.Readlink("/proc/self/ns/" + ns)
		if err != nil {
			t.Fatal(err)
		}
		own[ns] = at
	}
	const tell = "for n in net pid ipc uts mnt; do readlink /proc/self/ns/$n; done; cat /etc/resolv.conf; exec sleep 600"
	specs := map[string]corev1.PodSpec{"plain": {}, "net": {HostNetwork: true}, "pid": {HostPID: true}, "ipc": {HostIPC: true}, "all": {HostNetwork: true, HostPID: true, HostIPC: true, DNSPolicy: corev1.DNSClusterFirstWithHostNet}}
	for name, spec := range specs {
		spec.Containers = []corev1.Container{sh(tell), sh(tell)}
		spec.Containers[1].Name = "second"
		l.admitted(name, "privileged", spec)
	}
	for name, spec := range specs {
		pod := l.until(name, "ready", ready)
		for _, c := range []string{"main", "second"} {
			l.poll(name+" has spoken", func() bool { return strings.Contains(l.logs(name, c, corev1.PodLogOptions{}), "mnt:") }, func() any { return l.get(name).Status })
			said := l.logs(name, c, corev1.PodLogOptions{})
			for ns, want := range map[string]bool{"net": spec.HostNetwork, "pid": spec.HostPID, "ipc": spec.HostIPC, "uts": false, "mnt": false} {
				if strings.Contains(said, own[ns]) != want {
					t.Errorf("%s, container %s: %s of the host: %v\n%s", name, c, ns, !want, said)
				}
			}
		}
		if want := map[bool]string{true: "127.0.0.1", false: ""}[spec.HostNetwork]; pod.Status.PodIP != want {
			t.Errorf("%s has the address %q, want %q", name, pod.Status.PodIP, want)
		}
	}
}

// TestAPodInTheNetworkOfItsNode is probed there, has the node's names, and leaves nothing behind.
func TestAPodInTheNetworkOfItsNode(t *testing.T) {
	t.Parallel()
	docker := enginetest.Client(t)
	l := newLabIn(t, docker, t.TempDir(), func(o *runtime.Options) { o.HostIP = netip.MustParseAddr("127.0.0.1") })
	port := 23000 + os.Getpid()%1000
	c := sh(fmt.Sprintf("mkdir -p /tmp/w; hostname > /tmp/w/index.html; cat /etc/hosts >> /tmp/w/index.html; exec httpd -f -p 127.0.0.1:%d -h /tmp/w", port))
	c.Ports = []corev1.ContainerPort{{ContainerPort: int32(port)}}
	c.ReadinessProbe = &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/", Port: intstr.FromInt(port)}}}
	l.admitted("web", "hostnetwork", corev1.PodSpec{
		HostNetwork: true, Containers: []corev1.Container{c}, HostAliases: []corev1.HostAlias{{IP: "192.0.2.9", Hostnames: []string{"tea.example"}}},
	})
	l.until("web", "refused: it needs a user of the project", waiting("the project has no range of users yet"))
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	must(l.client.Delete(t.Context(), l.get("web")))
	l.poll("it is gone", func() bool { return len(l.containers()) == 0 }, func() any { return l.containers() })
	l.admitted("page", "privileged", corev1.PodSpec{
		HostNetwork: true, Containers: []corev1.Container{c}, HostAliases: []corev1.HostAlias{{IP: "192.0.2.9", Hostnames: []string{"tea.example"}}},
	})
	pod := l.until("page", "ready", ready)
	if p := pod.Spec.Containers[0].Ports[0]; p.HostPort != int32(port) {
		t.Errorf("its port of the node: %+v", p)
	}
	page, err := l.fetch(fmt.Sprintf("http://127.0.0.1:%d/", port))
	name, _ := os.Hostname()
	hosts, _ := os.ReadFile("/etc/hosts")
	if err != nil || !strings.HasPrefix(page, name+"\n") || !strings.HasSuffix(page, "192.0.2.9\ttea.example\n") || !strings.Contains(page, strings.TrimSpace(string(hosts))) {
		t.Errorf("%v, %q", err, page)
	}
	must(l.client.Delete(t.Context(), l.get("page")))
	l.poll("nothing is left", func() bool { return len(l.containers()) == 0 }, func() any { return l.containers() })
	if _, err := l.fetch(fmt.Sprintf("http://127.0.0.1:%d/", port)); err == nil {
		t.Error("it still serves")
	}
}

func (l *lab) fetch(url string) (string, error) {
	r, err := http.Get(url)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	return string(body), err
}
