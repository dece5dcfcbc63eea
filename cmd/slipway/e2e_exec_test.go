package main

import (
	"bytes"
	"maps"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"slipway.dev/slipway/cmd/slipway/execution"
)

// TestExec runs commands in a pod's container, and then kills the server, as a power failure
// would its process: what runs goes on, and is not started twice.
func TestExec(t *testing.T) {
	t.Parallel()
	u := newUp(t)
	repo := newRepository(t, filepath.Join(u.dir, "config"), map[string]string{"projects/hello/web.yaml": strings.Replace(hello, "IMAGE", u.image, 1)})
	u.args = append(u.args, "--repo", fileURL(repo.dir))
	u.start()
	u.serves("web-hello.localhost", "Hello from Slipway")
	pod := strings.Fields(u.says("get pods -n hello -o jsonpath={.items[*].metadata.name}", "web-1-"))[0]

	u.executes(t, pod)
	u.isKilled(t)
}

func (u *upped) executes(t *testing.T, pod string) {
	t.Helper()
	run := func(args ...string) result {
		return u.runs(append([]string{"exec", pod, "-n", "hello", "--data-dir", u.dataDir}, args...)...)
	}
	if res := run("--", "sh", "-c", "cat /www/index.html; echo oh >&2; exit 5"); res.code != 5 || res.out != "Hello from Slipway" || res.complaints != "oh\n" {
		t.Errorf("slipway exec: %s", res)
	}
	cmd := exec.CommandContext(t.Context(), program(t), "exec", pod, "-n", "hello", "--data-dir", u.dataDir, "-i", "-c", "web", "--", "cat")
	cmd.Env, cmd.Stdin = append(cmd.Environ(), u.environment()...), bytes.NewReader(bytes.Repeat([]byte("tea "), 1<<20))
	if out, err := cmd.Output(); err != nil || len(out) != 4<<20 {
		t.Errorf("what is handed on: %d bytes, %v", len(out), err)
	}
	if res := run("-t", "--", "test", "-t", "1"); res.code != 0 {
		t.Errorf("a terminal: %s", res)
	}
	if res := run("-c", "none", "--", "true"); res.code == 0 || !strings.Contains(res.complaints, "choose one of: web") {
		t.Errorf("no such container: %s", res)
	}
	if res := u.runs("exec", pod, "-n", "hello", "--data-dir", t.TempDir(), "--", "true"); res.code == 0 || !strings.Contains(res.complaints, "is not the data directory") {
		t.Errorf("another data directory: %s", res)
	}
	u.says("events -n hello", "Exec", `Somebody ran "test -t 1" in container web`)
	for why, header := range map[string]http.Header{
		"without a token":     {},
		"with a wrong token":  {"Authorization": {"Bearer wrong"}},
		"from behind a proxy": {"X-Forwarded-For": {"192.0.2.1"}},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, u.api+"/slipway/v1/exec/hello/"+pod+"?command=true", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header = header
		req.Header.Set("Connection", "Upgrade")
		req.Header.Set("Upgrade", execution.Protocol)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %s", why, res.Status)
		}
	}
}

func (u *upped) isKilled(t *testing.T) {
	t.Helper()
	before := u.running()
	for range 3 {
		u.kill()
		u.start()
		u.serves("web-hello.localhost", "Hello from Slipway")
	}
	if after := u.running(); !maps.Equal(before, after) {
		t.Errorf("before the kills %v, after them %v", before, after)
	}
}
