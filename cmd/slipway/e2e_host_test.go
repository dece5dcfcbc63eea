package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slipway.dev/slipway/api"
)

// agent shows a directory of its host at a port of its host.
const agent = `apiVersion: v1
kind: ServiceAccount
metadata: { name: agent }
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: agent
spec:
  replicas: REPLICAS
  strategy: { type: Recreate }
  selector: { matchLabels: { app: agent } }
  template:
    metadata:
      labels: { app: agent }
    spec:
      serviceAccountName: agent
      terminationGracePeriodSeconds: 1
      containers:
        - name: agent
          image: IMAGE
          imagePullPolicy: IfNotPresent
          command: [httpd, -f, -p, "8080", -h, /pages]
          ports: [{ containerPort: 8080, hostPort: PORT }]
          volumeMounts: [{ name: pages, mountPath: /pages, readOnly: true }]
      volumes:
        - name: pages
          hostPath: { path: FOLDER, type: Directory }
`

const agents = `apiVersion: security.openshift.io/v1
kind: SecurityContextConstraints
metadata: { name: agents }
allowHostDirVolumePlugin: true
allowHostPorts: true
allowPrivilegeEscalation: false
volumes: [hostPath, emptyDir, secret]
runAsUser: { type: RunAsAny }
seLinuxContext: { type: MustRunAs }
users: ["system:serviceaccount:tools:agent"]
`

// TestAPodReachesItsHostByConstraints: first it may not, at its file and line; once an administrator lets it, it runs
// without another commit of its own; and two do not share a port.
func TestAPodReachesItsHostByConstraints(t *testing.T) {
	t.Parallel()
	u := newUp(t)
	pages := filepath.Join(u.dir, "pages")
	if err := os.MkdirAll(pages, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(pages, "index.html"), []byte("of the host\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	port := freePort(t, 0)
	for api.FirstNodePort <= port && port <= api.LastNodePort {
		port = freePort(t, 0)
	}
	file := func(replicas int) string {
		return strings.NewReplacer("REPLICAS", fmt.Sprint(replicas), "IMAGE", u.image, "PORT", fmt.Sprint(port), "FOLDER", pages).Replace(agent)
	}
	repo := newRepository(t, filepath.Join(u.dir, "config"), map[string]string{"projects/tools/agent.yaml": file(1)})
	u.args = append(u.args, "--repo", fileURL(repo.dir))
	u.start()
	u.says("get applications -A -o json", "projects/tools/agent.yaml", "spec.template.spec.volumes[0]", "hostPath volumes are not allowed to be used",
		"spec.template.spec.containers[0].ports[0].hostPort", "service account tools/agent may use anyuid at most; hostaccess or privileged would allow it")
	if out := u.says("get pods -n tools"); strings.Contains(out, "agent-") {
		t.Errorf("it runs all the same: %s", out)
	}
	repo.commit(map[string]string{"cluster/constraints.yaml": agents})
	u.hook()
	u.says("get pods -n tools", "1/1", "Running")
	u.says("get pods -n tools -o json", `"openshift.io/scc": "agents"`)
	u.says("get scc", "agents")
	var nodes struct {
		Items []struct {
			Status struct {
				Addresses []struct{ Address string }
			}
		}
	}
	if err := json.Unmarshal([]byte(u.says("get nodes -o json", "InternalIP")), &nodes); err != nil {
		t.Fatal(err)
	}
	at := fmt.Sprintf("http://%s:%d/", nodes.Items[0].Status.Addresses[0].Address, port)
	eventually(t, "the port of the host", func() error {
		code, body, err := fetch(t, at, "")
		if err == nil && (code != 200 || body != "of the host\n") {
			err = fmt.Errorf("status %d: %q", code, body)
		}
		return err
	})

	repo.commit(map[string]string{"projects/tools/agent.yaml": file(2)})
	u.hook()
	u.says("get pods -n tools", "1/1", "Pending")
	for line := range strings.Lines(u.says("get pods -n tools", "Pending")) {
		if name, rest, _ := strings.Cut(line, " "); strings.Contains(rest, "Pending") {
			u.says("explain pod "+name+" -n tools", "PodFitsHostPorts", "didn't have free ports for the requested pod ports")
		}
	}
	if code, body, err := fetch(t, at, ""); err != nil || code != 200 {
		t.Errorf("the first goes on: %d %q, %v", code, body, err)
	}
}
