package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"slipway.dev/slipway/cmd/slipway/demo"
	"slipway.dev/slipway/runtime/engine/enginetest"
)

var steps = []string{
	"create", "converge", "build", "roll out", "change", "review", "merge", "promote", "drift", "roll back", "bad", "restart",
}

// transcript is what a command says while it runs.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (s *transcript) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *transcript) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func (s *transcript) says(text string, times int) func() error {
	return func() error {
		if n := strings.Count(s.String(), text); n < times {
			return fmt.Errorf("it says %q %d times, not %d:\n%s", text, n, times, s)
		}
		return nil
	}
}

// played is a demo that a test plays.
type played struct {
	instance
	report string
	out    transcript
	cmd    *exec.Cmd
	ended  chan error
}

// stage is held by the demo that plays: each takes the first name and networks that are free.
var stage sync.Mutex

// play starts a demo in a folder of its own.
func play(t *testing.T, args ...string) *played {
	t.Helper()
	stage.Lock()
	t.Cleanup(stage.Unlock)
	if os.Geteuid() != 0 {
		t.Fatal("the demo makes links and rules: run its tests as root")
	}
	// Each test's engine outlives the demo: a private one is shared with other tests.
	docker := enginetest.Client(t)
	dir := shortDir(t)
	port := freePort(t, 0, 1, 1000, 1363)
	d := &played{report: filepath.Join(dir, "report.json"), ended: make(chan error, 1)}
	d.instance = instance{docker: docker, dir: dir, dataDir: filepath.Join(dir, "d", "data"), registry: fmt.Sprintf("127.0.0.1:%d", port+1)}
	d.cmd = exec.Command(program(t), append([]string{
		"demo", "--report", d.report, "--dir", filepath.Join(dir, "d"), "--first-port", fmt.Sprint(port),
	}, args...)...)
	d.cmd.Env = append(os.Environ(), "DOCKER_HOST="+docker.DaemonHost())
	d.cmd.Stdout, d.cmd.Stderr = &d.out, &d.out
	return d
}

func (d *played) start(t *testing.T) {
	t.Helper()
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { d.ended <- d.cmd.Wait() }()
	t.Cleanup(func() { d.end(t, syscall.SIGTERM) })
}

// end asks the demo to end and waits until it has cleaned up.
func (d *played) end(t *testing.T, s os.Signal) {
	t.Helper()
	if d.cmd.ProcessState == nil {
		_ = d.cmd.Process.Signal(s)
	}
	d.await(t, patience)
}

func (d *played) await(t *testing.T, limit time.Duration) error {
	t.Helper()
	select {
	case err := <-d.ended:
		d.ended <- err
		return err
	case <-time.After(limit):
		_ = d.cmd.Process.Kill()
		t.Fatalf("the demo does not end:\n%s", &d.out)
		return nil
	}
}

// networkName finds in what the demo says which name it took.
func (d *played) networkName(t *testing.T) string {
	t.Helper()
	m := regexp.MustCompile(`network (slipwa\w), pods`).FindStringSubmatch(d.out.String())
	if m == nil {
		t.Fatalf("the demo does not say its network's name:\n%s", &d.out)
	}
	return m[1]
}

// TestDemo plays the whole story once.
func TestDemo(t *testing.T) {
	t.Parallel()
	d := play(t, "--once")
	d.start(t)
	err := d.await(t, 15*time.Minute)
	if err != nil {
		t.Errorf("the demo: %v\n%s", err, &d.out)
	}
	checkReport(t, d.report)
	d.network = d.networkName(t)
	d.wantNothingLeft(t)
	if _, err := os.Stat(filepath.Join(d.dir, "d")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("left: the demo's folder (%v)", err)
	}
}

