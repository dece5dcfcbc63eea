package read

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"slipway.dev/slipway/api"
)

// tables prints rows, one table a kind.
func (g *getter) tables(ctx context.Context, asks []ask) error {
	var errs []error
	shown, revision := 0, ""
	for _, a := range asks {
		var t metav1.Table
		for _, target := range g.targets(a) {
			var part metav1.Table
			err := g.read(ctx, target.path, target.query, tableType, &part)
			if err == nil && target.search && len(part.Rows) == 0 {
				err = missing(a.kind, target.name)
			}
			if err != nil {
				errs = append(errs, err)
				continue
			}
			t.ColumnDefinitions, revision = part.ColumnDefinitions, part.ResourceVersion
			t.Rows = append(t.Rows, part.Rows...)
		}
		if len(t.Rows) == 0 {
			continue
		}
		if shown > 0 {
			fmt.Fprintln(g.cmd.OutOrStdout())
			g.grid, g.headed = newGrid(g.cmd), false
		}
		shown++
		if err := g.printTable(a.kind, &t); err != nil {
			return err
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if shown == 0 {
		g.sayNothing(asks)
	}
	if g.watch {
		return g.follow(ctx, asks[0], revision)
	}
	return nil
}

// sayNothing tells people that there is nothing, where programs do not read it.
func (g *getter) sayNothing(asks []ask) {
	namespaced := slices.ContainsFunc(asks, func(a ask) bool { return a.kind.Namespaced })
	if namespaced && g.in() != "" {
		fmt.Fprintf(g.cmd.ErrOrStderr(), "No resources found in %s namespace.\n", g.in())
	} else {
		fmt.Fprintln(g.cmd.ErrOrStderr(), "No resources found")
	}
}

func (g *getter) printTable(k api.Kind, t *metav1.Table) error {
	var rows [][]string
	everywhere := k.Namespaced && g.in() == ""
	if !g.noHeaders && !g.headed {
		var head []string
		if everywhere {
			head = append(head, "NAMESPACE")
		}
		for _, c := range t.ColumnDefinitions {
			if c.Priority == 0 || g.format.wide {
				head = append(head, strings.ToUpper(c.Name))
			}
		}
		if g.labels {
			head = append(head, "LABELS")
		}
		rows = append(rows, head)
		g.headed = true
	}
	for _, r := range t.Rows {
		var meta metav1.PartialObjectMetadata
		if err := json.Unmarshal(r.Object.Raw, &meta); err != nil {
			return fmt.Errorf("row of %s: %w", k.Resource, err)
		}
		var row []string
		if everywhere {
			row = append(row, meta.Namespace)
		}
		row = append(row, g.cells(k, t, r)...)
		if g.labels {
			row = append(row, labels(meta.Labels))
		}
		rows = append(rows, row)
	}
	return g.grid.rows(rows...)
}

func (g *getter) cells(k api.Kind, t *metav1.Table, r metav1.TableRow) []string {
	var out []string
	for i, c := range t.ColumnDefinitions {
		if i >= len(r.Cells) || c.Priority > 0 && !g.format.wide {
			continue
		}
		text := ""
		if r.Cells[i] != nil {
			text = fmt.Sprint(r.Cells[i])
		}
		if c.Format == "name" && g.several {
			text = label(k) + "/" + text
		}
		out = append(out, text)
	}
	return out
}

func labels(m map[string]string) string {
	var all []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		all = append(all, k+"="+m[k])
	}
	if all == nil {
		return "<none>"
	}
	return strings.Join(all, ",")
}

// follow prints changes after a revision until the context ends.
func (g *getter) follow(ctx context.Context, a ask, revision string) error {
	name := ""
	if len(a.names) == 1 {
		name = a.names[0]
	}
	q := g.query(name)
	accept := tableType
	if g.format.objects() {
		accept = "application/json"
	}
	return g.events(ctx, path(a.kind, g.in(), ""), q, accept, revision, func(raw json.RawMessage) error {
		if g.format.objects() {
			return g.format.printRaw(g.cmd.OutOrStdout(), raw)
		}
		var t metav1.Table
		if err := json.Unmarshal(raw, &t); err != nil {
			return err
		}
		return g.printTable(a.kind, &t)
	})
}

// events hands each object of a watch to show.
func (s *scope) events(ctx context.Context, path string, q url.Values, accept, revision string, show func(json.RawMessage) error) error {
	if q == nil {
		q = url.Values{}
	}
	q.Set("watch", "true")
	if revision != "" {
		q.Set("resourceVersion", revision)
	}
	body, err := s.open(ctx, path, q, accept)
	if err != nil {
		return err
	}
	defer body.Close()
	lines := json.NewDecoder(body)
	for {
		var e struct {
			Type   watch.EventType `json:"type"`
			Object json.RawMessage `json:"object"`
		}
		if err := lines.Decode(&e); err != nil {
			return fmt.Errorf("the server ended the watch: %w", err)
		}
		switch e.Type {
		case watch.Bookmark:
		case watch.Error:
			var status metav1.Status
			if err := json.Unmarshal(e.Object, &status); err != nil {
				return err
			}
			return serverError{status}
		default:
			if err := show(e.Object); err != nil {
				return err
			}
		}
	}
}
