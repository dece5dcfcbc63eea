package render

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// Files come in their order, each as if it had been parsed alone, whoever parsed it; a large
// one never before its turn.
func TestAheadIsInOrder(t *testing.T) {
	t.Parallel()
	var j job
	for i := range 300 {
		f := content{name: fmt.Sprintf("f%d.yaml", i), data: fmt.Appendf(nil, "kind: ConfigMap\nnumber: %d\n", i)}
		switch i % 50 {
		case 7:
			f.data = append(f.data, "  broken: [\n"...)
		case 11:
			f.data = fmt.Appendf(f.data, "text: %s\n", strings.Repeat("x", maxAheadBytes))
		}
		j.files = append(j.files, f)
	}
	a := j.ahead()
	defer a.stop()
	for i, f := range j.files {
		part, err, before := a.take(i)
		if before && len(f.data) > maxAheadBytes {
			t.Errorf("%s of %d bytes was parsed ahead", f.name, len(f.data))
		}
		if !before {
			part, err = f.parse()
		}
		if err != nil {
			t.Fatal(err)
		}
		alone, err := f.parse()
		if err != nil {
			t.Fatal(err)
		}
		got, gotErr := decodeEvaluated(part)
		want, wantErr := decodeEvaluated(alone)
		if gotErr != nil || wantErr != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%s: got %v, %v, want %v, %v", f.name, got, gotErr, want, wantErr)
		}
	}
	if j.files = append(j.files, content{name: "x.jsonnet"}); j.ahead() != nil {
		t.Error("files are parsed beside Jsonnet")
	}
	// Whoever stops early leaves nothing behind.
	j.files = j.files[:300]
	j.ahead().stop()
}
