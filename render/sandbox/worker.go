package sandbox

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Death says why a child died or was killed in the middle of a job. What it worked on is to blame.
type Death struct{ Reason string }

func (d *Death) Error() string { return d.Reason }

// Worker is one child process. It does one job at a time.
type Worker struct {
	limits Limits
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    io.ReadCloser
	// buffered reads from out.
	buffered *bufio.Reader
	stderr   *tail
	// Held is the caller's to remember what the child holds from earlier jobs.
	Held any
	// Unconfined says what part of the confinement is missing, if any.
	Unconfined string

	exited chan struct{}
	jobs   int
	broken bool
	// began is when the job, or the part that is worked on, began; Unix time in ns.
	began  atomic.Int64
	killed sync.Once
	// reason is why the parent killed it; guarded by killed, read after exited.
	reason string
}

// maxStart is how long a child may take to start, on a machine however busy.
const maxStart = 30 * time.Second

// start runs a child and waits until it is confined. As root it gets a network namespace
// of its own besides; where root may not make one (in a container), the filter of system
// calls alone keeps it off the network.
func start(exe []string, env []string, l Limits) (*Worker, error) {
	var w *Worker
	err := error(syscall.EPERM)
	if os.Geteuid() == 0 {
		w, err = spawn(exe, env, l, syscall.CLONE_NEWNET|syscall.CLONE_NEWIPC)
	}
	if errors.Is(err, syscall.EPERM) {
		w, err = spawn(exe, env, l, 0)
	}
	if err != nil {
		return nil, err
	}
	stop := time.AfterFunc(maxStart, func() { w.kill("it did not start") })
	f, err := readFrame(w.buffered, l.Output)
	stop.Stop()
	if err != nil || f.kind != frameReady {
		w.Close()
		return nil, fmt.Errorf("%s did not start as a render child: %s", exe[0], strings.TrimSpace(w.stderr.String()))
	}
	w.Unconfined = string(f.body)
	return w, nil
}

// spawn starts the process, in new namespaces if asked.
func spawn(exe []string, env []string, l Limits, namespaces uintptr) (*Worker, error) {
	w := &Worker{limits: l, cmd: exec.Command(exe[0], exe[1:]...), stderr: &tail{}, exited: make(chan struct{})}
	w.cmd.Env = append(slices.Clone(env), l.environment()...)
	w.cmd.Dir = "/"
	w.cmd.Stderr = w.stderr
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Cloneflags: namespaces}
	var err error
	if w.in, err = w.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, childOut, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	w.out, w.buffered, w.cmd.Stdout = out, bufio.NewReaderSize(out, trusted), childOut
	err = w.cmd.Start()
	childOut.Close()
	if err != nil {
		out.Close()
		return nil, fmt.Errorf("start %s: %w", exe[0], err)
	}
	go func() {
		_ = w.cmd.Wait()
		close(w.exited)
	}()
	return w, nil
}

// Do hands the child a job, answers its questions and takes the parts of its result as
// they come, until it is done. A part that exceeds the output limit comes as a *Death; the
// job goes on. A *Death that is returned means that the job, after the parts that came, is
// to blame; the child is gone, unless it was the end of the result that was too large.
func (w *Worker) Do(ctx context.Context, job []byte, answer func(question []byte) ([]byte, error), part func([]byte, error)) (result []byte, err error) {
	w.jobs++
	w.began.Store(time.Now().UnixNano())
	done, watched := make(chan struct{}), make(chan struct{})
	go func() { defer close(watched); w.watch(ctx, done) }()
	// What watches this job must be gone before the child has another one to be killed in.
	defer func() {
		close(done)
		<-watched
		if err == nil && w.reason != "" {
			err = w.death(ctx, nil)
		}
	}()
	if err := writeFrame(w.in, frameJob, job, w.limits.Output*2); err != nil {
		return nil, w.death(ctx, err)
	}
	for {
		f, err := readFrame(w.buffered, w.limits.Output)
		if err != nil {
			return nil, w.death(ctx, err)
		}
		switch f.kind {
		case frameAsk:
			kind := frameAnswer
			body, err := answer(f.body)
			if err != nil {
				kind, body = frameRefusal, []byte(cut(err.Error()))
			}
			if err := writeFrame(w.in, kind, body, w.limits.Output*2); err != nil {
				return nil, w.death(ctx, err)
			}
		case framePart:
			w.began.Store(time.Now().UnixNano())
			part(f.body, nil)
		case frameTooLarge:
			w.began.Store(time.Now().UnixNano())
			part(nil, &Death{Reason: fmt.Sprintf("its result is larger than the limit of %d MiB", w.limits.Output>>20)})
		case frameDone:
			return f.body, nil
		case frameFailed:
			return nil, errors.New(string(f.body))
		default:
			return nil, w.death(ctx, fmt.Errorf("unexpected frame %q", f.kind))
		}
	}
}

