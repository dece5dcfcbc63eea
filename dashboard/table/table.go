package table

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/duration"
)

// column is a heading; wide ones show with `-o wide` only.
type column struct {
	name string
	wide bool
}

// format is how the objects of a kind become cells, one for each column.
type format struct {
	columns []column
	cells   func(content map[string]any, now time.Time) ([]any, error)
}

// columns reads headings; those after an empty one are wide.
func columns(names ...string) []column {
	var out []column
	wide := false
	for _, n := range names {
		if n == "" {
			wide = true
			continue
		}
		out = append(out, column{n, wide})
	}
	return out
}

func formatOf[T any](cols []column, cells func(o *T, now time.Time) []any) format {
	return format{cols, func(content map[string]any, now time.Time) ([]any, error) {
		var o T
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(content, &o); err != nil {
			return nil, err
		}
		return cells(&o, now), nil
	}}
}

var plain = formatOf(columns("Name", "Age"), func(o *metav1.PartialObjectMetadata, now time.Time) []any {
	return []any{o.Name, age(o.CreationTimestamp, now)}
})

func formatFor(gk schema.GroupKind) format {
	if f, ok := formats[gk]; ok {
		return f
	}
	return plain
}

// New is an empty table with the columns of a kind.
func New(gk schema.GroupKind) *metav1.Table {
	t := &metav1.Table{TypeMeta: metav1.TypeMeta{APIVersion: "meta.k8s.io/v1", Kind: "Table"}, Rows: []metav1.TableRow{}}
	for _, c := range formatFor(gk).columns {
		d := metav1.TableColumnDefinition{Name: c.name, Type: "string"}
		if c.name == "Name" {
			d.Format = "name"
		}
		if c.wide {
			d.Priority = 1
		}
		t.ColumnDefinitions = append(t.ColumnDefinitions, d)
	}
	return t
}

// Include says what of the object a row carries beside its cells.
type Include = metav1.IncludeObjectPolicy

// Row is the row of an object, with times told as of now. An object that does not fit
// its kind's type is an error that names it.
func Row(gk schema.GroupKind, o *unstructured.Unstructured, include Include, now time.Time) (metav1.TableRow, error) {
	cells, err := formatFor(gk).cells(o.Object, now)
	if err != nil {
		return metav1.TableRow{}, fmt.Errorf("row of %s %s/%s: %w", gk.Kind, o.GetNamespace(), o.GetName(), err)
	}
	row := metav1.TableRow{Cells: cells}
	switch include {
	case metav1.IncludeNone:
	case metav1.IncludeObject:
		row.Object.Object = o
	default:
		row.Object.Object = Metadata(o)
	}
	return row, nil
}

// Metadata is an object's metadata alone, as rows carry it.
func Metadata(o *unstructured.Unstructured) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": o.Object["metadata"],
	}}
}

func age(t metav1.Time, now time.Time) string {
	if t.IsZero() {
		return "<unknown>"
	}
	return duration.HumanDuration(now.Sub(t.Time))
}

// since is how long ago, or nothing if never.
func since(t *metav1.Time, now time.Time) string {
	if t.IsZero() {
		return ""
	}
	return age(*t, now) + " ago"
}
