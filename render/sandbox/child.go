package sandbox

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"runtime/metrics"
)

// Handler does one job in the child.
type Handler func(job []byte, t *Task) (result []byte, err error)

// Task is what a handler has of its job beside the job.
type Task struct {
	limits Limits
	frames <-chan frame
	out    io.Writer
}

// Ask puts a question to the parent and returns its answer.
func (t *Task) Ask(question []byte) ([]byte, error) {
	if err := writeFrame(t.out, frameAsk, question, t.limits.Output); err != nil {
		return nil, err
	}
	f := <-t.frames
	switch f.kind {
	case frameAnswer:
		return f.body, nil
	case frameRefusal:
		return nil, errors.New(string(f.body))
	}
	return nil, fmt.Errorf("expected an answer, got %q", f.kind)
}

// Part hands over a part of the result. What comes after it has the limits of a job anew.
func (t *Task) Part(b []byte) error {
	kind := framePart
	if int64(len(b)) > t.limits.Output {
		kind, b = frameTooLarge, nil
	}
	if err := writeFrame(t.out, kind, b, t.limits.Output); err != nil {
		return err
	}
	return allowCPU(t.limits)
}

// Serve is a child's main function: it confines the process, then does jobs until stdin
// ends. It returns the exit status.
func Serve(stdin io.Reader, stdout io.Writer, handle Handler) int {
	l := limitsFrom(os.Getenv)
	// The first frame says what part of the confinement this machine lacks.
	var unconfined string
	if err := confine(l); err != nil {
		unconfined = err.Error()
	}
	if err := writeFrame(stdout, frameReady, []byte(unconfined), l.Output); err != nil {
		return 1
	}
	frames := make(chan frame)
	go func() {
		in := bufio.NewReaderSize(stdin, trusted)
		for {
			f, err := readFrame(in, l.Output*2)
			if err != nil {
				// The parent is gone, or does not need this child any more: whatever goes on here is in vain.
				os.Exit(0)
			}
			frames <- f
		}
	}()
	for f := range frames {
		if err := serveOne(f, &Task{limits: l, frames: frames, out: stdout}, handle); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return 0
}

func serveOne(job frame, t *Task, handle Handler) error {
	if job.kind != frameJob {
		return fmt.Errorf("expected a job, got %q", job.kind)
	}
	if err := allowCPU(t.limits); err != nil {
		return err
	}
	stop := watchMemory(uint64(t.limits.Memory))
	defer stop()
	result, err := handle(job.body, t)
	switch {
	case err != nil:
		err = writeFrame(t.out, frameFailed, []byte(cut(err.Error())), t.limits.Output)
	case int64(len(result)) > t.limits.Output:
		err = writeFrame(t.out, frameTooLarge, nil, t.limits.Output)
	default:
		err = writeFrame(t.out, frameDone, result, t.limits.Output)
	}
	tidy()
	return err
}

// keptHeap is how much heap an idle child may hold on to, in bytes.
const keptHeap = 48 << 20

// tidy gives memory back after a large job, so that an idle child stays small.
func tidy() {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Uint64() > keptHeap {
		debug.FreeOSMemory()
	}
}

// maxErrorText bounds the text of an error that comes out of a child, in bytes.
const maxErrorText = 4096

func cut(s string) string {
	if len(s) <= maxErrorText {
		return s
	}
	return s[:maxErrorText] + " … (cut)"
}