// checkReport holds the report's promises: its shape, and that every step held.
func checkReport(t *testing.T, file string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r demo.Report
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&r); err != nil {
		t.Fatalf("%v\n%s", err, data)
	}
	var names []string
	for i, s := range r.Steps {
		names = append(names, s.Name)
		if !s.OK || s.Seconds <= 0 || s.Detail == "" {
			t.Errorf("step %d: %+v", i+1, s)
		}
	}
	if !slices.Equal(names, steps) {
		t.Errorf("steps %q, want %q", names, steps)
	}
	if !r.OK || r.FailedRequests != 0 || r.Requests < 10 {
		t.Errorf("ok %t, %d of %d requests failed", r.OK, r.FailedRequests, r.Requests)
	}
	f := r.Figures
	if len(f.ReadySeconds) != 2 || len(f.PushToLiveSeconds) != 5 || f.PushToLiveMedian <= 0 || f.ResidentMB <= 0 {
		t.Errorf("figures %+v", f)
	}
	var raw struct{ Steps []map[string]any }
	top := map[string]any{}
	if err := errors.Join(json.Unmarshal(data, &raw), json.Unmarshal(data, &top)); err != nil {
		t.Fatal(err)
	}
	wantKeys(t, "the report", top, "steps", "ok", "failedRequests", "requests", "figures")
	for _, s := range raw.Steps {
		wantKeys(t, "a step", s, "name", "ok", "seconds", "detail")
	}
}

func wantKeys(t *testing.T, what string, have map[string]any, want ...string) {
	t.Helper()
	for _, k := range want {
		if _, ok := have[k]; !ok {
			t.Errorf("%s has no %s", what, k)
		}
	}
	if len(have) != len(want) {
		t.Errorf("%s has fields %v, want %v", what, have, want)
	}
}

// TestDemoGoesOnByEnterAndEndsByCtrlC plays as a user does who looks at the first steps,
// goes on by Enter, and ends it while it waits.
func TestDemoGoesOnByEnterAndEndsByCtrlC(t *testing.T) {
	t.Parallel()
	d := play(t, "--keep")
	in, err := d.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	d.start(t)
	const prompt = "press Enter for: "
	awaitPrompt := func(what string) {
		t.Helper()
		for end := time.Now().Add(5 * time.Minute); !strings.Contains(d.out.String(), prompt+what); time.Sleep(50 * time.Millisecond) {
			select {
			case err := <-d.ended:
				d.ended <- err
				t.Fatalf("the demo ended: %v\n%s", err, &d.out)
			default:
			}
			if time.Now().After(end) {
				t.Fatalf("no prompt for %s:\n%s", what, &d.out)
			}
		}
	}
	awaitPrompt("change")
	d.network = d.networkName(t)
	for _, want := range []string{"It is up.", "the shop  ", "the dashboard  ", "git clone "} {
		if err := d.out.says(want, 1)(); err != nil {
			t.Error(err)
		}
	}
	// Typed ahead: both count.
	if _, err := in.Write([]byte("\n\n")); err != nil {
		t.Fatal(err)
	}
	awaitPrompt("merge")
	if len(d.containers(t)) == 0 {
		t.Error("no container has the demo's label: the test would not see any that is left")
	}
	d.end(t, syscall.SIGINT)
	if code := d.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("Ctrl-C while it waits ends it with %d:\n%s", code, &d.out)
	}
	var r demo.Report
	if data, err := os.ReadFile(d.report); err != nil || json.Unmarshal(data, &r) != nil || r.OK || len(r.Steps) != 6 {
		t.Errorf("the report of a story that was not played to its end: %v\n%s", err, data)
	}
	d.wantNothingLeft(t)
	for _, kept := range []string{"data/up.json", "data/state", "git/shop-config.git", "work/shop-app", "server.log"} {
		if _, err := os.Stat(filepath.Join(d.dir, "d", kept)); err != nil {
			t.Errorf("--keep: %v", err)
		}
	}
	// What is kept is not played over.
	again := runs(t, nil, program(t), "demo", "--once", "--dir", filepath.Join(d.dir, "d"))
	if again.code == 0 || !strings.Contains(again.complaints, "is not empty") {
		t.Errorf("a demo in a folder that is not empty: %s", again)
	}
	if _, err := os.Stat(filepath.Join(d.dir, "d", "data")); err != nil {
		t.Error(err)
	}
}
