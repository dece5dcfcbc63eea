package jsonnet

import (
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/google/go-jsonnet"
	"github.com/google/go-jsonnet/ast"

	"slipway.dev/slipway/api"
)

// located is a text that begins with its place: `a/b.libsonnet:3:5-7 message` or
// `a/b.libsonnet:(3:5)-(4:1) message`.
var located = regexp.MustCompile(`(?s)^([^\s:]+):\(?(\d+):\d+\)?(?:-\(?[\d:]+\)?)? (.*)$`)

// maxMessage bounds a problem's text, in bytes.
const maxMessage = 2048

// problem places an error at the innermost line that the repository itself wrote; the
// way there from the evaluated file is told beside it.
func problem(file string, err error) api.Problem {
	p := api.Problem{File: file, Message: err.Error()}
	var runtime jsonnet.RuntimeError
	var static interface{ Loc() ast.LocationRange }
	switch {
	case errors.As(err, &runtime):
		p.Message = runtime.Msg
		place(&p, runtime.StackTrace)
	case errors.As(err, &static):
		p.Line = static.Loc().Begin.Line
	}
	if m := located.FindStringSubmatch(p.Message); m != nil && !strings.HasPrefix(m[1], "<") {
		p.File, p.Message = m[1], m[3]
		p.Line, _ = strconv.Atoi(m[2])
	}
	if p.File != file {
		p.Via = "imported by " + file
	}
	if first, _, crashed := strings.Cut(p.Message, "\n"); crashed && strings.HasPrefix(first, "(CRASH)") {
		p.Message = "the evaluator failed: " + first
	}
	if len(p.Message) > maxMessage {
		p.Message = p.Message[:maxMessage] + " … (cut)"
	}
	return p
}

// place takes the innermost frame in a file of the repository; it is the last of its kind.
func place(p *api.Problem, frames []jsonnet.TraceFrame) {
	for _, f := range slices.Backward(frames) {
		if name := f.Loc.FileName; name != "" && !strings.HasPrefix(name, "<") && f.Loc.Begin.Line > 0 {
			p.File, p.Line = name, f.Loc.Begin.Line
			return
		}
	}
}
