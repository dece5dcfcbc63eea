package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	networkv1 "github.com/openshift/api/network/v1"
	"github.com/vishvananda/netlink"
	corev1 "k8s.io/api/core/v1"

	node "slipway.dev/slipway/runtime"
	"slipway.dev/slipway/runtime/lab"
	"slipway.dev/slipway/runtime/lab/labtest"
)

// everywhere is a project that serves a page from every node, with the names of project and node on it.
const everywhere = `apiVersion: apps/v1
kind: DaemonSet
metadata: { name: web }
spec:
  selector: { matchLabels: { app: web } }
  updateStrategy: { rollingUpdate: { maxUnavailable: "100%%" } }
  template:
    metadata: { labels: { app: web } }
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: web
          image: lab.test/busybox:1
          imagePullPolicy: Never
          command: [sh, -c, "mkdir -p /tmp/www; echo $PROJECT/$NODE > /tmp/www/index.html; httpd -f -p 8080 -h /tmp/www & trap 'kill $!; exit' TERM; wait"]
          env:
            - { name: VERSION, value: "%d" }
            - { name: NODE, valueFrom: { fieldRef: { fieldPath: spec.nodeName } } }
            - { name: PROJECT, valueFrom: { fieldRef: { fieldPath: metadata.namespace } } }
          ports: [{ name: http, containerPort: 8080 }]
          readinessProbe: { httpGet: { path: /, port: 8080 }, periodSeconds: 1 }
---
apiVersion: v1
kind: Service
metadata: { name: web }
spec:
  selector: { app: web }
  ports: [{ name: http, port: 80, targetPort: http }]
`

// projects are those of a fleet, each with everywhere in it.
var projects = []string{"bank", "shop"}

// fleet is a lab of two servers with three members of etcd, and what runs on it.
type fleet struct {
	t testing.TB
	*lab.Lab
	repo    repository
	version int
}

const fleetSize = 3

func newFleet(t testing.TB) *fleet {
	t.Helper()
	dir := shortDir(t)
	f := &fleet{t: t, repo: newRepository(t, filepath.Join(dir, "config"), contents(0))}
	at := filepath.Join(dir, "lab")
	res := runs(t, nil, program(t), "lab", "up", "--dir", at, "--nodes", fmt.Sprint(fleetSize), "--servers", "2", "--disk", "512Mi",
		"--repo", "file://"+f.repo.dir, "--config", filepath.Join(dir, "lab.yaml"))
	t.Cleanup(func() {
		if res := runs(t, nil, program(t), "lab", "down", "--dir", at); res.code != 0 {
			t.Errorf("slipway lab down: %s", res)
		}
		for _, p := range processesNaming(t, dir) {
			t.Errorf("left: process %s", p)
		}
	})
	if res.code != 0 {
		t.Fatalf("slipway lab up: %s", res)
	}
	var err error
	if f.Lab, err = lab.Open(at, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			f.tellLogs()
		}
	})
	labtest.Busybox(t, f.Lab, "lab.test/busybox:1")
	return f
}

func contents(version int) map[string]string {
	out := map[string]string{}
	for _, p := range projects {
		out["projects/"+p+"/web.yaml"] = fmt.Sprintf(everywhere, version)
	}
	return out
}

// tellLogs says what the processes have said last.
func (f *fleet) tellLogs() {
	f.t.Helper()
	for _, kind := range []string{"pods", "events", "nodes"} {
		f.t.Log(runs(f.t, nil, program(f.t), "get", kind, "-A", "-o", "wide", "--server", f.API()))
	}
	for _, h := range f.Hosts {
		for _, part := range []lab.Part{lab.Etcd, lab.Engine, lab.Server, lab.Agent} {
			if data, err := os.ReadFile(filepath.Join(f.Dir, h.Name, string(part)+".log")); err == nil {
				f.t.Logf("%s of %s:\n%s", part, h.Name, data[max(0, len(data)-3000):])
			}
		}
	}
}

func (f *fleet) pods() ([]corev1.Pod, error) {
	var list corev1.PodList
	err := f.Get(f.t.Context(), "/api/v1/pods", &list)
	return list.Items, err
}

