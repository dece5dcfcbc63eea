package main

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// apps is what a user of Kubernetes has in a repository: a Deployment behind a route, a
// StatefulSet, a DaemonSet, and a Deployment that is scaled by how busy it is.
const apps = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 2
  selector: { matchLabels: { app: web } }
  template:
    metadata:
      labels: { app: web }
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: web
          image: IMAGE
          env: [{ name: GREETING, value: GREETING-TEXT }]
          command: [sh, -c, "mkdir /www; echo $GREETING > /www/index.html; exec httpd -f -p 8080 -h /www"]
          ports: [{ name: http, containerPort: 8080 }]
          readinessProbe: { httpGet: { path: /, port: 8080 }, periodSeconds: 1 }
---
apiVersion: v1
kind: Service
metadata:
  name: web
spec:
  selector: { app: web }
  ports: [{ name: http, port: 80, targetPort: http }]
---
apiVersion: route.openshift.io/v1
kind: Route
metadata:
  name: web
spec:
  to: { kind: Service, name: web }
---
apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: db
spec:
  replicas: 2
  serviceName: db
  selector: { matchLabels: { app: db } }
  template:
    metadata:
      labels: { app: db }
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - { name: db, image: IMAGE, command: [sh, -c, "echo I am $HOSTNAME of GREETING-TEXT; exec sleep 3600"] }
---
apiVersion: apps/v1
kind: DaemonSet
metadata:
  name: agent
spec:
  selector: { matchLabels: { app: agent } }
  template:
    metadata:
      labels: { app: agent }
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - { name: agent, image: IMAGE, command: [sh, -c, "echo GREETING-TEXT; exec sleep 3600"] }
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: busy
spec:
  selector: { matchLabels: { app: busy } }
  template:
    metadata:
      labels: { app: busy }
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - { name: busy, image: IMAGE, command: [sh, -c, "while :; do :; done"], resources: { requests: { cpu: 40m }, limits: { cpu: 80m } } }
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: busy
spec:
  scaleTargetRef: { apiVersion: apps/v1, kind: Deployment, name: busy }
  maxReplicas: 2
  metrics: [{ type: Resource, resource: { name: cpu, target: { type: Utilization, averageUtilization: 50 } } }]
`

// TestApps runs apps/v1 from git on a real engine: a Deployment rolls under load and no
// request fails, and a commit that goes back finds the ReplicaSet of before.
func TestApps(t *testing.T) {
	t.Parallel()
	u := newUp(t)
	files := func(greeting string) map[string]string {
		return map[string]string{"projects/hello/apps.yaml": strings.NewReplacer("IMAGE", u.image, "GREETING-TEXT", greeting).Replace(apps)}
	}
	repo := newRepository(t, filepath.Join(u.dir, "config"), files("one"))
	u.args = append(u.args, "--repo", fileURL(repo.dir))
	u.start()
	u.serves("web-hello.localhost", "one")
	u.says("get deploy,sts,ds -n hello", "deployment.apps/web", "2/2", "statefulset.apps/db", "daemonset.apps/agent")
	u.says("get rs,controllerrevisions -n hello", "replicaset.apps/web-", "controllerrevision.apps/db-", "controllerrevision.apps/agent-")
	u.says("logs db-1 -n hello", "I am db-1 of one")
	u.says("logs deploy/web -n hello --tail 1")
	u.says("logs sts/db -n hello", "I am db-")
	u.says("logs ds/agent -n hello", "one\n")
	u.says("status", "hello/deployment/web", "hello/statefulset/db", "hello/daemonset/agent", "No problems.")

	failed := u.load("web-hello.localhost")
	for i, greeting := range []string{"two", "three", "one"} {
		repo.commit(files(greeting))
		u.hook()
		u.serves("web-hello.localhost", greeting)
		u.says("get deploy web -n hello -o jsonpath={.metadata.annotations.deployment\\.kubernetes\\.io/revision}/{.status.updatedReplicas}/{.status.replicas}/{.status.availableReplicas}",
			fmt.Sprintf("%d/2/2/2", i+2))
	}
	if bad, served := failed(); len(bad) > 0 || served == 0 {
		t.Errorf("of %d requests %d failed amid three rollouts: %s", served, len(bad), bad[:min(len(bad), 3)])
	}
	u.says("get rs -n hello -o name", "web-")
	u.says("logs db-0 -n hello", "I am db-0 of one")
	u.says("get sts db -n hello -o jsonpath={.status.readyReplicas}/{.status.updatedReplicas}", "2/2")
	u.says("get ds agent -n hello -o jsonpath={.status.numberAvailable}/{.status.updatedNumberScheduled}", "1/1")
	// Git says nothing of its size, so that no commit puts it back.
	u.says("get deploy busy -n hello -o jsonpath={.spec.replicas}/{.status.availableReplicas}", "2/2")
	u.says("events -n hello", "New size: 2; reason: cpu resource utilization (percentage of request) above target")
}

// load asks for a page again and again until its result is asked for: what failed, and how
// many requests there were.
func (u *upped) load(host string) func() (failed []string, served int) {
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var failed []string
	served := 0
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(2 * time.Millisecond):
			}
			served++
			code, body, err := fetch(u.t, u.router+"/", host)
			if err != nil || code != http.StatusOK {
				failed = append(failed, fmt.Sprintf("status %d %q: %v", code, body, err))
			}
		}
	})
	return func() ([]string, int) {
		close(stop)
		wg.Wait()
		return failed, served
	}
}
