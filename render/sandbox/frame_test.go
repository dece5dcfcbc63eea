package sandbox

import (
	"bytes"
	"testing"
)

func FuzzFrame(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x02pab"), int64(10))
	f.Add([]byte("\xff\xff\xff\xffp"), int64(1<<40))
	f.Add([]byte("\x00\x02\x00\x00d"), int64(1<<20))
	f.Fuzz(func(t *testing.T, data []byte, limit int64) {
		got, err := readFrame(bytes.NewReader(data), limit)
		if err != nil {
			return
		}
		if int64(len(got.body)) > limit || len(got.body)+headSize > len(data) {
			t.Fatalf("%d bytes out of %d, limit %d", len(got.body), len(data), limit)
		}
		var again bytes.Buffer
		if err := writeFrame(&again, got.kind, got.body, limit); err != nil || !bytes.HasPrefix(data, again.Bytes()) {
			t.Fatalf("written again as %q, %v", again.Bytes(), err)
		}
	})
}

func TestFramesOfAnySize(t *testing.T) {
	for _, size := range []int{0, 1, trusted, trusted + 1, 3 << 20} {
		var pipe bytes.Buffer
		body := bytes.Repeat([]byte{'x'}, size)
		if err := writeFrame(&pipe, framePart, body, 4<<20); err != nil {
			t.Fatal(err)
		}
		cut := pipe.Bytes()[:pipe.Len()-min(1, size)]
		if _, err := readFrame(bytes.NewReader(cut), 4<<20); size > 0 && err == nil {
			t.Errorf("%d bytes, the last one missing: no error", size)
		}
		if got, err := readFrame(&pipe, 4<<20); err != nil || got.kind != framePart || !bytes.Equal(got.body, body) {
			t.Errorf("%d bytes: got %d, %v", size, len(got.body), err)
		}
	}
}
