package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/rogpeppe/go-internal/testscript"

	node "slipway.dev/slipway/runtime"
	"slipway.dev/slipway/runtime/engine"
)

// TestMain puts a copy of the test binary into PATH that, called `slipway`, is the
// program itself: also for the renderer's child and for git's hooks.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"slipway": main})
}

// patience is how long anything may take that is waited for.
const patience = 60 * time.Second

// program is the path of slipway.
func program(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("slipway")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// shortDir is a folder whose path is short enough for the sockets below it.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "slip-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// given are the ports that freePort has found: one is nobody else's while its server is down.
var given sync.Map

// freePort is a port at which nobody listens, with the others of a range at offsets.
func freePort(t testing.TB, offsets ...int) int {
	t.Helper()
	if len(offsets) == 0 {
		offsets = []int{0}
	}
	for range 100 {
		// Below the range that the kernel takes ports of outgoing connections from
		// (ip_local_port_range): what is free now is still free when the server listens.
		port := 15000 + rand.IntN(15000)
		free := true
		for _, o := range offsets {
			_, taken := given.LoadOrStore(port+o, true)
			l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port+o)))
			if free = free && !taken && err == nil; err == nil {
				l.Close()
			}
		}
		if free {
			return port
		}
	}
	t.Fatal("no free ports")
	return 0
}

// eventually waits until a condition holds; its last complaint fails the test.
func eventually(t testing.TB, what string, holds func() error) {
	t.Helper()
	var err error
	// Ever more seldom: a look may be a process of its own.
	for end, pause := time.Now().Add(patience), 50*time.Millisecond; ; pause = min(pause*5/4, 300*time.Millisecond) {
		if err = holds(); err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(pause)
	}
}

// result is what a command that ended has said.
type result struct {
	out, complaints string
	code            int
}

func (r result) String() string {
	return fmt.Sprintf("exit code %d\n%s%s", r.code, r.out, r.complaints)
}

// runs runs a command to its end. What it exits with is the caller's to judge.
func runs(t testing.TB, env []string, name string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		t.Fatalf("%s %s: %v %v\n%s", name, strings.Join(args, " "), err, ctx.Err(), complaints.String())
	}
	return result{out.String(), complaints.String(), cmd.ProcessState.ExitCode()}
}

// fetch asks for a page; the answer is its status and its body.
func fetch(t testing.TB, url, host string) (int, string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	req.Host = host
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return res.StatusCode, string(body), err
}

// instance is a Slipway on this machine, by what it leaves there.
type instance struct {
	docker engine.Docker
	// dir is the data directory, or holds it.
	dir, dataDir string
	// network is the name of links, tables and chains; registry the host of its images.
	network, registry string
}

// label is the value of the containers' label node.LabelInstance.
func (x instance) label() string {
	h := fnv.New32a()
	h.Write([]byte(x.dataDir))
	return fmt.Sprintf("%s-%x", filepath.Base(x.dataDir), h.Sum32())
}

// containers that run or have run.
func (x instance) containers(t testing.TB) []container.Summary {
	t.Helper()
	list, err := x.docker.ContainerList(context.Background(), container.ListOptions{
		All: true, Filters: filters.NewArgs(filters.Arg("label", node.LabelInstance+"="+x.label())),
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// wantNothingLeft fails the test with everything that the instance left on the machine.
func (x instance) wantNothingLeft(t testing.TB) {
	t.Helper()
	for _, c := range x.containers(t) {
		t.Errorf("left: container %s", c.Names)
	}
	x.wantNoImages(t)
	x.wantNoNetwork(t)
	for _, p := range processesNaming(t, x.dir) {
		t.Errorf("left: process %s", p)
	}
}

func (x instance) wantNoImages(t testing.TB) {
	t.Helper()
	list, err := x.docker.ImageList(context.Background(), image.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range list {
		for _, ref := range append(i.RepoTags, i.RepoDigests...) {
			if strings.HasPrefix(ref, x.registry+"/") || strings.HasPrefix(ref, "slipway-demo-") && strings.HasSuffix(ref, ":"+x.network) {
				t.Errorf("left: image %s", ref)
			}
		}
	}
}

func (x instance) wantNoNetwork(t testing.TB) {
	t.Helper()
	links, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		if l.Name == x.network+"0" || strings.HasPrefix(l.Name, x.network+"-") {
			t.Errorf("left: link %s", l.Name)
		}
	}
	if out := runs(t, nil, "nft", "list", "tables").out; strings.Contains(out+"\n", " "+x.network+"\n") {
		t.Errorf("left: table %s of\n%s", x.network, out)
	}
	for line := range strings.Lines(runs(t, nil, "iptables-save").out) {
		if strings.Contains(line, strings.ToUpper(x.network)+"-") || strings.Contains(line, " "+x.network+"-+") {
			t.Errorf("left: in iptables: %s", line)
		}
	}
}

// processesNaming lists the processes whose command line names a folder.
func processesNaming(t testing.TB, dir string) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range files {
		line, err := os.ReadFile(f)
		if err == nil && bytes.Contains(line, []byte(dir)) {
			out = append(out, f+": "+string(bytes.ReplaceAll(line, []byte{0}, []byte{' '})))
		}
	}
	return out
}
