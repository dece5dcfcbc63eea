package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/registry"
	"go.etcd.io/etcd/server/v3/embed"

	node "slipway.dev/slipway/runtime"
	"slipway.dev/slipway/runtime/engine/enginetest"
)

// hello is a new user's first repository: one project that serves a page.
const hello = `apiVersion: v1
kind: ConfigMap
metadata:
  name: page
data:
  index.html: Hello from Slipway
---
apiVersion: apps.openshift.io/v1
kind: DeploymentConfig
metadata:
  name: web
spec:
  replicas: 2
  selector: { app: web }
  triggers: [{ type: ConfigChange }]
  template:
    metadata:
      labels: { app: web }
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: web
          image: IMAGE
          command: [sh, -c, "echo serving; exec httpd -f -p 8080 -h /www"]
          ports: [{ name: http, containerPort: 8080 }]
          volumeMounts: [{ name: page, mountPath: /www }]
          readinessProbe: { httpGet: { path: /, port: 8080 }, periodSeconds: 1 }
      volumes:
        - name: page
          configMap: { name: page }
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

// repository is a user's, in a folder.
type repository struct {
	t   testing.TB
	dir string
}

func newRepository(t testing.TB, dir string, files map[string]string) repository {
	t.Helper()
	r := repository{t, dir}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	r.git("init", "-q", "-b", "main")
	r.commit(files)
	return r
}

func (r repository) git(args ...string) string {
	r.t.Helper()
	res := runs(r.t, []string{
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@shop.example", "GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@shop.example",
		"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
	}, "git", append([]string{"-C", r.dir}, args...)...)
	if res.code != 0 {
		r.t.Fatalf("git %s: %s", strings.Join(args, " "), res)
	}
	return strings.TrimSpace(res.out)
}

func (r repository) commit(files map[string]string) string {
	r.t.Helper()
	for name, content := range files {
		file := filepath.Join(r.dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(content), 0o644)); err != nil {
			r.t.Fatal(err)
		}
	}
	r.git("add", "-A")
	r.git("commit", "-q", "-m", "Change")
	return r.git("rev-parse", "HEAD")
}

// branch commits on a branch of its own, and goes back to main.
func (r repository) branch(name string, files map[string]string) {
	r.t.Helper()
	r.git("checkout", "-q", "-b", name, "main")
	r.commit(files)
	r.git("checkout", "-q", "main")
}

// upped is a server that a test runs as a user does, in a process of its own.
type upped struct {
	instance
	t    testing.TB
	args []string
	// image is one that the engine has.
	image       string
	api, router string
	cmd         *exec.Cmd
	out         *transcript
	ended       chan error
}

// ids counts what this process has made.
var ids atomic.Int32

// nextID is what names and networks of a server or a guest are made of: none that something on this host has.
func nextID(t testing.TB) int {
	t.Helper()
	have, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for {
		id := os.Getpid() + int(ids.Add(1))
		if !slices.ContainsFunc(have, func(a net.Addr) bool {
			return strings.HasPrefix(a.String(), fmt.Sprintf("100.%d.", 64+id%64)) || strings.HasPrefix(a.String(), fmt.Sprintf("10.%d.%d.", 200+id%50, id/50%250))
		}) {
			return id
		}
	}
}

// newUp prepares a server beside all others of this machine. At the test's end it is
// taken down, and must leave nothing.
func newUp(t testing.TB, args ...string) *upped {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("the server makes links and rules: run its tests as root")
	}
	docker := enginetest.Client(t)
	busybox := enginetest.Busybox(t, docker)
	dir := shortDir(t)
	port, id := freePort(t, 0, 1, 2, 3), nextID(t)
	u := &upped{t: t, image: busybox, api: fmt.Sprintf("http://127.0.0.1:%d", port), router: fmt.Sprintf("http://127.0.0.1:%d", port+2)}
	u.instance = instance{
		docker: docker, dir: dir, dataDir: filepath.Join(dir, "data"),
		network: fmt.Sprintf("e%05d", id%100000), registry: fmt.Sprintf("127.0.0.1:%d", port+1),
	}
	u.args = append([]string{
		"up", "--data-dir", u.dataDir, "--listen", fmt.Sprintf("127.0.0.1:%d", port), "--registry", u.registry,
		"--router", fmt.Sprintf("127.0.0.1:%d", port+2), "--router-tls", fmt.Sprintf("127.0.0.1:%d", port+3),
		"--name", u.network, "--cluster-network", fmt.Sprintf("100.%d.0.0/16", 64+id%64), "--service-network", fmt.Sprintf("198.18.%d.0/24", id%256),
	}, args...)
	t.Cleanup(func() {
		if u.cmd == nil {
			return
		}
		u.stop()
		if res := u.runs("down", "--data-dir", u.dataDir); res.code != 0 {
			t.Errorf("slipway down: %s", res)
		}
		u.wantNothingLeft(t)
	})
	return u
}

func (u *upped) environment() []string {
	return []string{"DOCKER_HOST=" + u.docker.DaemonHost(), "SLIPWAY_SERVER=" + u.api, "NO_COLOR=1"}
}

// runs runs a command of Slipway's own.
func (u *upped) runs(args ...string) result {
	u.t.Helper()
	return runs(u.t, u.environment(), program(u.t), args...)
}

// start starts the server, waits until it says that it is ready, and answers with how
// long that took.
func (u *upped) start() time.Duration {
	u.t.Helper()
	began := time.Now()
	u.cmd, u.out, u.ended = exec.Command(program(u.t), u.args...), &transcript{}, make(chan error, 1)
	u.cmd.Env = append(os.Environ(), u.environment()...)
	u.cmd.Stdout, u.cmd.Stderr = u.out, u.out
	if err := u.cmd.Start(); err != nil {
		u.t.Fatal(err)
	}
	go func(cmd *exec.Cmd, ended chan error) { ended <- cmd.Wait() }(u.cmd, u.ended)
	eventually(u.t, "the server gets ready", func() error {
		select {
		case err := <-u.ended:
			u.ended <- err
			u.t.Fatalf("the server ended: %v\n%s", err, u.out)
		default:
		}
		code, body, err := fetch(u.t, u.api+"/readyz", "")
		if err == nil && code != http.StatusOK {
			err = errors.New(body)
		}
		return err
	})
	return time.Since(began)
}

// stop asks the server to end as an init system does.
func (u *upped) stop() {
	u.t.Helper()
	if u.cmd.ProcessState != nil {
		return
	}
	_ = u.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-u.ended:
		if u.ended <- err; err != nil {
			u.t.Errorf("the server ended: %v\n%s", err, u.out)
		}
	case <-time.After(patience):
		_ = u.cmd.Process.Kill()
		u.t.Errorf("the server does not end:\n%s", u.out)
	}
}

// says waits until a command answers with all of these texts.
func (u *upped) says(command string, want ...string) string {
	u.t.Helper()
	var res result
	eventually(u.t, "slipway "+command, func() error {
		res = u.runs(strings.Fields(command)...)
		for _, w := range want {
			if res.code != 0 || !strings.Contains(res.out, w) {
				return fmt.Errorf("want %q: %s", w, res)
			}
		}
		return nil
	})
	return res.out
}

// serves waits until the router serves a text on a host.
func (u *upped) serves(host, want string) {
	u.t.Helper()
	eventually(u.t, host, func() error {
		code, body, err := fetch(u.t, u.router+"/", host)
		if err == nil && (code != http.StatusOK || !strings.Contains(body, want)) {
			err = fmt.Errorf("status %d: %s", code, body)
		}
		return err
	})
}

// hook calls the webhook of the repository as a git host does that signs its calls.
func (u *upped) hook() {
	u.t.Helper()
	f := strings.Fields(u.says("webhooks --data-dir "+u.dataDir, "gitrepository/root "))
	if err := push(u.t, f[1], f[2]); err != nil {
		u.t.Fatal(err)
	}
}

// push tells a server's webhook that there is a commit.
func push(t testing.TB, url, secret string) error {
	t.Helper()
	body := `{"ref":"refs/heads/main"}`
	mac := hmac.New(sha256.New, []byte(secret))
	io.WriteString(mac, body)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-GitHub-Event", "push")
	req.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if answer, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s %s", url, res.Status, answer)
	}
	return nil
}

// running are the pods' containers that run, by id, with the time that each was started.
func (u *upped) running() map[string]string {
	u.t.Helper()
	out := map[string]string{}
	for _, c := range u.containers(u.t) {
		if c.Labels[node.LabelKind] != string(node.App) {
			continue
		}
		info, err := u.docker.ContainerInspect(u.t.Context(), c.ID)
		if err != nil {
			u.t.Fatal(err)
		}
		if info.State.Running {
			out[c.ID] = info.State.StartedAt
		}
	}
	return out
}

func fileURL(dir string) string { return (&url.URL{Scheme: "file", Path: dir}).String() }

// TestUp is a new user's first hour: his own repository, a look around, a review, an
// image pushed, a restart, and the end.
func TestUp(t *testing.T) {
	t.Parallel()
	u := newUp(t)
	web := strings.Replace(hello, "IMAGE", u.image, 1)
	repo := newRepository(t, filepath.Join(u.dir, "config"), map[string]string{
		"projects/hello/web.yaml": web,
	})
	u.args = append(u.args, "--repo", fileURL(repo.dir))
	t.Logf("ready after %s", u.start())
	u.serves("web-hello.localhost", "Hello from Slipway")

	u.looksAround(t)
	u.reviews(t, repo, web)
	u.pushesAndPulls(t, repo)
	u.refusesASecondServer(t)
	u.keepsItsName(t)

	repo.commit(map[string]string{"projects/hello/web.yaml": strings.Replace(web, "from Slipway", "again", 1)})
	u.hook()
	u.serves("web-hello.localhost", "Hello again")
	u.restarts(t)
}

// looksAround reads with Slipway's commands and with kubectl.
func (u *upped) looksAround(t *testing.T) {
	u.says("get pods -n hello", "NAME", "web-1-", "1/1", "Running")
	u.says("get dc,svc,routes -A", "deploymentconfig.apps.openshift.io/web", "service/web", "route.route.openshift.io/web")
	pod := strings.TrimSpace(strings.SplitN(u.says("get pods -n hello -o name"), "\n", 2)[0])
	u.says("describe "+pod+" -n hello", "Image:", u.image, "Ready")
	u.says("describe dc/web -n hello", "Latest Version:")
	u.says("events -n hello", "LAST SEEN", "Pod")
	u.says("logs "+pod+" -n hello", "serving\n")
	u.says("logs dc/web -n hello", "serving\n")
	u.says("status", "slipway/root", "web", "2/2", "No problems.")
	u.says("history root", short(u, t))

	kubectl := func(want string, args ...string) {
		t.Helper()
		res := runs(t, []string{"KUBECONFIG=/dev/null", "HOME=" + u.dir}, "kubectl", append([]string{"--server", u.api}, args...)...)
		if res.code != 0 || !strings.Contains(res.out, want) {
			t.Errorf("kubectl %s: want %q: %s", strings.Join(args, " "), want, res)
		}
	}
	kubectl("web-1-", "get", "pods", "-n", "hello")
	kubectl("web", "get", "deploymentconfigs", "-A")
	kubectl("Container ID:", "describe", pod, "-n", "hello")
	kubectl("serving", "logs", pod, "-n", "hello")
}

// short is the short form of the commit that is live.
func short(u *upped, t *testing.T) string {
	t.Helper()
	commit := u.says("get application root -n slipway -o jsonpath={.status.lastAppliedCommit}")
	return strings.TrimSpace(commit)[:7]
}

// reviews asks what branches would do: 0 nothing, 1 something, 2 an error.
func (u *upped) reviews(t *testing.T, repo repository, web string) {
	repo.branch("words", map[string]string{"README.md": "Only words.\n"})
	repo.branch("more", map[string]string{"projects/hello/web.yaml": strings.Replace(web, "replicas: 2", "replicas: 3", 1)})
	repo.branch("broken", map[string]string{"projects/hello/web.yaml": strings.Replace(web, "replicas: 2", "replicas: many", 1)})
	for _, c := range []struct {
		ref  string
		code int
		want string
	}{
		{"main", 0, "Nothing would change."},
		{"words", 0, "Nothing would change."},
		{"more", 1, "spec.replicas: 2 → 3"},
		{"broken", 2, "projects/hello/web.yaml:"},
		{"nowhere", 2, "nowhere"},
	} {
		if res := u.runs("diff", "--ref", c.ref); res.code != c.code || !strings.Contains(res.out+res.complaints, c.want) {
			t.Errorf("slipway diff --ref %s: want exit code %d and %q: %s", c.ref, c.code, c.want, res)
		}
	}
	var answer struct{ Changes int }
	res := u.runs("diff", "--ref", "more", "-o", "json")
	if err := json.Unmarshal([]byte(res.out), &answer); err != nil || answer.Changes == 0 || res.code != 1 {
		t.Errorf("slipway diff -o json: %v: %s", err, res)
	}
	u.says("get dc web -n hello -o jsonpath={.spec.replicas}", "2")
}

// pushesAndPulls has the engine push an image and pull it again.
func (u *upped) pushesAndPulls(t *testing.T, repo repository) {
	repo.commit(map[string]string{
		"projects/hello/stream.yaml": "apiVersion: image.openshift.io/v1\nkind: ImageStream\nmetadata:\n  name: tools\n",
	})
	u.hook()
	u.says("get is tools -n hello -o jsonpath={.status.dockerImageRepository}", u.registry+"/hello/tools")

	ref := u.registry + "/hello/tools:v1"
	if err := u.docker.ImageTag(t.Context(), u.image, ref); err != nil {
		t.Fatal(err)
	}
	login := strings.TrimSpace(u.says("registry-login --data-dir "+u.dataDir, ":"))
	user, password, _ := strings.Cut(login, ":")
	for _, c := range []registry.AuthConfig{{}, {Username: user, Password: "wrong"}} {
		if err := u.push(t, ref, c); err == nil || !strings.Contains(err.Error(), "authentication required") && !strings.Contains(err.Error(), "unauthorized") {
			t.Errorf("a push as %q is not refused: %v", c.Username, err)
		}
	}
	if err := u.push(t, ref, registry.AuthConfig{Username: user, Password: password}); err != nil {
		t.Fatalf("push: %v", err)
	}
	digest := u.says("get is tools -n hello -o jsonpath={.status.tags[?(@.tag==\"v1\")].items[0].image}", "sha256:")
	u.says("get is tools -n hello", "tools", "v1")
	if _, err := u.docker.ImageRemove(t.Context(), ref, image.RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	// Nobody's credentials: pulls of what a loopback registry serves are free.
	body, err := u.docker.ImagePull(t.Context(), ref, image.PullOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := told(body); err != nil {
		t.Fatalf("pull: %v", err)
	}
	info, err := u.docker.ImageInspect(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	if want := u.registry + "/hello/tools@" + strings.TrimSpace(digest); len(info.RepoDigests) == 0 || !strings.Contains(strings.Join(info.RepoDigests, " "), want) {
		t.Errorf("pulled %v, want %s", info.RepoDigests, want)
	}
}

func (u *upped) push(t *testing.T, ref string, as registry.AuthConfig) error {
	t.Helper()
	auth, err := registry.EncodeAuthConfig(as)
	if err != nil {
		t.Fatal(err)
	}
	body, err := u.docker.ImagePush(t.Context(), ref, image.PushOptions{RegistryAuth: auth})
	if err != nil {
		return err
	}
	return told(body)
}

// told is the error that the engine tells in a stream of messages.
func told(body io.ReadCloser) error {
	defer body.Close()
	for d := json.NewDecoder(body); ; {
		var m struct{ Error string }
		if err := d.Decode(&m); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if m.Error != "" {
			return errors.New(m.Error)
		}
	}
}

func (u *upped) refusesASecondServer(t *testing.T) {
	before, err := os.ReadFile(filepath.Join(u.dataDir, "up.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range [][]string{
		{"up", "--repo", "file:///nowhere", "--data-dir", u.dataDir, "--listen", "127.0.0.1:0"},
		{"down", "--data-dir", u.dataDir},
	} {
		if res := u.runs(command...); res.code != 2 || !strings.Contains(res.complaints, "another `slipway` process works on the data directory "+u.dataDir) {
			t.Errorf("slipway %s beside the server: %s", command[0], res)
		}
	}
	if after, err := os.ReadFile(filepath.Join(u.dataDir, "up.json")); err != nil || string(after) != string(before) {
		t.Errorf("the refused server wrote settings: %v %s", err, after)
	}
}

// keepsItsName: another data directory may not take over this one's links and rules.
func (u *upped) keepsItsName(t *testing.T) {
	other := filepath.Join(u.dir, "other")
	res := u.runs("up", "--repo", "file:///nowhere", "--data-dir", other, "--name", u.network, "--listen", "127.0.0.1:0",
		"--registry", "127.0.0.1:0", "--router", "127.0.0.1:0", "--router-tls", "127.0.0.1:0")
	if res.code != 2 || !strings.Contains(res.complaints, "belongs to the instance that keeps its addresses in "+u.dataDir) {
		t.Errorf("slipway up of the same name: %s", res)
	}
	if res := u.runs("down", "--data-dir", other); res.code != 0 {
		t.Errorf("slipway down of the refused server: %s", res)
	}
	u.serves("web-hello.localhost", "Hello from Slipway")
}

// restarts stops the server: pods run on. The next one adopts them.
func (u *upped) restarts(t *testing.T) {
	var before map[string]string
	eventually(t, "the old pods end", func() error {
		if before = u.running(); len(before) != 2 {
			return fmt.Errorf("%d containers run, not two pods of one", len(before))
		}
		return nil
	})
	address := strings.TrimSpace(u.says("get pods -n hello -o jsonpath={.items[0].status.podIP}", "."))
	u.stop()
	// The router was part of the server; the pods are not.
	if code, body, err := fetch(t, "http://"+address+":8080/", ""); err != nil || code != http.StatusOK || !strings.Contains(body, "Hello again") {
		t.Errorf("a pod without the server: %d %s %v", code, body, err)
	}
	if now := u.running(); !maps.Equal(now, before) {
		t.Errorf("containers %v run without the server, before %v", now, before)
	}
	t.Logf("ready again after %s", u.start())
	u.serves("web-hello.localhost", "Hello again")
	u.says("status", "2/2", "No problems.")
	if now := u.running(); !maps.Equal(now, before) {
		t.Errorf("containers %v run after the restart, before %v", now, before)
	}
}

// TestUpOnAnExistingEtcd keeps live state in an etcd that was there before, and is there after.
func TestUpOnAnExistingEtcd(t *testing.T) {
	t.Parallel()
	u := newUp(t)
	listen := url.URL{Scheme: "http", Host: fmt.Sprintf("127.0.0.1:%d", freePort(t))}
	cfg := embed.NewConfig()
	cfg.Dir = filepath.Join(u.dir, "etcd")
	cfg.LogLevel = "fatal"
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{listen}, []url.URL{listen}
	cfg.ListenPeerUrls = nil
	cfg.AdvertisePeerUrls = []url.URL{{Scheme: "http", Host: "127.0.0.1:1"}}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	cfg.UnsafeNoFsync = true
	etcd, err := embed.StartEtcd(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// The server's end comes first: it still takes its links and rules away.
		u.stop()
		if res := u.runs("down", "--data-dir", u.dataDir); res.code != 0 {
			t.Errorf("slipway down: %s", res)
		}
		etcd.Close()
		u.cmd = nil
		u.wantNothingLeft(t)
	})
	<-etcd.Server.ReadyNotify()
	object := "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: page\ndata:\n  title: "
	repo := newRepository(t, filepath.Join(u.dir, "config"), map[string]string{"projects/hello/page.yaml": object + "One\n"})
	u.args = append(u.args, "--repo", fileURL(repo.dir), "--etcd", listen.String())
	t.Logf("ready after %s", u.start())
	const title = "get configmap page -n hello -o jsonpath={.data.title}"
	u.says(title, "One")
	uid := u.says("get configmap page -n hello -o jsonpath={.metadata.uid}")
	if _, err := os.Stat(filepath.Join(u.dataDir, "state", "etcd")); err == nil {
		t.Error("an etcd is embedded all the same")
	}
	u.refusesASecondServer(t)

	u.stop()
	t.Logf("ready again after %s", u.start())
	repo.commit(map[string]string{"projects/hello/page.yaml": object + "Two\n"})
	u.hook()
	u.says(title, "Two")
	if now := u.says("get configmap page -n hello -o jsonpath={.metadata.uid}"); now != uid {
		t.Errorf("the object is %s, was %s", now, uid)
	}
}
