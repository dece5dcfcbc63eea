package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	networkv1 "github.com/openshift/api/network/v1"
	corev1 "k8s.io/api/core/v1"

	node "slipway.dev/slipway/runtime"
	"slipway.dev/slipway/runtime/lab"
	"slipway.dev/slipway/runtime/lab/labtest"
)

// everywhere is a project that serves a page from every node; the node's name is the page.
const everywhere = `apiVersion: apps/v1
kind: DaemonSet
metadata: { name: web }
spec:
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: web
          image: lab.test/busybox:1
          imagePullPolicy: Never
          command: [sh, -c, "mkdir -p /tmp/www; echo $NODE > /tmp/www/index.html; exec httpd -f -p 8080 -h /tmp/www"]
          env: [{ name: NODE, valueFrom: { fieldRef: { fieldPath: spec.nodeName } } }]
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

// fleet is a lab as a user makes it, with the project everywhere as shop and as bank.
type fleet struct {
	t testing.TB
	*lab.Lab
	config string
}

const fleetSize = 3

func newFleet(t testing.TB) *fleet {
	t.Helper()
	dir := shortDir(t)
	newRepository(t, filepath.Join(dir, "config"), map[string]string{
		"projects/shop/web.yaml": everywhere, "projects/bank/web.yaml": everywhere,
	})
	config := filepath.Join(dir, "lab.yaml")
	res := runs(t, nil, program(t), "lab", "up", "--dir", filepath.Join(dir, "lab"), "--nodes", fmt.Sprint(fleetSize),
		"--repo", "file://"+filepath.Join(dir, "config"), "--config", config)
	if res.code != 0 {
		t.Fatalf("slipway lab up: %s", res)
	}
	t.Cleanup(func() {
		if res := runs(t, nil, program(t), "lab", "down", "--dir", filepath.Join(dir, "lab")); res.code != 0 {
			t.Errorf("slipway lab down: %s", res)
		}
		for _, p := range processesNaming(t, dir) {
			t.Errorf("left: process %s", p)
		}
	})
	l, err := lab.Open(filepath.Join(dir, "lab"), nil)
	if err != nil {
		t.Fatal(err)
	}
	f := &fleet{t, l, config}
	t.Cleanup(func() {
		if t.Failed() {
			f.tellLogs()
		}
	})
	labtest.Busybox(t, l, "lab.test/busybox:1")
	return f
}

// tellLogs says what the processes have said last.
func (f *fleet) tellLogs() {
	for _, kind := range []string{"pods", "events", "nodes"} {
		f.t.Log(runs(f.t, nil, program(f.t), "get", kind, "-A", "-o", "wide", "--config", f.config))
	}
	for _, h := range f.Hosts {
		for _, part := range []string{"server", "agent"} {
			data, err := os.ReadFile(filepath.Join(f.Dir, h.Name, part+".log"))
			if err == nil {
				f.t.Logf("%s of %s:\n%s", part, h.Name, data[max(0, len(data)-4000):])
			}
		}
	}
}

// get reads what `slipway get --config` says.
func (f *fleet) get(kind string, into any) error {
	res := runs(f.t, nil, program(f.t), "get", kind, "-A", "-o", "json", "--config", f.config)
	if res.code != 0 {
		return errors.New(res.String())
	}
	return json.Unmarshal([]byte(res.out), into)
}

// settled says what is not yet as it shall be: in every project, one ready pod per node.
func (f *fleet) settled() error {
	var pods corev1.PodList
	if err := f.get("pods", &pods); err != nil {
		return err
	}
	at := map[string]int{}
	for _, p := range pods.Items {
		if p.DeletionTimestamp != nil {
			return fmt.Errorf("pod %s/%s goes", p.Namespace, p.Name)
		}
		for _, c := range p.Status.Conditions {
			if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
				at[p.Namespace+" on "+p.Spec.NodeName]++
			}
		}
	}
	for _, project := range []string{"bank", "shop"} {
		for _, h := range f.Hosts {
			if n := at[project+" on "+h.Name]; n != 1 {
				return fmt.Errorf("%d ready pods of %s on %s, want 1; ready: %v", n, project, h.Name, at)
			}
		}
	}
	return f.holds()
}

// holds checks what must be true at any quiet moment, whatever has happened before.
func (f *fleet) holds() error {
	var pods corev1.PodList
	var subnets networkv1.HostSubnetList
	if err := errors.Join(f.get("pods", &pods), f.get("hostsubnets", &subnets)); err != nil {
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
	wanted := map[string]string{} // pod's UID → node
	for _, p := range pods.Items {
		name := p.Namespace + "/" + p.Name
		if other := owner[p.Status.PodIP]; p.Status.PodIP != "" && other != "" {
			return fmt.Errorf("pods %s and %s both have %s", name, other, p.Status.PodIP)
		}
		owner[p.Status.PodIP] = name
		if a, err := netip.ParseAddr(p.Status.PodIP); err != nil || !of[p.Spec.NodeName].Contains(a) {
			return fmt.Errorf("pod %s has %q, which is not of its node's %s", name, p.Status.PodIP, of[p.Spec.NodeName])
		}
		wanted[string(p.UID)] = p.Spec.NodeName
	}
	for i := range f.Hosts {
		if err := f.runsOnce(&f.Hosts[i], wanted); err != nil {
			return err
		}
	}
	return f.endpointsAnswer()
}

// runsOnce compares an engine's containers with the pods that its node should run.
func (f *fleet) runsOnce(h *lab.Host, wanted map[string]string) error {
	out, err := h.Run("docker", "ps", "--filter", "label="+node.LabelUID, "--format",
		fmt.Sprintf(`{{.Label %q}} {{.Label %q}}{{.Label %q}}`, node.LabelUID, node.LabelKind, node.LabelContainer))
	if err != nil {
		return err
	}
	count := map[string]int{}
	for line := range strings.Lines(out) {
		uid, _, _ := strings.Cut(line, " ")
		if wanted[uid] != h.Name {
			return fmt.Errorf("%s runs a container of a pod that it should not run: %s", h.Name, line)
		}
		count[strings.TrimSpace(line)]++
	}
	seen := map[string]int{}
	for line, n := range count {
		uid, _, _ := strings.Cut(line, " ")
		if seen[uid] += n; n > 1 {
			return fmt.Errorf("%s runs %d of %s", h.Name, n, line)
		}
	}
	for uid, at := range wanted {
		if at == h.Name && seen[uid] != 2 { // The sandbox and the container.
			return fmt.Errorf("%s runs %d containers of pod %s, want 2:\n%s", h.Name, seen[uid], uid, out)
		}
	}
	return nil
}

// endpointsAnswer asks every ready endpoint from every node.
func (f *fleet) endpointsAnswer() error {
	var endpoints corev1.EndpointsList
	if err := f.get("endpoints", &endpoints); err != nil {
		return err
	}
	found := 0
	for _, e := range endpoints.Items {
		for _, s := range e.Subsets {
			for _, a := range s.Addresses {
				found++
				for i := range f.Hosts {
					if err := f.Hosts[i].Do(func() error {
						c, err := net.DialTimeout("tcp", fmt.Sprintf("%s:%d", a.IP, s.Ports[0].Port), 2*time.Second)
						if err == nil {
							c.Close()
						}
						return err
					}); err != nil {
						return fmt.Errorf("from %s: endpoint of %s/%s: %w", f.Hosts[i].Name, e.Namespace, e.Name, err)
					}
				}
			}
		}
	}
	if found != 2*fleetSize {
		return fmt.Errorf("%d ready endpoints, want %d", found, 2*fleetSize)
	}
	return nil
}

// container is a project's on a host.
func (f *fleet) container(h *lab.Host, project string) string {
	f.t.Helper()
	out, err := h.Run("docker", "ps", "-q", "--filter", "label="+node.LabelNamespace+"="+project, "--filter", "label="+node.LabelContainer+"=web")
	if err != nil || len(strings.Fields(out)) != 1 {
		f.t.Fatalf("the container of %s on %s: %q %v", project, h.Name, out, err)
	}
	return strings.TrimSpace(out)
}

// asks is what a pod gets from an address.
func (f *fleet) asks(from *lab.Host, project, at string) (string, error) {
	host, port, err := net.SplitHostPort(at)
	if err != nil {
		return "", err
	}
	out, err := from.Run("docker", "exec", f.container(from, project), "sh", "-c", "printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 2 "+host+" "+port)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if err == nil && !strings.Contains(out, "200 OK") {
		err = fmt.Errorf("no answer: %q", out)
	}
	return lines[len(lines)-1], err
}

// crossing checks that pods reach each other over nodes inside of a project only, as seen
// from every node.
func (f *fleet) crossing() {
	f.t.Helper()
	var pods corev1.PodList
	if err := f.get("pods", &pods); err != nil {
		f.t.Fatal(err)
	}
	for _, p := range pods.Items {
		for i := range f.Hosts {
			for _, project := range []string{"bank", "shop"} {
				got, err := f.asks(&f.Hosts[i], project, p.Status.PodIP+":8080")
				if want := p.Spec.NodeName; project == p.Namespace && got != want {
					f.t.Errorf("%s on %s asks the pod on %s: %q, %v", project, f.Hosts[i].Name, want, got, err)
				} else if project != p.Namespace && err == nil {
					f.t.Errorf("%s on %s reached %s's pod on %s: %q", project, f.Hosts[i].Name, p.Namespace, want, got)
				}
			}
		}
	}
	var services corev1.ServiceList
	if err := f.get("services", &services); err != nil {
		f.t.Fatal(err)
	}
	at := ""
	for _, s := range services.Items {
		if s.Namespace == "shop" {
			at = s.Spec.ClusterIP + ":80"
		}
	}
	got := map[string]bool{}
	eventually(f.t, "the service leads to every node", func() error {
		answer, err := f.asks(&f.Hosts[1], "shop", at)
		if got[answer] = true; err != nil || len(got) < fleetSize {
			return fmt.Errorf("so far %v; %w", slices.Collect(maps.Keys(got)), err)
		}
		return nil
	})
}

// TestLab is the lab as a user has it, with faults: afterwards what should run runs once, no
// address has two owners, nothing orphaned is left, no ready endpoint refuses, and no packet
// crosses projects.
func TestLab(t *testing.T) {
	f := newFleet(t)
	eventually(t, "every node serves", f.settled)
	f.crossing()
	t.Run("exec", func(t *testing.T) {
		dir := []string{"lab", "exec", "--dir", f.Dir, "node2", "--"}
		if res := runs(t, nil, program(t), append(dir, "ip", "-br", "addr", "show", "eth0")...); res.code != 0 || !strings.Contains(res.out, f.Hosts[1].Address.String()+"/") {
			t.Errorf("lab exec: %s", res)
		}
		if res := runs(t, nil, program(t), append(dir, "sh", "-c", "exit 7")...); res.code != 7 {
			t.Errorf("lab exec passes the exit code on: %s", res)
		}
	})
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	f.faults(rand.New(rand.NewPCG(seed, 0)), 6)
	if err := f.AwaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "every node serves again", f.settled)
	f.crossing()
}

// faults breaks something and mends it, some times over.
func (f *fleet) faults(random *rand.Rand, rounds int) {
	f.t.Helper()
	server, others := &f.Hosts[0], f.Hosts[1:]
	all := []struct {
		name string
		do   func(h *lab.Host) error
	}{
		{"kill the agent", func(h *lab.Host) error { return errors.Join(h.Kill(lab.Agent), h.StartAgent()) }},
		{"kill dockerd", func(h *lab.Host) error { return errors.Join(h.Kill(lab.Engine), h.StartEngine(f.t.Context())) }},
		{"kill the server", func(*lab.Host) error {
			return errors.Join(server.Kill(lab.Server), server.StartServer(f.t.Context()))
		}},
		{"cut and heal", func(h *lab.Host) error {
			if err := h.Cut(); err != nil {
				return err
			}
			time.Sleep(time.Second) // What happens meanwhile is the fault.
			return h.Heal()
		}},
		{"flush the rules", func(h *lab.Host) error {
			_, err1 := h.Run("nft", "flush", "ruleset")
			_, err2 := h.Run("ip", "link", "del", "slipway-vx")
			return errors.Join(err1, err2)
		}},
		{"kill the agent and dockerd together", func(h *lab.Host) error {
			return errors.Join(h.Kill(lab.Agent), h.Kill(lab.Engine), h.StartEngine(f.t.Context()), h.StartAgent())
		}},
	}
	order := random.Perm(len(all))
	for i := range rounds {
		fault, h := all[order[i%len(all)]], &others[random.IntN(len(others))]
		f.t.Logf("%s on %s", fault.name, h.Name)
		if err := fault.do(h); err != nil {
			f.t.Fatalf("%s on %s: %v", fault.name, h.Name, err)
		}
	}
}
