package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

var rollouts = flag.Int("rollouts", 2, "how many rollouts in a row are tried under load, and amid kills")

// rolled is a DeploymentConfig whose pods answer at once at /, and at /cgi-bin/slow after four
// seconds, twice as long as a pod has between leaving the endpoints and its SIGTERM. At that
// they accept no more connections, end when the processes of those that are open have, and so
// finish what they have begun.
const rolled = `apiVersion: apps.openshift.io/v1
kind: DeploymentConfig
metadata:
  name: web
spec:
  replicas: 2
  selector: { app: web }
  triggers: [{ type: ConfigChange }]
  strategy:
    rollingParams:
      maxSurge: 1
      maxUnavailable: 0HOOKS
  template:
    metadata:
      labels: { app: web }
    spec:
      terminationGracePeriodSeconds: 20
      containers:
        - name: web
          image: IMAGE
          command:
            - sh
            - -c
            - |
              mkdir -p /www/cgi-bin
              echo VERSION whole > /www/index.html
              cat > /www/cgi-bin/slow <<END
              #!/bin/sh
              printf 'Content-Type: text/plain\r\n\r\n'
              sleep 4
              echo VERSION whole
              END
              chmod +x /www/cgi-bin/slow
              httpd -f -p 8080 -h /www & server=$!
              trap 'kill $server' TERM
              wait $server
              set -- /proc/[0-9]*
              while [ $# -gt 1 ]; do sleep 0.1; set -- /proc/[0-9]*; done
          ports: [{ name: http, containerPort: 8080 }]
          readinessProbe: { httpGet: { path: /, port: 8080 }, periodSeconds: 1 }
          volumeMounts: [{ name: data, mountPath: /data }]
      volumes:
        - name: data
          persistentVolumeClaim: { claimName: data }
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: { name: data }
spec:
  accessModes: [ReadWriteOnce]
  resources: { requests: { storage: 500Mi } }
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
`

// hooksOfRolled write down that they ran.
const hooksOfRolled = `
      pre: { failurePolicy: Abort, execNewPod: { command: [sh, -c, "echo pre VERSION >> /data/log"], volumes: [data] } }
      post: { failurePolicy: Abort, execNewPod: { command: [sh, -c, "echo post VERSION >> /data/log"], volumes: [data] } }`

// newRolled starts a server with the config at version 1, and with the files that prepare gives, if there
// is one. next commits a version; rolledOut waits until a version is all there is.
func newRolled(t *testing.T, hooks string, prepare ...func(*upped) map[string]string) (u *upped, next, rolledOut func(version int)) {
	u = newUp(t)
	also := map[string]string{}
	for _, f := range prepare {
		maps.Copy(also, f(u))
	}
	content := func(version int) map[string]string {
		web := strings.NewReplacer("HOOKS", hooks, "IMAGE", u.image).Replace(rolled)
		files := maps.Clone(also)
		files["projects/shop/web.yaml"] = strings.ReplaceAll(web, "VERSION", fmt.Sprint("v", version))
		files["cluster/volumes.yaml"] = strings.Replace(volumeAndClaim, "PATH", filepath.Join(u.dir, "disk"), 1)
		return files
	}
	repo := newRepository(t, filepath.Join(u.dir, "config"), content(1))
	u.args = append(u.args, "--repo", fileURL(repo.dir))
	u.start()
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(u.runs("get", "pods,rc", "-n", "shop", "-o", "wide"), u.runs("events", "-n", "shop"), u.out)
		}
	})
	next = func(version int) {
		repo.commit(content(version))
		u.hook()
	}
	rolledOut = func(version int) {
		t.Helper()
		u.says("get dc web -n shop -o jsonpath={.status.latestVersion}/{.status.updatedReplicas}/{.status.replicas}/{.status.availableReplicas}/{.status.conditions[?(@.type==\"Progressing\")].reason}",
			fmt.Sprintf("%d/2/2/2/NewReplicationControllerAvailable", version))
		u.serves("web-shop.localhost", fmt.Sprintf("v%d whole", version))
	}
	rolledOut(1)
	return u, next, rolledOut
}

// traffic asks for a page again and again over one way, as fast as it is answered.
type traffic struct {
	url, host string
	client    *http.Client
	mu        sync.Mutex
	served    int      // guarded by mu
	failed    []string // guarded by mu
}

