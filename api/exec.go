package api

import (
	"io"

	"k8s.io/apimachinery/pkg/types"
)

// Exec is a command to run in a container of a pod that runs.
type Exec struct {
	Pod       types.NamespacedName
	Container string
	Command   []string
	// TTY gives it a terminal: all that it writes comes by Stdout.
	TTY bool
	// Stdin nil: there is nothing to read.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Sizes are those that the terminal gets; nil: it keeps its own.
	Sizes <-chan TerminalSize
}

// TerminalSize is in characters.
type TerminalSize struct{ Width, Height uint16 }
