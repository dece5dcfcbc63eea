package read

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"slipway.dev/slipway/api"
)

func describeCommand() *cobra.Command {
	s := &scope{}
	cmd := &cobra.Command{
		Use:               "describe KIND NAME",
		Short:             "Show all about an object, and what happened to it",
		Example:           "  slipway describe pod frontend-7-4kx2p -n shop-dev\n  slipway describe dc/frontend -n shop-dev",
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: s.complete,
		RunE: func(cmd *cobra.Command, args []string) error {
			k, name, err := one(args, "")
			if err != nil {
				return err
			}
			o, err := s.find(cmd.Context(), k, name)
			if err != nil {
				return err
			}
			if err := describe(cmd.OutOrStdout(), k, o); err != nil {
				return err
			}
			return s.describeEvents(cmd, o)
		},
	}
	s.flags(cmd)
	return cmd
}

// describe writes an object as an indented outline.
func describe(w io.Writer, k api.Kind, o *unstructured.Unstructured) error {
	head := []pair{{"Name", o.GetName()}}
	if o.GetNamespace() != "" {
		head = append(head, pair{"Namespace", o.GetNamespace()})
	}
	head = append(head,
		pair{"Kind", k.Kind + " (" + k.GroupVersion().String() + ")"},
		pair{"Labels", strings.ReplaceAll(labels(o.GetLabels()), ",", "\n")},
		pair{"Annotations", strings.ReplaceAll(labels(o.GetAnnotations()), "\n", " ")},
		pair{"Created", o.GetCreationTimestamp().UTC().Format("2006-01-02 15:04:05 MST")},
	)
	if t := o.GetDeletionTimestamp(); t != nil {
		head = append(head, pair{"Deleted", t.UTC().Format("2006-01-02 15:04:05 MST")})
	}
	for _, owner := range o.GetOwnerReferences() {
		head = append(head, pair{"Owned By", owner.Kind + "/" + owner.Name})
	}
	tree := outline{w: w}
	tree.pairs(0, head)
	body := maps.Clone(o.Object)
	for _, shown := range []string{"apiVersion", "kind", "metadata"} {
		delete(body, shown)
	}
	if k.Sealed {
		data, _ := body["data"].(map[string]any)
		for key := range data {
			data[key] = "masked"
		}
	}
	tree.object(0, body)
	return tree.err
}

type pair struct {
	name  string
	value any
}

// outline writes nested values, names aligned within each level.
type outline struct {
	w   io.Writer
	err error
}

func (t *outline) line(depth int, text string) {
	if t.err == nil {
		_, t.err = fmt.Fprintf(t.w, "%s%s\n", strings.Repeat("  ", depth), strings.TrimRight(text, " "))
	}
}

func (t *outline) object(depth int, m map[string]any) {
	var all []pair
	for _, k := range slices.Sorted(maps.Keys(m)) {
		all = append(all, pair{k, m[k]})
	}
	// What is short comes first, so that it is not lost behind what is long.
	slices.SortStableFunc(all, func(a, b pair) int { return cmp.Compare(depthOf(a.value), depthOf(b.value)) })
	for i := range all {
		all[i].name = title(all[i].name)
	}
	t.pairs(depth, all)
}

func depthOf(v any) int {
	switch v.(type) {
	case map[string]any, []any:
		return 1
	}
	return 0
}

func (t *outline) pairs(depth int, all []pair) {
	width := 0
	for _, p := range all {
		if depthOf(p.value) == 0 {
			width = max(width, len(p.name))
		}
	}
	for _, p := range all {
		name := visible(p.name) + ":"
		switch v := p.value.(type) {
		case map[string]any:
			if len(v) > 0 {
				t.line(depth, name)
				t.object(depth+1, v)
			}
		case []any:
			t.line(depth, name)
			t.list(depth+1, v)
		default:
			for i, text := range strings.Split(strings.TrimRight(fmt.Sprint(v), "\n"), "\n") {
				if i > 0 {
					name = ""
				}
				t.line(depth, fmt.Sprintf("%-*s %s", width+2, name, visible(text)))
			}
		}
	}
}

func (t *outline) list(depth int, all []any) {
	for i, item := range all {
		switch v := item.(type) {
		case map[string]any:
			if i > 0 {
				t.line(depth, "-")
			}
			t.object(depth, v)
		case []any:
			t.list(depth+1, v)
		default:
			t.line(depth, "- "+visible(fmt.Sprint(v)))
		}
	}
}

// title makes `podIP` read `Pod IP`, and leaves what is no field's name as it is.
func title(field string) string {
	if strings.ContainsFunc(field, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		return field
	}
	var b strings.Builder
	runes := []rune(field)
	for i, r := range runes {
		switch {
		case i == 0:
			r = unicode.ToUpper(r)
		case unicode.IsUpper(r) && (unicode.IsLower(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1]) && !plural(runes[i+1:])):
			b.WriteByte(' ')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// plural says that a word ends here with an s, as in hostIPs.
func plural(rest []rune) bool {
	return rest[0] == 's' && (len(rest) == 1 || unicode.IsUpper(rest[1]))
}