func (f *traffic) ask() error {
	req, err := http.NewRequest(http.MethodGet, f.url, nil)
	if err != nil {
		return err
	}
	req.Host = f.host
	res, err := f.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && (res.StatusCode != http.StatusOK || !strings.HasSuffix(string(body), " whole\n")) {
		err = fmt.Errorf("status %d %q", res.StatusCode, body)
	}
	return err
}

// flow lets traffic flow until what it returns is called, which waits for the last answers.
func flow(all ...*traffic) (stop func()) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	for _, f := range all {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				began, err := time.Now(), f.ask()
				f.mu.Lock()
				if f.served++; err != nil {
					f.failed = append(f.failed, fmt.Sprintf("at %s for %s: %v", began.Format(time.TimeOnly), time.Since(began), err))
				}
				f.mu.Unlock()
			}
		})
	}
	return func() { close(done); wg.Wait() }
}

// outlast waits until of each a request has been answered that was under way, so that every
// rollout is seen by slow ones, too.
func outlast(t *testing.T, all []*traffic) {
	t.Helper()
	before := map[*traffic]int{}
	for _, f := range all {
		before[f] = f.count()
	}
	for _, f := range all {
		eventually(t, "requests are answered at "+f.url, func() error {
			if f.count() == before[f] {
				return errors.New("none was")
			}
			return nil
		})
	}
}

func (f *traffic) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.served
}

// lostNothing checks that there was traffic, and that all of it was answered.
func (f *traffic) lostNothing(t *testing.T) {
	t.Helper()
	if t.Logf("%d requests at %s", f.served, f.url); f.served < 2 || len(f.failed) > 0 {
		t.Errorf("of %d requests at %s %d failed: %s", f.served, f.url, len(f.failed), strings.Join(f.failed[:min(len(f.failed), 5)], "\n"))
	}
}

// byService is traffic at the service's address, each request over a connection of its own.
func (u *upped) byService(path string) *traffic {
	address := strings.TrimSpace(u.says("get service web -n shop -o jsonpath={.spec.clusterIP}", "."))
	return &traffic{url: "http://" + address + path, client: &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}}
}

func (u *upped) byRouter(path string) *traffic {
	return &traffic{url: u.router + path, host: "web-shop.localhost", client: &http.Client{Timeout: time.Minute, Transport: &http.Transport{}}}
}

// TestRolloutsDropNothing rolls out again and again under full load, through the router and
// through the service's address, with requests that last longer than a pod that has to go is
// given before its SIGTERM.
func TestRolloutsDropNothing(t *testing.T) {
	u, next, rolledOut := newRolled(t, "")
	all := []*traffic{u.byRouter("/"), u.byService("/"), u.byRouter("/cgi-bin/slow"), u.byRouter("/cgi-bin/slow"), u.byService("/cgi-bin/slow"), u.byService("/cgi-bin/slow")}
	stop := flow(all...)
	began := time.Now()
	for version := 2; version <= *rollouts+1; version++ {
		next(version)
		rolledOut(version)
		outlast(t, all)
	}
	t.Logf("%d rollouts took %s", *rollouts, time.Since(began).Round(time.Second))
	stop()
	for _, f := range all {
		f.lostNothing(t)
	}
}

// TestRolloutsSurviveKills kills the server at any step of rollouts and starts it again, twice
// in each. Every rollout is finished, each hook has run once, and what is asked of the service
// meanwhile is answered.
func TestRolloutsSurviveKills(t *testing.T) {
	t.Parallel()
	u, next, rolledOut := newRolled(t, hooksOfRolled)
	f := u.byService("/")
	stop := flow(f)
	want := "pre v1\npost v1\n"
	for version := 2; version <= *rollouts+1; version++ {
		next(version)
		for range 2 {
			wait := rand.N(4 * time.Second)
			time.Sleep(wait) // What it is killed in is up to chance.
			u.kill()
			t.Logf("version %d: killed after %s more, ready again after %s", version, wait, u.start())
		}
		rolledOut(version)
		want += fmt.Sprintf("pre v%d\npost v%d\n", version, version)
		if got, err := os.ReadFile(filepath.Join(u.dir, "disk", "log")); err != nil || string(got) != want {
			t.Fatalf("version %d: the hooks wrote %q, %v, want %q", version, got, err, want)
		}
	}
	stop()
	f.lostNothing(t)
}
