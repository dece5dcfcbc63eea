package read

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// grid writes rows in columns, as they come. Columns only ever get wider, so that rows
// of a watch stay in line with those above.
type grid struct {
	out    io.Writer
	color  bool
	indent string
	widths []int
}

const gap = 3

func newGrid(cmd *cobra.Command) *grid {
	return &grid{out: cmd.OutOrStdout(), color: colored(cmd.OutOrStdout())}
}

// colored says whether to colour what is written to w: on a terminal, unless NO_COLOR
// (https://no-color.org) is set.
func colored(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// rows writes several rows; all of them decide how wide columns are.
func (g *grid) rows(rows ...[]string) error {
	for _, row := range rows {
		for i, cell := range row {
			if i == len(g.widths) {
				g.widths = append(g.widths, 0)
			}
			g.widths[i] = max(g.widths[i], utf8.RuneCountInString(visible(cell)))
		}
	}
	for _, row := range rows {
		var b strings.Builder
		b.WriteString(g.indent)
		for i, cell := range row {
			cell = visible(cell)
			pad := g.widths[i] - utf8.RuneCountInString(cell) + gap
			b.WriteString(g.paint(cell))
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", pad))
			}
		}
		if _, err := fmt.Fprintln(g.out, strings.TrimRight(b.String(), " ")); err != nil {
			return err
		}
	}
	return nil
}

// visible writes control characters as escapes: what is shown was written by others, and
// must not drive the terminal.
func visible(s string) string {
	if !strings.ContainsFunc(s, unprintable) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if unprintable(r) {
			fmt.Fprintf(&b, "\\x%02x", r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

func unprintable(r rune) bool {
	return unicode.IsControl(r) || r == utf8.RuneError || unicode.Is(unicode.Bidi_Control, r)
}

var good = map[string]bool{"Running": true, "Complete": true, "Completed": true, "Ready": true, "True": true, "Applied": true, "Active": true, "Bound": true}

// paint colours a cell that is a status: green is well, red is not, yellow is on the way.
func (g *grid) paint(cell string) string {
	if !g.color {
		return cell
	}
	word, _, _ := strings.Cut(cell, " ")
	code := ""
	switch {
	case good[word]:
		code = "32"
	case word == "False", word == "NotReady", word == "Warning", strings.HasSuffix(word, "Failed"), strings.HasSuffix(word, "Error"), strings.HasSuffix(word, "BackOff"):
		code = "31"
	case word == "Pending", word == "New", word == "Terminating", word == "Unknown", word == "ContainerCreating", strings.HasPrefix(word, "Init:"):
		code = "33"
	default:
		return cell
	}
	return "\x1b[" + code + "m" + cell + "\x1b[0m"
}
