// Command bench measures Slipway and, in the same run, what others use for the same work.
// Every line of the table first checks that both come to the same result.
//
//	bench [-short] [-only WORDS] [-runs N] [-out FILE.md] [-json FILE.json]
//	bench -join -out FILE.md PART.json...
//
// Peers that are programs are built on first use into the user's cache folder, from the
// versions pinned below peers/.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime/pprof"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"slipway.dev/slipway/render"
)

func main() {
	// The renderer's child must do nothing before it is confined.
	if len(os.Args) > 1 && os.Args[1] == "render-child" {
		os.Exit(render.ChildMain(os.Stdin, os.Stdout))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if len(os.Args) > 1 && os.Args[1] == "child" {
		err = child(ctx, os.Args[2:], os.Stdout)
	} else {
		err = parent(ctx, os.Args[1:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func parent(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	short := flags.Bool("short", false, "small sizes, and only peers that are built already: checks results, says little about speed")
	only := flags.String("only", "", "run the scenarios whose names match this expression")
	runs := flags.Int("runs", 3, "how often each figure is taken; the median is printed")
	out := flags.String("out", "", "write the table here, too")
	asJSON := flags.String("json", "", "write the figures here")
	alone := flags.Bool("alone", false, "leave out the peers that are programs")
	profile := flags.String("profile", "", "write a processor profile of this process here")
	joining := flags.Bool("join", false, "measure nothing: print the table of what earlier runs wrote with -json")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *joining {
		return join(flags.Args(), *out)
	}
	if *profile != "" {
		f, err := os.Create(filepath.Clean(*profile))
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	wanted, err := regexp.Compile(*only)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "slipway-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	log.SetLogger(logr.Discard())
	if *short {
		patience = time.Minute
	}
	e := &Env{Short: *short, Runs: *runs, Alone: *alone, Dir: dir, Progress: os.Stderr}
	report := e.Run(ctx, wanted)
	if err := report.Print(os.Stdout); err != nil {
		return err
	}
	if *out != "" {
		if err := writeFile(*out, report.Print); err != nil {
			return err
		}
	}
	if *asJSON != "" {
		if err := writeFile(*asJSON, report.JSON); err != nil {
			return err
		}
	}
	return report.Err()
}

// join prints one page of what several runs wrote, in their order.
func join(parts []string, out string) error {
	var all *Report
	for _, name := range parts {
		raw, err := os.ReadFile(filepath.Clean(name))
		if err != nil {
			return err
		}
		var r Report
		if err := json.Unmarshal(raw, &r); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if all == nil {
			all = &Report{Date: r.Date, Machine: r.Machine, Runs: r.Runs, Short: r.Short, Versions: r.Versions, Load: r.Load[:1]}
		}
		all.Lines, all.Failed = append(all.Lines, r.Lines...), append(all.Failed, r.Failed...)
		all.Parts++
		all.Date, all.Until = min(all.Date, r.Date), max(all.Until, r.Until)
		all.Load = append(all.Load, r.Load[len(r.Load)-1])
	}
	if all == nil {
		return errors.New("-join wants the files that -json wrote")
	}
	if out == "" {
		return all.Print(os.Stdout)
	}
	return writeFile(out, all.Print)
}

func writeFile(name string, print func(io.Writer) error) error {
	f, err := os.Create(filepath.Clean(name))
	if err != nil {
		return err
	}
	if err := print(f); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// Env is what a scenario runs in.
type Env struct {
	// Short asks for small sizes.
	Short bool
	// Runs is how often a figure is taken.
	Runs int
	// Alone leaves out the peers that are programs.
	Alone bool
	// Dir is removed at the end.
	Dir string
	// Progress is told what is going on.
	Progress io.Writer

	report *Report
	// tkTook is tk's figure for the largest environment, which other lines compare with.
	tkTook Figure
}

// Scenario is a group of lines that share what they prepare.
type Scenario struct {
	Name string
	Run  func(ctx context.Context, e *Env) error
}

// scenarios in the order of the table.
var scenarios = []Scenario{
	{"render", renderCold},
	{"steady", steady},
	{"apply", applyOne},
	{"apply10000", applyLarge},
	{"diff", diffDrifted},
	{"applications", applicationsReady},
	{"memory", memoryPerObject},
	{"watch", watchFanOut},
	{"schedule", schedulePods},
	{"services", serviceRules},
	{"traffic", traffic},
	{"pods", pods},
	{"git", gitFetchAndTree},
	{"100000", hundredThousand},
}

// Run runs the scenarios whose names are wanted.
func (e *Env) Run(ctx context.Context, wanted *regexp.Regexp) *Report {
	e.report = newReport(e.Runs, e.Short)
	for _, s := range scenarios {
		if !wanted.MatchString(s.Name) || ctx.Err() != nil {
			continue
		}
		began := time.Now()
		fmt.Fprintf(e.Progress, "%s …\n", s.Name)
		if err := s.Run(ctx, e); err != nil {
			e.report.Failed = append(e.report.Failed, fmt.Sprintf("%s: %v", s.Name, err))
			fmt.Fprintf(e.Progress, "%s: %v\n", s.Name, err)
		}
		fmt.Fprintf(e.Progress, "%s took %.1f s\n", s.Name, time.Since(began).Seconds())
	}
	e.report.finish()
	return e.report
}

// add puts a line into the table and tells it at once.
func (e *Env) add(l Line) {
	e.report.Lines = append(e.report.Lines, l)
	fmt.Fprintf(e.Progress, "  %s: ours %s, %s %s, %s\n", l.What, l.Ours, l.PeerName, l.Peer, l.verdict())
}

// size is n, or few in a short run.
func (e *Env) size(n, few int) int {
	if e.Short {
		return few
	}
	return n
}

// runs is Runs, or fewer for what takes long.
func (e *Env) runs(most int) int {
	if e.Short {
		return 1
	}
	return min(e.Runs, most)
}

func (e *Env) folder(name string) (string, error) {
	return os.MkdirTemp(e.Dir, name+"-")
}

// quiet shows errors only: what is measured is not the printing.
func quiet() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
}
