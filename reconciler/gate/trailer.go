package gate

import (
	"strings"

	"slipway.dev/slipway/api"
)

// The trailers that gates look for.
const (
	// ApproveTrailer lets the plan through whose digest begins with its value.
	ApproveTrailer = "Slipway-Approve"
	// RollbackTrailer is on the commits of `slipway rollback`: `bad..good`.
	RollbackTrailer = "Slipway-Rollback"
)

// Trailers reads the trailers of a commit's message as git-interpret-trailers(1) does: the
// last paragraph, which is not the first, if all of its lines are trailers, or if git wrote one
// of them and at least a quarter of them are. Values that go on over several lines are unfolded.
func Trailers(message string) []api.Trailer {
	var out []api.Trailer
	follows := false // whether the line before is of a trailer
	for _, line := range block(strings.Split(message, "\n")) {
		switch i := separator(line); {
		case strings.HasPrefix(line, "#"):
		case follows && isContinuation(line):
			last := &out[len(out)-1]
			last.Value = strings.TrimSpace(last.Value + " " + strings.TrimSpace(line))
		case i > 0 && !isContinuation(line):
			out = append(out, api.Trailer{Key: strings.TrimSpace(line[:i]), Value: strings.TrimSpace(line[i+1:])})
			follows = true
		default:
			follows = false
		}
	}
	return out
}

// written are the beginnings of lines that git itself puts among the trailers.
var written = []string{"Signed-off-by: ", "(cherry picked from commit "}

// block is the trailers' paragraph with what else is in it; git's find_trailer_block_start.
func block(lines []string) []string {
	title := 0
	for title < len(lines) && (strings.HasPrefix(lines[title], "#") || !isBlank(lines[title])) {
		title++
	}
	var trailers, others, continuations int
	recognised, onlySpaces := false, true
	for i := len(lines) - 1; i >= title; i-- {
		line := lines[i]
		switch {
		case strings.HasPrefix(line, "#"):
			others, continuations = others+continuations, 0
			continue
		case isBlank(line):
			if onlySpaces {
				continue
			}
			others += continuations
			if recognised && trailers*3 >= others || trailers > 0 && others == 0 {
				return lines[i+1:]
			}
			return nil
		}
		onlySpaces = false
		switch {
		case isWritten(line):
			trailers, continuations, recognised = trailers+1, 0, true
		case !isContinuation(line) && separator(line) > 0:
			trailers, continuations = trailers+1, 0
		case isContinuation(line):
			continuations++
		default:
			others, continuations = others+1+continuations, 0
		}
	}
	return nil
}

func isWritten(line string) bool {
	for _, w := range written {
		if strings.HasPrefix(line, w) {
			return true
		}
	}
	return false
}

func isBlank(line string) bool { return strings.TrimSpace(line) == "" }

func isContinuation(line string) bool {
	return line != "" && strings.ContainsRune(" \t\v\f\r", rune(line[0]))
}

// separator is the place of the colon behind a key, which is made of letters, digits and
// dashes, perhaps with spaces behind; -1: the line is no trailer.
func separator(line string) int {
	spaces := false
	for i := range len(line) {
		c := line[i]
		switch {
		case c == ':':
			return i
		case !spaces && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-'):
		case i > 0 && (c == ' ' || c == '\t'):
			spaces = true
		default:
			return -1
		}
	}
	return -1
}

// values of the trailers with a key, in whatever case.
func values(message, key string) []string {
	var out []string
	for _, t := range Trailers(message) {
		if strings.EqualFold(t.Key, key) {
			out = append(out, t.Value)
		}
	}
	return out
}

// Approves says whether a commit's message approves the plan with a digest.
func Approves(message, digest string) bool {
	for _, v := range values(message, ApproveTrailer) {
		v = strings.ToLower(v)
		if len(v) >= MinApproval && isHex(v) && strings.HasPrefix(digest, v) {
			return true
		}
	}
	return false
}

// Approval is the newest commit that approves the plan with a digest.
func Approval(commits []api.Commit, digest string) (api.Commit, bool) {
	for _, c := range commits {
		if Approves(c.Message, digest) {
			return c, true
		}
	}
	return api.Commit{}, false
}

// RollsBackTo is the commit that a message says to go back to; empty: it is no rollback.
// What it says is to be checked: anyone can write a trailer.
func RollsBackTo(message string) string {
	for _, v := range values(message, RollbackTrailer) {
		bad, good, ok := strings.Cut(v, "..")
		if ok && isCommit(bad) && isCommit(good) {
			return good
		}
	}
	return ""
}

func isCommit(s string) bool { return (len(s) == 40 || len(s) == 64) && isHex(s) }

func isHex(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return (r < '0' || r > '9') && (r < 'a' || r > 'f') })
}