// watch kills the child when its time is up, its caller has gone, or it holds more
// memory than it may: the kernel counts what is mapped, this counts what is resident.
func (w *Worker) watch(ctx context.Context, done <-chan struct{}) {
	wall := time.NewTimer(w.limits.Wall)
	defer wall.Stop()
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	for {
		select {
		case <-done:
			return
		case <-ctx.Done():
			w.kill("cancelled")
			return
		case <-wall.C:
			left := time.Until(time.Unix(0, w.began.Load()).Add(w.limits.Wall))
			if left <= 0 {
				w.kill(fmt.Sprintf("took longer than %s", w.limits.Wall))
				return
			}
			wall.Reset(left)
		case <-look.C:
			if w.resident() > w.limits.Memory+processItself {
				w.kill(tooMuchMemory(w.limits))
				return
			}
		}
	}
}

// processItself is what the child's own program is allowed on top of a job's memory, in bytes.
const processItself = 128 << 20

func tooMuchMemory(l Limits) string {
	return fmt.Sprintf("needed more than %d MiB of memory", l.Memory>>20)
}

// resident is the memory the child holds, in bytes; 0 if it has just ended.
func (w *Worker) resident() int64 {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", w.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(raw), &size, &resident); err != nil {
		return 0
	}
	return resident * int64(os.Getpagesize())
}

func (w *Worker) kill(reason string) {
	w.killed.Do(func() {
		w.reason = reason
		_ = w.cmd.Process.Kill()
	})
}

// death ends the child after a broken conversation and says what it died of.
func (w *Worker) death(ctx context.Context, cause error) error {
	w.broken = true
	grace := time.AfterFunc(time.Second, func() { w.kill("") })
	w.in.Close()
	<-w.exited
	grace.Stop()
	w.killed.Do(func() {})
	w.out.Close()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	said := w.stderr.String()
	switch {
	case w.reason != "":
		return &Death{Reason: w.reason}
	case w.cmd.ProcessState.ExitCode() == exitCPU:
		return &Death{Reason: fmt.Sprintf("took more than %s of processor time", w.limits.CPU)}
	case w.cmd.ProcessState.ExitCode() == exitMemory:
		return &Death{Reason: tooMuchMemory(w.limits)}
	case strings.Contains(said, "stack overflow"), strings.Contains(said, "stack exceeds"):
		return &Death{Reason: "nests or recurses too deeply: the stack overflowed"}
	case strings.Contains(said, "out of memory"), strings.Contains(said, "cannot allocate memory"), strings.Contains(said, "failed to allocate"):
		return &Death{Reason: tooMuchMemory(w.limits)}
	}
	first, _, _ := strings.Cut(said, "\n")
	return &Death{Reason: strings.TrimSpace(fmt.Sprintf("ended the process that evaluates it (%s, %v) %s", w.cmd.ProcessState, cause, first))}
}

// Close ends the child and waits until it is gone.
func (w *Worker) Close() {
	w.broken = true
	w.in.Close()
	w.kill("closed")
	<-w.exited
	w.out.Close()
}

// tail keeps the beginning of what a child says before it dies.
type tail struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if room := maxErrorText - t.buf.Len(); room > 0 {
		t.buf.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buf.String()
}
