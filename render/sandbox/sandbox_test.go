package sandbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const childEnv = "SLIPWAY_SANDBOX_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		os.Exit(Serve(os.Stdin, os.Stdout, misbehave))
	}
	os.Exit(m.Run())
}

// misbehave does what the job says, and reports how it went.
func misbehave(job []byte, t *Task) ([]byte, error) {
	text, err := misbehaveText(string(job), t)
	return []byte(text), err
}

func misbehaveText(job string, t *Task) (string, error) {
	verb, rest, _ := strings.Cut(job, " ")
	switch verb {
	case "echo":
		return rest, nil
	case "fail":
		return "", errors.New(strings.Repeat("x", 100_000))
	case "ask":
		answer, err := t.Ask([]byte(rest))
		return string(answer), err
	case "parts":
		for _, part := range strings.Fields(rest) {
			if result, err := misbehaveText(strings.ReplaceAll(part, "_", " "), t); err != nil {
				return "", err
			} else if err := t.Part([]byte(result)); err != nil {
				return "", err
			}
		}
		return "end", nil
	case "open":
		_, err := os.ReadFile(rest)
		return fmt.Sprint(err), nil
	case "write":
		return fmt.Sprint(os.WriteFile(rest, []byte("x"), 0o600)), nil
	case "list":
		_, err := os.ReadDir(rest)
		return fmt.Sprint(err), nil
	case "dial":
		_, err := net.DialTimeout("tcp", rest, time.Second)
		return fmt.Sprint(err), nil
	case "exec":
		return fmt.Sprint(exec.Command(rest).Run()), nil
	case "signal":
		pid, err := strconv.Atoi(rest)
		return fmt.Sprint(errors.Join(err, syscall.Kill(pid, 0))), nil
	case "recurse":
		return strconv.Itoa(recurse(0)), nil
	case "spin":
		for i := 0; ; i++ {
			_ = i
		}
	case "work":
		for began := time.Now(); time.Since(began) < 200*time.Millisecond; {
			_ = began
		}
		return "worked", nil
	case "sleep":
		time.Sleep(time.Hour)
	case "hog":
		var hog [][]byte
		for {
			b := make([]byte, 1<<20)
			for i := range b {
				b[i] = 1
			}
			hog = append(hog, b)
			if len(hog) > 1<<20 {
				return strconv.Itoa(len(hog)), nil
			}
		}
	case "large":
		return strings.Repeat("x", 5<<20), nil
	case "exit":
		os.Exit(7)
	}
	return "", fmt.Errorf("unknown job %q", job)
}

func recurse(n int) int {
	var pad [1024]byte
	if n < 0 {
		return 0
	}
	pad[n%1024] = byte(n)
	return recurse(n+1) + int(pad[0])
}

func testPool(t *testing.T, l Limits) *Pool {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := NewPool([]string{exe}, []string{childEnv + "=1"}, 2, l, slog.New(slog.DiscardHandler))
	t.Cleanup(p.Close)
	return p
}

func do(t *testing.T, p *Pool, job string) (string, error) {
	t.Helper()
	w, err := p.Get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Put(w)
	var parts []string
	result, err := w.Do(t.Context(), []byte(job), func(q []byte) ([]byte, error) {
		if strings.Contains(string(q), "wrong") {
			return nil, errors.New("no such thing")
		}
		return []byte("answer to " + string(q)), nil
	}, func(part []byte, err error) {
		if err != nil {
			part = []byte(err.Error())
		}
		parts = append(parts, string(part))
	})
	return strings.Join(append(parts, string(result)), ", "), err
}

