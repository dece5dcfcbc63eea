package demo

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

// Report is what a run of the story found.
type Report struct {
	Steps []StepReport `json:"steps"`
	OK    bool         `json:"ok"`
	// FailedRequests counts the requests that failed while a new version rolled out.
	FailedRequests int `json:"failedRequests"`
	// Requests counts all that were made meanwhile.
	Requests int     `json:"requests"`
	Figures  Figures `json:"figures"`
}

// StepReport is one step's outcome.
type StepReport struct {
	Name    string  `json:"name"`
	OK      bool    `json:"ok"`
	Seconds float64 `json:"seconds"`
	Detail  string  `json:"detail"`
}

// Figures are what the demo's own overhead is measured by.
type Figures struct {
	// ReadySeconds is from the start of the server's process to its answering ready.
	ReadySeconds []float64 `json:"readySeconds"`
	// PushToLiveSeconds are from the start of `git push` of a configuration change to
	// the change being served; PushToLiveMedian is their median.
	PushToLiveSeconds []float64 `json:"pushToLiveSeconds"`
	PushToLiveMedian  float64   `json:"pushToLiveMedian"`
	// ResidentMB is the server's resident memory at rest; ProportionalMB is that of the
	// server and its children, with pages that they share counted once.
	ResidentMB     float64 `json:"residentMB"`
	ProportionalMB float64 `json:"proportionalMB"`
}

func (f Figures) String() string {
	return fmt.Sprintf("ready after %s s; push to live %s s (median %.2f s); %0.f MB resident at rest (%0.f MB with children, shared pages once)",
		seconds(f.ReadySeconds), seconds(f.PushToLiveSeconds), f.PushToLiveMedian, f.ResidentMB, f.ProportionalMB)
}

func seconds(list []float64) string {
	parts := make([]string, len(list))
	for i, v := range list {
		parts[i] = fmt.Sprintf("%.2f", v)
	}
	return strings.Join(parts, ", ")
}

func median(list []float64) float64 {
	if len(list) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(list))
	return sorted[len(sorted)/2]
}

// write puts the report into a file.
func (r *Report) write(file string) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(data, '\n'), 0o644)
}

// printer tells the user what happens, a line a step.
type printer struct {
	out io.Writer
}

func (p printer) step(n int, name string, took time.Duration, err error, detail string) {
	mark := "✓"
	if err != nil {
		mark, detail = "✗", err.Error()
	}
	lines := strings.Split(strings.TrimSpace(detail), "\n")
	fmt.Fprintf(p.out, "%s %2d %-10s %6.1f s  %s\n", mark, n, name, took.Seconds(), lines[0])
	for _, l := range lines[1:] {
		fmt.Fprintf(p.out, "%25s%s\n", "", l)
	}
}

func (p printer) say(format string, args ...any) { fmt.Fprintf(p.out, format+"\n", args...) }
