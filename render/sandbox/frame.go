package sandbox

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
)

type frameKind byte

const (
	frameReady   frameKind = 'r'
	frameJob     frameKind = 'j'
	frameAsk     frameKind = '?'
	frameAnswer  frameKind = 'a'
	frameRefusal frameKind = 'n'
	framePart    frameKind = 'p'
	frameDone    frameKind = 'd'
	frameFailed  frameKind = 'f'
	// frameTooLarge stands in for a part that would exceed the output limit.
	frameTooLarge frameKind = 'l'
)

func (k frameKind) String() string { return string(rune(k)) }

type frame struct {
	kind frameKind
	body []byte
}

// headSize is the length of the body, four bytes, and the kind.
const headSize = 5

func writeFrame(w io.Writer, kind frameKind, body []byte, limit int64) error {
	if int64(len(body)) > limit {
		return fmt.Errorf("a frame of %d bytes is larger than the limit of %d", len(body), limit)
	}
	data := make([]byte, headSize, headSize+len(body))
	binary.BigEndian.PutUint32(data, uint32(len(body)))
	data[4] = byte(kind)
	_, err := w.Write(append(data, body...))
	return err
}

func readFrame(r io.Reader, limit int64) (frame, error) {
	var head [headSize]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return frame{}, err
	}
	size := int64(binary.BigEndian.Uint32(head[:]))
	if size > limit {
		return frame{}, fmt.Errorf("a frame of %d bytes is larger than the limit of %d", size, limit)
	}
	if size <= trusted {
		body := make([]byte, size)
		_, err := io.ReadFull(r, body)
		return frame{frameKind(head[4]), body}, err
	}
	// A length alone takes no memory: that comes with what is really sent.
	var body bytes.Buffer
	body.Grow(trusted)
	n, err := io.CopyN(&body, r, size)
	if err == nil && n != size || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return frame{frameKind(head[4]), body.Bytes()}, err
}

// trusted is up to which length a frame's memory is taken before its bytes are there.
const trusted = 64 << 10
