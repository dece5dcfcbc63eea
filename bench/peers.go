package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// program is a peer that is measured as a program of its own.
type program struct {
	// Name of the binary, and folder below peers/ with the module that pins its version.
	Name, Module string
	// Package that is built, and the module that holds it.
	Package, Of string
	// Flags of the linker.
	Flags string
}

var (
	tk = program{Name: "tk", Module: "tanka", Package: "github.com/grafana/tanka/cmd/tk", Of: "github.com/grafana/tanka"}

	gitopsEngine = program{Name: "gitops", Module: "gitops", Package: ".", Of: "github.com/argoproj/argo-cd/gitops-engine"}

	kubeAPIServer = program{Name: "kube-apiserver", Module: "apiserver", Package: "k8s.io/kubernetes/cmd/kube-apiserver", Of: "k8s.io/kubernetes",
		Flags: "-X k8s.io/component-base/version.gitVersion=v1.36.3 -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36"}

	kustomizeController = program{Name: "kustomize-controller", Module: "kustomize", Package: "github.com/fluxcd/kustomize-controller", Of: "github.com/fluxcd/kustomize-controller"}
)

var programs = []program{tk, gitopsEngine, kubeAPIServer, kustomizeController}

// errNotBuilt says that a run does without a peer.
var errNotBuilt = errors.New("left out: it is not built yet, and a short run builds nothing, or it was not asked for")

// find is the path of the binary; a full run builds what is missing.
func (p program) find(ctx context.Context, e *Env) (string, error) {
	if e.Alone {
		return "", fmt.Errorf("%s: %w", p.Name, errNotBuilt)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	version, err := p.version()
	if err != nil {
		return "", err
	}
	at := filepath.Join(cache, "slipway-bench", p.Name+"-"+strings.TrimPrefix(version, "v"))
	if _, err := os.Stat(at); err == nil {
		return at, nil
	}
	if e.Short {
		return "", fmt.Errorf("%s: %w", p.Name, errNotBuilt)
	}
	fmt.Fprintf(e.Progress, "building %s %s …\n", p.Name, version)
	cmd := exec.CommandContext(ctx, "nice", "-n", "19", "go", "build", "-trimpath", "-ldflags", "-s -w "+p.Flags, "-o", at+".new", p.Package)
	cmd.Dir = p.dir()
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s %s: %w: %s", p.Name, version, err, last(string(out)))
	}
	return at, os.Rename(at+".new", at)
}

func (p program) dir() string { return filepath.Join(here(), "peers", p.Module) }

// version is the one that the peer's go.mod requires.
func (p program) version() (string, error) {
	raw, err := os.ReadFile(filepath.Join(p.dir(), "go.mod"))
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(raw)) {
		f := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require "))
		if len(f) >= 2 && f[0] == p.Of && f[1] != "=>" {
			return f[1], nil
		}
	}
	return "", fmt.Errorf("%s/go.mod does not require %s", p.dir(), p.Of)
}

// here is the folder of this program's source.
func here() string {
	_, file, _, _ := runtime.Caller(0)
	if dir := filepath.Dir(file); filepath.IsAbs(dir) {
		return dir
	}
	return "."
}

func last(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-3):], "; ")
}

func peerVersions() []string {
	var out []string
	for _, p := range programs {
		if v, err := p.version(); err == nil {
			out = append(out, p.Of+" "+v)
		}
	}
	return append(out, strings.TrimSpace(output("git", "--version")))
}

func output(name string, args ...string) string {
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		return name + ": " + err.Error()
	}
	return string(out)
}
