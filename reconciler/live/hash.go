package live

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"sync"
)

// Hash identifies the content of an object.
type Hash [sha256.Size]byte

// The kinds of value, as they are written into a hash. Every value says what it is and how
// long it is, so that no two contents are written alike.
const (
	isNull byte = iota
	isFalse
	isTrue
	isString
	isInt
	isFloat
	isList
	isMap
	isOther
)

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 4096); return &b }}

// HashOf hashes an object as it is decoded from JSON, leaving out its status: that is not
// applied. The order of a map's keys does not matter.
func HashOf(object map[string]any) Hash {
	b := buffers.Get().(*[]byte)
	*b = appendMap((*b)[:0], object, "status")
	h := Hash(sha256.Sum256(*b))
	buffers.Put(b)
	return h
}

func appendMap(b []byte, m map[string]any, without string) []byte {
	var few [16]string
	keys := few[:0]
	for k := range m {
		if without == "" || k != without {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	b = appendLength(append(b, isMap), len(keys))
	for _, k := range keys {
		b = appendText(b, k)
		b = appendValue(b, m[k])
	}
	return b
}

func appendValue(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, isNull)
	case bool:
		if v {
			return append(b, isTrue)
		}
		return append(b, isFalse)
	case string:
		return appendText(append(b, isString), v)
	case int64:
		return binary.LittleEndian.AppendUint64(append(b, isInt), uint64(v))
	case float64:
		return binary.LittleEndian.AppendUint64(append(b, isFloat), math.Float64bits(v))
	case []any:
		b = appendLength(append(b, isList), len(v))
		for _, one := range v {
			b = appendValue(b, one)
		}
		return b
	case map[string]any:
		return appendMap(b, v, "")
	}
	return appendText(append(b, isOther), fmt.Sprintf("%T %#v", v, v))
}

func appendText(b []byte, s string) []byte { return append(appendLength(b, len(s)), s...) }

func appendLength(b []byte, n int) []byte { return binary.AppendUvarint(b, uint64(n)) }