// settled says what is not yet as it shall be: in every project, one ready pod of this version per node,
// and nothing else anywhere.
func (f *fleet) settled() error {
	pods, err := f.pods()
	if err != nil {
		return err
	}
	at := map[string]int{}
	for _, p := range pods {
		if p.DeletionTimestamp != nil {
			return fmt.Errorf("pod %s/%s goes", p.Namespace, p.Name)
		}
		if p.Spec.Containers[0].Env[0].Value != fmt.Sprint(f.version) {
			return fmt.Errorf("pod %s/%s is of version %s, not %d", p.Namespace, p.Name, p.Spec.Containers[0].Env[0].Value, f.version)
		}
		for _, c := range p.Status.Conditions {
			if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
				at[p.Namespace+" on "+p.Spec.NodeName]++
			}
		}
	}
	for _, project := range projects {
		for _, h := range f.Hosts {
			if n := at[project+" on "+h.Name]; n != 1 {
				return fmt.Errorf("%d ready pods of %s on %s, want 1; ready: %v", n, project, h.Name, at)
			}
		}
	}
	return f.holds(pods)
}

// holds checks what must be true at any quiet moment, whatever has happened before.
func (f *fleet) holds(pods []corev1.Pod) error {
	if err := f.ownAddresses(pods); err != nil {
		return err
	}
	for i := range f.Hosts {
		if err := f.runsOnce(&f.Hosts[i], pods); err != nil {
			return err
		}
	}
	return f.endpointsAnswer(pods)
}

// ownAddresses: no address, and no subnet, has two owners.
func (f *fleet) ownAddresses(pods []corev1.Pod) error {
	var subnets networkv1.HostSubnetList
	if err := f.Get(f.t.Context(), "/apis/network.openshift.io/v1/hostsubnets", &subnets); err != nil {
		return err
	}
	of := map[string]netip.Prefix{}
	for _, s := range subnets.Items {
		p, err := netip.ParsePrefix(s.Subnet)
		if err != nil {
			return err
		}
		for other, q := range of {
			if p.Overlaps(q) {
				return fmt.Errorf("nodes %s and %s both have %s", s.Name, other, p)
			}
		}
		of[s.Name] = p
	}
	owner := map[string]string{}
	for _, p := range pods {
		name := p.Namespace + "/" + p.Name
		if other := owner[p.Status.PodIP]; other != "" {
			return fmt.Errorf("pods %s and %s both have %s", name, other, p.Status.PodIP)
		}
		owner[p.Status.PodIP] = name
		if a, err := netip.ParseAddr(p.Status.PodIP); err != nil || !of[p.Spec.NodeName].Contains(a) {
			return fmt.Errorf("pod %s has %q, which is not of its node's %s", name, p.Status.PodIP, of[p.Spec.NodeName])
		}
	}
	return nil
}

// runsOnce compares what is on a host with the pods that its node should run: every container once, and no
// container, folder or link that is of no pod.
func (f *fleet) runsOnce(h *lab.Host, pods []corev1.Pod) error {
	wanted, links := map[string]bool{}, map[string]bool{}
	for _, p := range pods {
		if p.Spec.NodeName == h.Name {
			a := netip.MustParseAddr(p.Status.PodIP).As4()
			wanted[string(p.UID)], links[fmt.Sprintf("slipway-%x%02x%02x%02x", a[0]&0xf, a[1], a[2], a[3])] = true, true
		}
	}
	if err := f.containersOnce(h, wanted); err != nil {
		return err
	}
	if err := noOrphans(h, wanted); err != nil {
		return err
	}
	return h.Do(func() error {
		list, err := netlink.LinkList()
		for _, l := range list {
			name := l.Attrs().Name
			if strings.HasPrefix(name, "slipway-") && name != "slipway-vx" && !links[name] {
				return fmt.Errorf("%s has the link %s, which is of no pod", h.Name, name)
			}
		}
		return err
	})
}

