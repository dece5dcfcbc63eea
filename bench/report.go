package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Unit of a figure.
type Unit string

const (
	inSeconds Unit = "s"
	inBytes   Unit = "B"
)

// Figure is a measured quantity; zero: not measured.
type Figure struct {
	Value float64 `json:"value"`
	Unit  Unit    `json:"unit"`
}

func (f Figure) String() string {
	switch {
	case f.Value == 0:
		return "–"
	case f.Unit == inBytes && f.Value >= 10<<20:
		return fmt.Sprintf("%.0f MB", f.Value/(1<<20))
	case f.Unit == inBytes:
		return fmt.Sprintf("%.1f KB", f.Value/(1<<10))
	case f.Value < 0.0001:
		return fmt.Sprintf("%.1f µs", f.Value*1e6)
	case f.Value < 0.1:
		return fmt.Sprintf("%.2f ms", f.Value*1e3)
	case f.Value < 1:
		return fmt.Sprintf("%.0f ms", f.Value*1e3)
	default:
		return fmt.Sprintf("%.2f s", f.Value)
	}
}

func secs(v float64) Figure { return Figure{v, inSeconds} }
func size(v float64) Figure { return Figure{v, inBytes} }

// Line is a row of the table.
type Line struct {
	What     string `json:"what"`
	Ours     Figure `json:"ours"`
	PeerName string `json:"peerName,omitempty"`
	Peer     Figure `json:"peer"`
	// Stated says that the peer's figure was not taken in this run.
	Stated bool `json:"stated,omitempty"`
	// AtMost is the target for ours; zero: none.
	AtMost Figure `json:"atMost"`
	// Times is the target for the ratio of the peer's figure to ours; zero: none.
	Times float64 `json:"times,omitempty"`
	// Same says what was compared before anything was measured.
	Same string `json:"same"`
	Note string `json:"note,omitempty"`
}

// ratio is how many times the peer's figure is of ours; zero: unknown.
func (l Line) ratio() float64 {
	if l.Ours.Value == 0 {
		return 0
	}
	return l.Peer.Value / l.Ours.Value
}

func (l Line) target() string {
	var parts []string
	if l.AtMost.Value > 0 {
		parts = append(parts, "≤ "+strings.Replace(l.AtMost.String(), ".00", "", 1))
	}
	if l.Times > 0 {
		parts = append(parts, fmt.Sprintf("≥ %g ×", math.Round(l.Times*100)/100))
	}
	return strings.Join(parts, ", ")
}

// verdict is met, missed, or nothing where there is no target. Every part counts.
func (l Line) verdict() string {
	if l.Ours.Value == 0 {
		return "not measured"
	}
	if l.AtMost.Value == 0 && l.Times == 0 {
		return ""
	}
	if l.AtMost.Value > 0 && l.Ours.Value > l.AtMost.Value {
		return "missed"
	}
	if l.Times > 0 && l.Peer.Value == 0 {
		return "no peer"
	}
	if l.Times > 0 && l.ratio() < l.Times {
		return "missed"
	}
	return "met"
}

// Report is the table and what it was taken on.
type Report struct {
	// Date of the begin, and the end, in UTC.
	Date    string            `json:"date"`
	Until   string            `json:"until"`
	Machine map[string]string `json:"machine"`
	Runs    int               `json:"runs"`
	Short   bool              `json:"short"`
	Lines   []Line            `json:"lines"`
	// Parts is how many runs were joined; zero: this is one.
	Parts int `json:"parts,omitempty"`
	// Load is the load average before and after.
	Load []string `json:"load"`
	// Versions of what was measured.
	Versions []string `json:"versions"`
	// Failed are the scenarios that came to no figure, and why.
	Failed []string `json:"failed,omitempty"`
}

func newReport(runs int, short bool) *Report {
	r := &Report{Date: now(), Runs: runs, Short: short, Machine: map[string]string{}}
	r.Machine["processors"] = fmt.Sprint(runtime.NumCPU(), " × ", cpuModel())
	r.Machine["go"] = runtime.Version()
	var u syscall.Utsname
	if syscall.Uname(&u) == nil {
		r.Machine["kernel"] = text(u.Sysname[:]) + " " + text(u.Release[:])
	}
	r.Load = append(r.Load, load())
	return r
}

func (r *Report) finish() {
	r.Load, r.Until, r.Versions = append(r.Load, load()), now(), versions()
}

func now() string { return time.Now().UTC().Format("2006-01-02 15:04") }