func TestWorkAndQuestions(t *testing.T) {
	p := testPool(t, Limits{})
	if got, err := do(t, p, "echo hello"); err != nil || got != "hello" {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err := do(t, p, "ask x"); err != nil || got != "answer to x" {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := do(t, p, "ask wrong"); err == nil || err.Error() != "no such thing" {
		t.Errorf("got %v", err)
	}
	if _, err := do(t, p, "fail"); err == nil || len(err.Error()) > 5000 {
		t.Errorf("a long error is not cut: %d bytes", len(err.Error()))
	}
}

// Each part of a result has the limits for itself, and one that is too large is no end.
func TestPartsHaveLimitsOfTheirOwn(t *testing.T) {
	p := testPool(t, Limits{Memory: 64 << 20, CPU: time.Second, Wall: 2 * time.Minute, Output: 4 << 20})
	const many = "echo_a large work work work work work work work echo_b"
	got, err := do(t, p, "parts "+many)
	want := "a, its result is larger than the limit of 4 MiB" + strings.Repeat(", worked", 7) + ", b, end"
	if err != nil || got != want {
		t.Errorf("got %q, %v", got, err)
	}
	got, err = do(t, p, "parts echo_a spin echo_b")
	var death *Death
	if !errors.As(err, &death) || !strings.Contains(death.Reason, "of processor time") || got != "a, " {
		t.Errorf("got %q, %v", got, err)
	}
}

// A canary outside, a listener, a program, the parent: none can be reached.
func TestNothingOutsideIsReached(t *testing.T) {
	p := testPool(t, Limits{})
	canary := t.TempDir() + "/canary"
	if err := os.WriteFile(canary, []byte("canary"), 0o644); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for _, job := range []string{
		"open " + canary, "open /dev/zero", "open /proc/self/environ", "list /", "write " + canary,
		"dial " + listener.Addr().String(), "exec /bin/true", fmt.Sprintf("signal %d", os.Getpid()),
	} {
		got, err := do(t, p, job)
		if err != nil || !strings.Contains(got, "operation not permitted") && !strings.Contains(got, "function not implemented") {
			t.Errorf("%s: got %q, %v", job, got, err)
		}
	}
	if raw, _ := os.ReadFile(canary); string(raw) != "canary" {
		t.Error("the canary was overwritten")
	}
}

func TestBombsKillOnlyTheChild(t *testing.T) {
	small := Limits{Memory: 64 << 20, CPU: 500 * time.Millisecond, Wall: 2 * time.Minute, Output: 4 << 20}
	short := small
	short.Wall = 2 * time.Second
	for _, c := range []struct {
		job, want string
		limits    Limits
	}{
		{"recurse", "stack overflowed", small},
		{"hog", "needed more than 64 MiB of memory", small},
		{"spin", "of processor time", small},
		{"sleep", "took longer than 2s", short},
		{"exit", "exit status 7", small},
	} {
		t.Run(c.job, func(t *testing.T) {
			t.Parallel()
			p := testPool(t, c.limits)
			_, err := do(t, p, c.job)
			var death *Death
			if !errors.As(err, &death) || !strings.Contains(death.Reason, c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if got, err := do(t, p, "echo again"); err != nil || got != "again" {
				t.Errorf("after it: %q, %v", got, err)
			}
		})
	}
}

func TestCancelledAndClosed(t *testing.T) {
	p := testPool(t, Limits{})
	ctx, cancel := context.WithCancel(t.Context())
	w, err := p.Get(ctx)
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, err := w.Do(ctx, []byte("sleep"), nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	p.Put(w)
	p.Close()
	if _, err := p.Get(t.Context()); !errors.Is(err, errClosed) {
		t.Errorf("got %v", err)
	}
}

// A caller that goes right after its job is done takes no child with it: the next job
// of that child is another's.
func TestCancelledAfterItsJob(t *testing.T) {
	p := testPool(t, Limits{})
	for range 500 {
		ctx, cancel := context.WithCancel(t.Context())
		w, err := p.Get(ctx)
		if err != nil {
			t.Fatal(err)
		}
		_, err = w.Do(ctx, []byte("echo a"), nil, nil)
		cancel()
		p.Put(w)
		if err != nil {
			t.Fatalf("the job: %v", err)
		}
		if got, err := do(t, p, "echo b"); err != nil || got != "b" {
			t.Fatalf("the next one: %q, %v", got, err)
		}
	}
}

func TestManyAtOnce(t *testing.T) {
	p := testPool(t, Limits{})
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			if got, err := do(t, p, fmt.Sprintf("echo %d", i)); err != nil || got != fmt.Sprint(i) {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
	all.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) > cap(p.slots) {
		t.Errorf("%d idle children", len(p.idle))
	}
}
