package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/registry"
)

// onGuest is hello, made of an image of the integrated registry, on the guest only.
func onGuest(u *upped) string {
	web := strings.Replace(hello, "IMAGE", u.registry+"/hello/web:v1", 1)
	return strings.Replace(web, "      terminationGracePeriodSeconds: 1\n", "      terminationGracePeriodSeconds: 1\n      nodeSelector: { kubernetes.io/hostname: second }\n", 1)
}

// built makes image v1 of a stream by a build.
const built = `apiVersion: image.openshift.io/v1
kind: ImageStream
metadata: { name: web }
---
apiVersion: build.openshift.io/v1
kind: BuildConfig
metadata: { name: web }
spec:
  triggers: [{ type: ConfigChange }]
  source: { type: Dockerfile, dockerfile: "FROM IMAGE\nRUN echo built\n" }
  strategy: { type: Docker, dockerStrategy: {} }
  output: { to: { kind: ImageStreamTag, name: "web:v1" } }
`

// TestNode is the life of a second host: it joins, runs what was built on the server, goes on while that is
// away, also as a new process, and is shut out.
func TestNode(t *testing.T) {
	t.Parallel()
	g := newGuest(t, shortDir(t)) // The overlay is its own until the server is down.
	u := newUp(t)
	u.args = append(u.args, "--node-listen", g.ours+":7082")
	repo := newRepository(t, filepath.Join(u.dir, "config"), map[string]string{
		"projects/hello/build.yaml": strings.Replace(built, "IMAGE", u.image, 1),
	})
	u.args = append(u.args, "--repo", fileURL(repo.dir))
	u.start()
	u.says("get builds -n hello", "web-1", "Complete")

	res := u.runs("node", "token", "--data-dir", u.dataDir, "--ttl", "10m")
	if res.code != 0 || !strings.Contains(res.complaints, "slipway node join --server https://"+g.ours+":7082 --token ") {
		t.Fatalf("slipway node token: %s", res)
	}
	defer g.leaves()
	g.start("join", "--server", "https://"+g.ours+":7082", "--token", strings.TrimSpace(res.out), "--node", "second", "--name", g.name, "--address", g.address)
	u.says("get nodes", "second", "Ready")

	repo.commit(map[string]string{"projects/hello/web.yaml": onGuest(u)})
	u.hook()
	running := g.runsPods(2, nil)
	u.says("get pods -n hello -o wide", "second", "1/1")
	u.serves("web-hello.localhost", "Hello from Slipway")
	g.serves("with the server", running, "Hello from Slipway")
	pod := u.reads(t)
	if res := u.runs("node", "token", "--revoke", "--data-dir", u.dataDir); res.code != 0 || !strings.Contains(res.complaints, "1 tokens have ended") {
		t.Errorf("slipway node token --revoke: %s", res)
	}

	u.stop()
	g.serves("without a server", running, "Hello from Slipway")
	killed := g.killOne(running, "")
	g.stop()
	running = g.containers()
	g.start("run")
	eventually(t, "the node is up without a server", func() error {
		if !strings.Contains(g.out.String(), "the node is up") {
			return errors.New(g.out.String())
		}
		return nil
	})
	g.serves("as a new process without a server", running, "Hello from Slipway")
	g.killOne(running, killed)

	u.start()
	u.says("get nodes", "second", "Ready")
	u.serves("web-hello.localhost", "Hello from Slipway")
	u.says("get "+pod+" -n hello -o jsonpath={.status.containerStatuses[0].ready}", "true")
	u.shutsOut(t, g)
}

// reads reads of a pod on another host as of one on this, and says which it was.
func (u *upped) reads(t *testing.T) (pod string) {
	u.says("logs dc/web -n hello", "serving\n")
	u.says("top pods -n hello", "web-1-")
	u.says("top nodes", "second")
	pod = strings.TrimSpace(strings.SplitN(u.says("get pods -n hello -l app=web -o name", "web-1-"), "\n", 2)[0])
	u.says("logs "+pod+" -n hello --tail 1", "serving\n")
	u.says("describe "+pod+" -n hello", "Node Name:", "second")
	if res := u.runs("logs", pod, "-n", "hello", "-c", "nothing"); res.code == 0 || !strings.Contains(res.complaints, "nothing") {
		t.Errorf("the log of a container that there is not: %s", res)
	}
	name := strings.TrimPrefix(pod, "pod/")
	if res := u.runs("exec", pod, "-n", "hello", "--data-dir", u.dataDir, "--", "sh", "-c", "hostname; exit 4"); res.code != 4 || res.out != name+"\n" {
		t.Errorf("a command in a pod on another host: %s", res)
	}
	u.follows(t, "serving", nil, "logs", pod, "-n", "hello", "-f")
	u.follows(t, " -> 8080", func(said string) error {
		code, body, err := fetch(t, "http://"+strings.Fields(said)[2]+"/", "")
		if err == nil && (code != http.StatusOK || !strings.Contains(body, "Hello from Slipway")) {
			err = fmt.Errorf("status %d: %s", code, body)
		}
		return err
	}, "port-forward", pod, ":8080", "-n", "hello")
	return pod
}

// follows runs a command that does not end by itself until it has said something, and what that leads to is so.
func (u *upped) follows(t *testing.T, want string, then func(said string) error, args ...string) {
	t.Helper()
	cmd, out := exec.Command(program(t), args...), &transcript{}
	cmd.Env = append(os.Environ(), u.environment()...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // It was killed.
	}()
	eventually(t, "slipway "+strings.Join(args, " "), func() error {
		if !strings.Contains(out.String(), want) {
			return errors.New(out.String())
		}
		if then == nil {
			return nil
		}
		return then(out.String())
	})
}

// shutsOut takes the second node away.
func (u *upped) shutsOut(t *testing.T, g *guest) {
	if res := u.runs("node", "remove", "second", "--data-dir", u.dataDir); res.code != 0 {
		t.Errorf("slipway node remove: %s", res)
	}
	eventually(t, "the node is told that it is shut out", func() error {
		if !strings.Contains(g.out.String(), "was taken away") {
			return errors.New(g.out.String())
		}
		return nil
	})
	if code, body, err := fetch(t, u.api+"/api/v1/nodes/second", ""); err != nil || code != http.StatusNotFound {
		t.Errorf("the Node: %d %s %v", code, body, err)
	}
}

// fills pushes the test's image to the registry, by a name.
func (u *upped) fills(t *testing.T, name string) {
	t.Helper()
	if err := u.docker.ImageTag(t.Context(), u.image, u.registry+name); err != nil {
		t.Fatal(err)
	}
	user, password, _ := strings.Cut(strings.TrimSpace(u.says("registry-login --data-dir "+u.dataDir, ":")), ":")
	if err := u.push(t, u.registry+name, registry.AuthConfig{Username: user, Password: password}); err != nil {
		t.Fatalf("push: %v", err)
	}
	if _, err := u.docker.ImageRemove(t.Context(), u.registry+name, image.RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
}