// Err is every scenario that failed.
func (r *Report) Err() error {
	if len(r.Failed) == 0 {
		return nil
	}
	return errors.New(strings.Join(r.Failed, "\n"))
}

// JSON writes the figures.
func (r *Report) JSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// Print writes the page.
func (r *Report) Print(to io.Writer) error {
	w := bufio.NewWriter(to)
	fmt.Fprint(w, preface)
	fmt.Fprintf(w, "Taken from %s to %s UTC on %s, %s, %s; medians of up to %d runs. Load averages (1, 5, 15 min), from before to after: %s.\n",
		r.Date, cmp.Or(r.Until, "later"), r.Machine["processors"], r.Machine["kernel"], r.Machine["go"], r.Runs, strings.Join(r.Load, "; "))
	if busy(r.Load, runtime.NumCPU()) {
		fmt.Fprint(w, "\n**Other work ran on the machine at the same time**, more than it has processors for: times of both sides are longer than on an idle one, and single ratios may be off.\n")
	}
	if r.Parts > 1 {
		fmt.Fprint(w, "\nJoined of several runs, between which Slipway itself may have changed; a line's two sides are always of one run.\n")
	}
	if r.Short {
		fmt.Fprint(w, "\n**A short run: the sizes are small, the figures mean little.**\n")
	}
	fmt.Fprint(w, "\n| what | ours | peer | | ratio | target | |\n|---|---:|---|---:|---:|---|---|\n")
	for i, l := range r.Lines {
		ratio := "–"
		if v := l.ratio(); v > 0 {
			ratio = fmt.Sprintf("%.*f ×", digits(v), v)
		}
		peer := l.Peer.String()
		if l.Stated {
			peer += " (stated)"
		}
		fmt.Fprintf(w, "| %s [%d](#%d) | %s | %s | %s | %s | %s | %s |\n",
			l.What, i+1, i+1, l.Ours, cmp.Or(l.PeerName, "–"), peer, ratio, cmp.Or(l.target(), "–"), l.verdict())
	}
	fmt.Fprint(w, "\n## What was compared, line by line\n\n")
	for i, l := range r.Lines {
		fmt.Fprintf(w, "%d. <a id=\"%d\"></a>%s: same result: %s.", i+1, i+1, l.What, l.Same)
		if l.Note != "" {
			fmt.Fprintf(w, " %s", l.Note)
		}
		fmt.Fprintln(w)
	}
	for _, why := range r.Failed {
		fmt.Fprintf(w, "\n**Not measured:** %s\n", why)
	}
	fmt.Fprint(w, "\n## Versions\n\n")
	for _, v := range r.Versions {
		fmt.Fprintf(w, "- %s\n", v)
	}
	return w.Flush()
}

func digits(v float64) int {
	if v < 10 {
		return 1
	}
	return 0
}

const preface = `# Benchmarks

Written by ` + "`make bench`" + `: Slipway and what others use for the same work, in the same run on the same
machine, after a check that both come to the same result. ` + "`make bench-short`" + ` runs a small version
of everything; ` + "`go run . -only 'render|diff'`" + ` in bench/ runs some. How: [bench](../bench).

`

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	v := slices.Sorted(slices.Values(values))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

func percentile(values []float64, p float64) float64 {
	if len(values) == 0 {
		return 0
	}
	v := slices.Sorted(slices.Values(values))
	return v[min(len(v)-1, int(math.Ceil(p*float64(len(v))))-1)]
}

func cpuModel() string {
	raw, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	for line := range strings.Lines(string(raw)) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "model name" {
			return strings.TrimSpace(v)
		}
	}
	return runtime.GOARCH
}

func load() string {
	raw, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(raw))[:3], " ")
}

// busy says that before or after a run there was more work than processors.
func busy(loads []string, processors int) bool {
	return slices.ContainsFunc(loads, func(l string) bool {
		var one float64
		_, err := fmt.Sscan(l, &one)
		return err == nil && one > float64(2*processors)
	})
}

func text(c []int8) string {
	var b strings.Builder
	for _, x := range c {
		if x == 0 {
			break
		}
		b.WriteByte(byte(x))
	}
	return b.String()
}

// versions are the modules whose speed matters here.
func versions() []string {
	wanted := []string{"go-jsonnet", "go-git/v5", "etcd/server/v3", "fluxcd/pkg/ssa", "structured-merge-diff/v6"}
	var out []string
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if slices.ContainsFunc(wanted, func(w string) bool { return strings.HasSuffix(m.Path, w) }) {
				out = append(out, m.Path+" "+m.Version)
			}
		}
	}
	return append(out, peerVersions()...)
}
