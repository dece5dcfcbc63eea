// Package execution is what the command line, servers and nodes say to each other while a
// command runs in a container: a request of HTTP that is upgraded to a connection of frames.
package execution

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"sync"
)

// Protocol is what the connection is upgraded to.
const Protocol = "slipway-exec"

// kind is what a frame holds.
type kind byte

const (
	stdin  kind = iota // to the command; an empty one: there is no more
	stdout             // of the command
	stderr
	resize // of its terminal, to it: an api.TerminalSize as JSON
	end    // of the command: an outcome as JSON; the last frame
)

// outcome is how a command ended, or why it did not run.
type outcome struct {
	Code  int    `json:"code"`
	Error string `json:"error,omitempty"`
}

// maxFrame bounds a frame's content, in bytes.
const maxFrame = 64 << 10

// frames writes frames. They may be written by several at once.
type frames struct {
	mu sync.Mutex // held while a frame is written
	w  io.Writer
}

func (f *frames) write(k kind, content []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	b := binary.BigEndian.AppendUint32([]byte{byte(k)}, uint32(len(content)))
	_, err := f.w.Write(append(b, content...))
	return err
}

func (f *frames) object(k kind, o any) error {
	b, err := json.Marshal(o)
	if err != nil {
		return err
	}
	return f.write(k, b)
}

// stream writes what it is given as frames of a kind.
type stream struct {
	*frames
	kind kind
}

func (s stream) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		part := p[:min(len(p), maxFrame)]
		if err := s.write(s.kind, part); err != nil {
			return n, err
		}
		n, p = n+len(part), p[len(part):]
	}
	return n, nil
}

// read reads a frame.
func read(r io.Reader) (kind, []byte, error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n > maxFrame {
		return 0, nil, fmt.Errorf("a frame of %d bytes: want at most %d", n, maxFrame)
	}
	content := make([]byte, n)
	_, err := io.ReadFull(r, content)
	return kind(head[0]), content, err
}
