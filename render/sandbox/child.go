package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"runtime/metrics"
)

// Ask puts a question to the parent and decodes its answer.
type Ask func(question, answer any) error

// Handler does one job in the child.
type Handler func(job json.RawMessage, ask Ask) (result any, err error)

// outcome is the body of a done frame.
type outcome struct {
	Result any    `json:"result,omitempty"`
	Error  string `json:"error,omitempty"`
}

// ready is the body of the first frame a child sends.
type ready struct {
	// Unconfined says what part of the confinement this machine lacks.
	Unconfined string `json:"unconfined,omitempty"`
}

// Serve is a child's main function: it confines the process, then does jobs until stdin
// ends. It returns the exit status.
func Serve(stdin io.Reader, stdout io.Writer, handle Handler) int {
	l := limitsFrom(os.Getenv)
	var hello ready
	if err := confine(l); err != nil {
		hello.Unconfined = err.Error()
	}
	if err := writeFrame(stdout, frameReady, hello, l.Output); err != nil {
		return 1
	}
	frames := make(chan frame)
	go func() {
		for {
			f, err := readFrame(stdin, l.Output*2)
			if err != nil {
				// The parent is gone, or does not need this child any more: whatever goes on here is in vain.
				os.Exit(0)
			}
			frames <- f
		}
	}()
	for f := range frames {
		if err := serveOne(f, frames, stdout, l, handle); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return 0
}

func serveOne(job frame, frames <-chan frame, stdout io.Writer, l Limits, handle Handler) error {
	if job.Kind != frameJob {
		return fmt.Errorf("expected a job, got %q", job.Kind)
	}
	if err := allowCPU(l); err != nil {
		return err
	}
	ask := func(question, answer any) error {
		if err := writeFrame(stdout, frameAsk, question, l.Output); err != nil {
			return err
		}
		f := <-frames
		if f.Kind != frameAnswer {
			return fmt.Errorf("expected an answer, got %q", f.Kind)
		}
		var o struct {
			Result json.RawMessage `json:"result"`
			Error  string          `json:"error"`
		}
		if err := json.Unmarshal(f.Body, &o); err != nil {
			return err
		}
		if o.Error != "" {
			return errors.New(o.Error)
		}
		return json.Unmarshal(o.Result, answer)
	}
	stop := watchMemory(uint64(l.Memory))
	defer stop()
	result, err := handle(job.Body, ask)
	o := outcome{Result: result}
	if err != nil {
		o = outcome{Error: cut(err.Error())}
	}
	raw, err := json.Marshal(o)
	if err != nil {
		return err
	}
	if int64(len(raw)) > l.Output-64 {
		err = writeFrame(stdout, frameTooLarge, len(raw), l.Output)
	} else {
		err = writeFrame(stdout, frameDone, json.RawMessage(raw), l.Output)
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
