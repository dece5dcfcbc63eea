package sandbox

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
)

type frameKind string

const (
	frameReady  frameKind = "ready"
	frameJob    frameKind = "job"
	frameAsk    frameKind = "ask"
	frameAnswer frameKind = "answer"
	frameDone   frameKind = "done"
	// frameTooLarge stands in for a done frame that would exceed the output limit.
	frameTooLarge frameKind = "too-large"
)

type frame struct {
	Kind frameKind       `json:"kind"`
	Body json.RawMessage `json:"body,omitempty"`
}

func writeFrame(w io.Writer, kind frameKind, body any, limit int64) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	data, err := json.Marshal(frame{Kind: kind, Body: raw})
	if err != nil {
		return err
	}
	if int64(len(data)) > limit {
		return fmt.Errorf("a frame of %d bytes is larger than the limit of %d", len(data), limit)
	}
	_, err = w.Write(append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(data)), uint32(len(data))), data...))
	return err
}

func readFrame(r io.Reader, limit int64) (frame, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return frame{}, err
	}
	size := int64(binary.BigEndian.Uint32(head[:]))
	if size > limit {
		return frame{}, fmt.Errorf("a frame of %d bytes is larger than the limit of %d", size, limit)
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(r, data); err != nil {
		return frame{}, err
	}
	var f frame
	return f, json.Unmarshal(data, &f)
}
