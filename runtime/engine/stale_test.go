package engine

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestAStalePidFileIsNamed(t *testing.T) {
	t.Parallel()
	self, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "docker.pid")
	if err := stale(file, "dockerd"); err != nil {
		t.Errorf("without a file: %v", err)
	}
	for content, want := range map[string]string{
		strconv.Itoa(os.Getpid()): "is stale: process " + strconv.Itoa(os.Getpid()),
		"none":                    "holds no process id",
		"4194305":                 "", // Above the kernel's largest process id.
	} {
		if err := os.WriteFile(file, []byte(content+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		err := stale(file, "dockerd")
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), file)) {
			t.Errorf("%q: %v", content, err)
		}
	}
	if err := os.WriteFile(file, []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := stale(file, strings.TrimSpace(string(self))); err != nil {
		t.Errorf("the program that it names: %v", err)
	}
}

func TestEveryStalePidFileIsNamed(t *testing.T) {
	t.Parallel()
	run := t.TempDir()
	for _, name := range []string{"docker.pid", "docker/containerd/containerd.pid"} {
		file := filepath.Join(run, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := staleBelow(run); err == nil || !strings.Contains(err.Error(), file+" is stale") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
