package render

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/render/document"
)

// What parent and child tell each other is written in a form of its own, because both
// would otherwise spend more time on JSON than on evaluating: values with a byte in front
// that says what they are, numbers as varints, and short texts once, later by their number.

const (
	tagNull byte = iota
	tagFalse
	tagTrue
	tagInteger
	tagFloat
	tagText
	tagList
	tagObject
)

// maxShared is the length up to which a text that comes again is written as a number.
const maxShared = 64

// encoder appends to data.
type encoder struct {
	data  []byte
	known map[string]uint64
}

func (e *encoder) number(n uint64) { e.data = binary.AppendUvarint(e.data, n) }

// text writes the length plus one and the bytes; or 0 and the number of a short text that
// was written before.
func (e *encoder) text(s string) {
	if len(s) <= maxShared {
		if n, ok := e.known[s]; ok {
			e.number(0)
			e.number(n)
			return
		}
		if e.known == nil {
			e.known = map[string]uint64{}
		}
		e.known[s] = uint64(len(e.known))
	}
	e.number(uint64(len(s)) + 1)
	e.data = append(e.data, s...)
}

func (e *encoder) value(v any) error {
	switch v := v.(type) {
	case nil:
		e.data = append(e.data, tagNull)
	case bool:
		tag := tagFalse
		if v {
			tag = tagTrue
		}
		e.data = append(e.data, tag)
	case int64:
		e.data = binary.AppendVarint(append(e.data, tagInteger), v)
	case float64:
		e.data = binary.BigEndian.AppendUint64(append(e.data, tagFloat), math.Float64bits(v))
	case string:
		e.data = append(e.data, tagText)
		e.text(v)
	case []any:
		e.data = append(e.data, tagList)
		e.number(uint64(len(v)))
		for _, one := range v {
			if err := e.value(one); err != nil {
				return err
			}
		}
	case map[string]any:
		return e.object(v)
	case document.Object:
		return e.object(v)
	default:
		return fmt.Errorf("a %T is no value", v)
	}
	return nil
}

func (e *encoder) object(m map[string]any) error {
	e.data = append(e.data, tagObject)
	e.number(uint64(len(m)))
	for k, one := range m {
		e.text(k)
		if err := e.value(one); err != nil {
			return err
		}
	}
	return nil
}

func (e *encoder) documents(docs []document.Document) error {
	e.number(uint64(len(docs)))
	for _, d := range docs {
		if err := e.object(d.Object); err != nil {
			return err
		}
		e.number(uint64(d.Line))
		e.number(uint64(len(d.Lines)))
		for at, line := range d.Lines {
			e.text(at)
			e.number(uint64(line))
		}
		e.text(d.Via)
		var sealed []byte
		if d.Sealed != nil {
			var err error
			if sealed, err = json.Marshal(d.Sealed); err != nil {
				return err
			}
		}
		e.text(string(sealed))
	}
	return nil
}

func (e *encoder) problems(problems api.Problems) {
	e.number(uint64(len(problems)))
	for _, p := range problems {
		for _, s := range []string{p.File, p.Object, p.Field, p.Message, p.Via} {
			e.text(s)
		}
		e.number(uint64(p.Line))
	}
}

func (e *encoder) texts(list []string) {
	e.number(uint64(len(list)))
	for _, s := range list {
		e.text(s)
	}
}

func (e *encoder) parameters(m map[string]string) {
	e.number(uint64(len(m)))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		e.text(k)
		e.text(m[k])
	}
}

// decoder reads what an encoder wrote. After the first mistake it returns nothing more.
type decoder struct {
	data  []byte
	known []string
	err   error
}

var errCut = errors.New("a message of the render child ends too early, or makes no sense")

func (d *decoder) fail() {
	if d.err == nil {
		d.err = errCut
	}
	d.data = nil
}

func (d *decoder) number() uint64 {
	n, size := binary.Uvarint(d.data)
	if size <= 0 {
		d.fail()
		return 0
	}
	d.data = d.data[size:]
	return n
}

// count is a number of things that each take a byte at least.
func (d *decoder) count() int {
	n := d.number()
	if n > uint64(len(d.data)) {
		d.fail()
		return 0
	}
	return int(n)
}

func (d *decoder) line() int {
	n := d.number()
	if n > math.MaxInt32 {
		d.fail()
		return 0
	}
	return int(n)
}

func (d *decoder) take(n uint64) []byte {
	if n > uint64(len(d.data)) {
		d.fail()
		return nil
	}
	b := d.data[:n]
	d.data = d.data[n:]
	return b
}

func (d *decoder) text() string {
	n := d.number()
	if n > 0 {
		s := string(d.take(n - 1))
		if d.err == nil && len(s) <= maxShared {
			d.known = append(d.known, s)
		}
		return s
	}
	if n = d.number(); n >= uint64(len(d.known)) {
		d.fail()
		return ""
	}
	return d.known[n]
}

// maxNesting bounds how deep a message may nest.
const maxNesting = 10_000

func (d *decoder) value(depth int) any {
	tag := d.take(1)
	if len(tag) == 0 || depth > maxNesting {
		d.fail()
		return nil
	}
	switch tag[0] {
	case tagNull:
		return nil
	case tagFalse, tagTrue:
		return tag[0] == tagTrue
	case tagInteger:
		n, size := binary.Varint(d.data)
		if size <= 0 {
			d.fail()
			return nil
		}
		d.data = d.data[size:]
		return n
	case tagFloat:
		raw := d.take(8)
		if len(raw) < 8 {
			return nil
		}
		return math.Float64frombits(binary.BigEndian.Uint64(raw))
	case tagText:
		return d.text()
	case tagList:
		list := make([]any, d.count())
		for i := range list {
			list[i] = d.value(depth + 1)
		}
		return list
	case tagObject:
		n := d.count()
		m := make(map[string]any, n)
		for range n {
			k := d.text()
			m[k] = d.value(depth + 1)
		}
		return m
	}
	d.fail()
	return nil
}

func (d *decoder) documents() []document.Document {
	var docs []document.Document
	for range d.count() {
		var one document.Document
		one.Object, _ = d.value(0).(map[string]any)
		one.Line = d.line()
		if n := d.count(); n > 0 {
			one.Lines = make(map[string]int, n)
			for range n {
				at := d.text()
				one.Lines[at] = d.line()
			}
		}
		one.Via = d.text()
		if sealed := d.text(); sealed != "" && d.err == nil {
			d.err = json.Unmarshal([]byte(sealed), &one.Sealed)
		}
		if d.err != nil || one.Object == nil {
			d.fail()
			return nil
		}
		docs = append(docs, one)
	}
	return docs
}

func (d *decoder) problems() (problems api.Problems) {
	for range d.count() {
		var p api.Problem
		for _, s := range []*string{&p.File, &p.Object, &p.Field, &p.Message, &p.Via} {
			*s = d.text()
		}
		p.Line = d.line()
		problems = append(problems, p)
	}
	return problems
}

func (d *decoder) texts() (list []string) {
	for range d.count() {
		list = append(list, d.text())
	}
	return list
}

func (d *decoder) parameters() map[string]string {
	m := map[string]string{}
	for range d.count() {
		k := d.text()
		m[k] = d.text()
	}
	return m
}