// containersOnce: every pod has one container that runs, in a sandbox of its own that runs; and there is nothing
// else but what ended in these pods, and a few sandboxes for pods to come.
func (f *fleet) containersOnce(h *lab.Host, wanted map[string]bool) error {
	containers, err := containersOf(h)
	if err != nil {
		return err
	}
	apps, owners := map[string]int{}, map[string]string{}
	for _, c := range containers {
		if c.kind != string(node.Pooled) && !wanted[c.uid] {
			return fmt.Errorf("%s has a container of a pod that it should not run: %+v", h.Name, c)
		}
		if c.kind != string(node.App) || c.status != "running" {
			continue
		}
		if apps[c.uid]++; owners[c.joins] != "" && owners[c.joins] != c.uid {
			return fmt.Errorf("%s runs pods %s and %s in one sandbox", h.Name, c.uid, owners[c.joins])
		}
		owners[c.joins] = c.uid
	}
	waiting := 0
	for _, c := range containers {
		owned := owners["container:"+c.id] != ""
		switch {
		case c.kind == string(node.App):
		case owned && c.status != "running":
			return fmt.Errorf("%s runs pod %s without its sandbox", h.Name, owners["container:"+c.id])
		case c.kind == string(node.Pooled) && c.status == "running" && !owned:
			waiting++
		case !owned:
			return fmt.Errorf("%s has a sandbox of no pod: %+v", h.Name, c)
		}
	}
	for uid := range wanted {
		if apps[uid] != 1 {
			return fmt.Errorf("%s runs %d containers of pod %s, want 1: %+v", h.Name, apps[uid], uid, containers)
		}
	}
	const kept = 2 // Options.Sandboxes of package runtime, by default.
	if waiting > kept {
		return fmt.Errorf("%s keeps %d sandboxes ready, want at most %d", h.Name, waiting, kept)
	}
	return nil
}

// made is a container on a host.
type made struct{ id, kind, project, uid, status, pid, joins string }

// containersOf asks for every container: an engine that could not write to its disk lists what has ended as
// running.
func containersOf(h *lab.Host) ([]made, error) {
	ids, err := h.Run("docker", "ps", "-aq", "--filter", "label="+node.LabelInstance)
	if err != nil || ids == "" {
		return nil, err
	}
	format := "{{.Id}}"
	for _, label := range []string{node.LabelKind, node.LabelNamespace, node.LabelUID} {
		format += fmt.Sprintf(` {{or (index .Config.Labels %q) "-"}}`, label)
	}
	out, err := h.Run("docker", append([]string{"inspect", "--format", format + " {{.State.Status}} {{.State.Pid}} {{.HostConfig.NetworkMode}}"}, strings.Fields(ids)...)...)
	if err != nil {
		return nil, err
	}
	var all []made
	for line := range strings.Lines(out) {
		w := strings.Fields(line)
		all = append(all, made{w[0], w[1], w[2], w[3], w[4], w[5], w[6]})
	}
	return all, nil
}

// noOrphans: there is no folder of a pod that is gone.
func noOrphans(h *lab.Host, wanted map[string]bool) error {
	folders, err := filepath.Glob(filepath.Join(h.DataDir(), "pods", "pods", "*_*_*"))
	if err != nil {
		return err
	}
	for _, folder := range folders {
		if !wanted[folder[strings.LastIndex(folder, "_")+1:]] {
			return fmt.Errorf("%s has %s, which is of no pod", h.Name, folder)
		}
	}
	if len(folders) != len(wanted) {
		return fmt.Errorf("%s has folders of %d pods, want %d", h.Name, len(folders), len(wanted))
	}
	return nil
}

// endpointsAnswer asks every ready endpoint from every node.
func (f *fleet) endpointsAnswer(pods []corev1.Pod) error {
	var endpoints corev1.EndpointsList
	if err := f.Get(f.t.Context(), "/api/v1/endpoints", &endpoints); err != nil {
		return err
	}
	is := map[string]string{}
	for _, p := range pods {
		is[p.Status.PodIP] = p.Namespace + "/" + p.Spec.NodeName
	}
	found := 0
	for _, e := range endpoints.Items {
		for _, s := range e.Subsets {
			for _, a := range s.Addresses {
				found++
				for i := range f.Hosts {
					var got string
					err := f.Hosts[i].Do(func() (err error) { got, err = page(a.IP + ":8080"); return err })
					if err != nil || got != is[a.IP] {
						return fmt.Errorf("from %s: endpoint %s of %s/%s answers %q, want %q: %v", f.Hosts[i].Name, a.IP, e.Namespace, e.Name, got, is[a.IP], err)
					}
				}
			}
		}
	}
	if want := len(projects) * fleetSize; found != want {
		return fmt.Errorf("%d ready endpoints, want %d", found, want)
	}
	return nil
}
