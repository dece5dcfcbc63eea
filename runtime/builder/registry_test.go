package builder_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// startRegistry runs Debian's docker-registry until the test ends.
func startRegistry(t *testing.T) string {
	t.Helper()
	program, err := registryProgram()
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	config := filepath.Join(t.TempDir(), "registry.yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: '%s'}\n", t.TempDir(), addr)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "serve", config)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for range 300 {
		if resp, err := http.Get("http://" + addr + "/v2/"); err == nil {
			resp.Body.Close()
			return addr
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("the registry did not come up")
	return ""
}

// registryProgram finds docker-registry, or unpacks Debian's package beside the other
// temporary files: installing it would start a daemon. The folder is per test binary, and
// goes with the machine's temporary files.
var registryProgram = sync.OnceValues(func() (string, error) {
	if p, err := exec.LookPath("docker-registry"); err == nil {
		return p, nil
	}
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("slipway-docker-registry-%d", os.Geteuid()))
	program := filepath.Join(dir, "usr/bin/docker-registry")
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	work, err := os.MkdirTemp("", "slipway-docker-registry-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	script := `cd "$1" && { apt-get -q download docker-registry || { apt-get -q update && apt-get -q download docker-registry; }; } && dpkg-deb -x docker-registry_*.deb root`
	if out, err := exec.Command("sh", "-c", script, "sh", work).CombinedOutput(); err != nil {
		return "", fmt.Errorf("install docker-registry, on Debian with `apt-get install docker-registry` (%w: %s)", err, out)
	}
	if err := os.Rename(filepath.Join(work, "root"), dir); err != nil && !os.IsExist(err) {
		return "", err
	}
	return program, nil
})
