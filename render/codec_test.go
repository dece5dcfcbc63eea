package render

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/render/document"
)

func TestMessagesComeBackAsTheyWere(t *testing.T) {
	long := strings.Repeat("ä", 100)
	in := evaluated{
		documents: []document.Document{
			{Object: map[string]any{
				"kind": "ConfigMap", "null": nil, "yes": true, "no": false, "long": long, "again": long, "empty": "",
				"numbers": []any{int64(0), int64(-1), int64(math.MaxInt64), int64(math.MinInt64), 0.5, 1e300, -1e-300},
				"nested":  map[string]any{"kind": "ConfigMap", "list": []any{[]any{}, map[string]any{}}},
			}, Line: 7, Lines: map[string]int{"kind": 8, "nested.list[0]": 9}},
			{Object: map[string]any{}, Via: ".a[3]", Sealed: &document.Sealed{Metadata: map[string]any{"mac": "x", "n": int64(5)}, Leaves: []document.Leaf{{At: []string{"a"}, Field: "a"}}}},
		},
		problems: api.Problems{{File: "a.yaml", Line: 3, Object: "configmap/a", Field: "kind", Message: long, Via: "b"}},
		reads:    []string{"lib/a", "a.yaml", "lib/a"},
	}
	raw, err := in.encode()
	if err != nil {
		t.Fatal(err)
	}
	out, err := decodeEvaluated(raw)
	if err != nil || !reflect.DeepEqual(in, out) {
		t.Errorf("got %+v, %v, want %+v", out, err, in)
	}
	for cut := range raw {
		if _, err := decodeEvaluated(raw[:cut]); err == nil {
			t.Errorf("the first %d of %d bytes make sense", cut, len(raw))
		}
	}
	j := job{session: 5, dir: "app", parameters: map[string]string{"a": "b"}, files: []content{{"a.yaml", []byte("x")}, {"b.jsonnet", []byte{}}}}
	if got, err := decodeJob(j.encode()); err != nil || !reflect.DeepEqual(got, j) {
		t.Errorf("got %+v, %v, want %+v", got, err, j)
	}
	q := question{read: "a"}
	if got, err := decodeQuestion(q.encode()); err != nil || got != q {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := (evaluated{documents: []document.Document{{Object: map[string]any{"a": int(1)}}}}).encode(); err == nil {
		t.Error("an int was written")
	}
}

func FuzzMessage(f *testing.F) {
	raw, err := evaluated{documents: []document.Document{{Object: map[string]any{"a": []any{"x", int64(1)}}}}}.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add(job{files: []content{{"a", []byte("b")}}}.encode())
	f.Add([]byte("\x00\x00\xff\xff\xff\xff\x7f"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		_, _ = decodeJob(raw)
		_, _ = decodeQuestion(raw)
		got, err := decodeEvaluated(raw)
		if err != nil {
			return
		}
		again, err := got.encode()
		if err != nil {
			t.Fatal(err)
		}
		back, err := decodeEvaluated(again)
		if err != nil {
			t.Fatal(err)
		}
		// Compared as text, where a number that is none equals itself; JSON has none.
		a, errA := json.Marshal(got.documents)
		b, errB := json.Marshal(back.documents)
		if string(a) != string(b) || (errA == nil) != (errB == nil) {
			t.Fatalf("%s became %s", a, b)
		}
	})
}
