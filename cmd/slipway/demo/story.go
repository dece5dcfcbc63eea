package demo

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"slipway.dev/slipway/runtime/engine"
)

// Options of the demo.
type Options struct {
	// Once plays everything without waiting for the user, and cleans up.
	Once bool
	// Keep leaves the data in place at the end; what runs is taken away all the same.
	Keep bool
	// ReportFile gets the report as JSON; empty: none.
	ReportFile string
	// Dir holds everything the demo makes, and is removed at the end. It must be empty or
	// new; default: a new one.
	Dir string
	// FirstPort: ports are tried from here upwards until a free range is found; default 7080.
	FirstPort int
	// Examples are the example repositories and base images.
	Examples fs.FS
	// Executable is the slipway binary; default: this one.
	Executable string
	Out        io.Writer
	In         io.Reader
	Log        *slog.Logger
}

// steps is how many steps the story has.
const steps = 12

// step is one step of the story. Its detail is what the user is told.
type step struct {
	name string
	play func(ctx context.Context) (detail string, err error)
}

// story is a run of the demo.
type story struct {
	Options
	print  printer
	report Report

	engine *engine.Engine
	place  place
	server *server
	config *clone
	app    *clone

	// first and second are the commits of the shop that the story builds.
	first, second string
	// hosts of the two frontends.
	devHost, prodHost string

	lines *bufio.Reader
}

func newStory(o Options) *story {
	s := &story{Options: o, print: printer{o.Out}, devHost: "shop-dev.localhost", prodHost: "shop.localhost"}
	if o.In != nil {
		s.lines = bufio.NewReader(o.In)
	}
	return s
}

// Run plays the story. The report is written, and everything the demo made is taken
// away, whatever happens.
func Run(ctx context.Context, o Options) (err error) {
	if o.Executable == "" {
		if o.Executable, err = os.Executable(); err != nil {
			return err
		}
	}
	s := newStory(o)
	if s.Dir, err = makeDir(o.Dir); err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, s.cleanUp(!s.Keep))
		if s.Keep {
			s.print.say("The data is kept in %s.", s.Dir)
		}
	}()
	err = s.play(ctx)
	if errors.Is(err, errUserEnds) {
		s.print.say("\nThat was all; what the demo made is taken away.")
		err = nil
	}
	s.report.OK = err == nil && len(s.report.Steps) == steps
	if o.ReportFile != "" {
		err = errors.Join(err, s.report.write(o.ReportFile))
	}
	return err
}

// makeDir makes the folder of everything, which must not hold anything yet: it is
// removed at the end.
func makeDir(dir string) (string, error) {
	if dir == "" {
		// Short, because sockets live below it and a socket's path is at most 108 bytes.
		return os.MkdirTemp("", "slipway-")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	entries, err := os.ReadDir(dir)
	if err == nil && len(entries) > 0 {
		err = fmt.Errorf("--dir %s is not empty: name a new folder", dir)
	}
	return dir, err
}

func (s *story) dataDir() string { return filepath.Join(s.Dir, "data") }

func (s *story) play(ctx context.Context) error {
	if err := s.prepare(ctx); err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	story := []step{
		{"create", s.create}, {"converge", s.converge}, {"build", s.build}, {"roll out", s.rollOut},
		{"change", s.change}, {"review", s.review}, {"merge", s.merge}, {"promote", s.promote},
		{"drift", s.drift}, {"roll back", s.rollBack}, {"bad", s.bad}, {"restart", s.restart},
	}
	for i, st := range story {
		if i == 4 && !s.Once {
			s.invite()
		}
		if i >= 4 && !s.Once {
			if err := s.enter(ctx, st.name); err != nil {
				return err
			}
		}
		if err := s.playStep(ctx, i+1, st); err != nil {
			return fmt.Errorf("step %d, %s: %w", i+1, st.name, err)
		}
	}
	if err := s.measure(ctx); err != nil {
		return err
	}
	s.print.say("\n%s; %d of %d requests failed during the rollout", s.report.Figures, s.report.FailedRequests, s.report.Requests)
	if !s.Once {
		return s.enter(ctx, "end")
	}
	return nil
}

// stepTimeout bounds a step: on a slow machine a build and a rollout take their time,
// but nothing here takes minutes.
const stepTimeout = 4 * time.Minute

func (s *story) playStep(ctx context.Context, n int, st step) error {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	started := time.Now()
	detail, err := st.play(ctx)
	took := time.Since(started)
	r := StepReport{Name: st.name, OK: err == nil, Seconds: took.Seconds(), Detail: detail}
	if err != nil {
		r.Detail = err.Error()
	}
	s.report.Steps = append(s.report.Steps, r)
	s.print.step(n, st.name, took, err, detail)
	return err
}

func (s *story) invite() {
	s.print.say("\nIt is up. Look around:")
	s.print.say("  the shop        http://%s:%d/", s.devHost, s.server.ports.router)
	s.print.say("  the dashboard   %s/", s.server.url())
	s.print.say("  the state       %s get pods -A --server %s", s.Executable, s.server.url())
	s.print.say("  the repository  git clone %s\n", s.config.url)
}

// errUserEnds is Ctrl-C while the story waits for the user: a good end, too.
var errUserEnds = errors.New("the user ended the story")

// enter waits for the user; Ctrl-C or the end of input ends the story.
func (s *story) enter(ctx context.Context, next string) error {
	s.print.say("press Enter for: %s (Ctrl-C ends)", next)
	line := make(chan error, 1)
	go func() {
		_, err := s.lines.ReadString('\n')
		line <- err
	}()
	select {
	case <-ctx.Done():
		return errUserEnds
	case err := <-line:
		if err != nil {
			return fmt.Errorf("no more input: %w", err)
		}
		return nil
	}
}
