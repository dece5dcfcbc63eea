package read

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"slipway.dev/slipway/api"
)

// everyday kinds are what `get all` shows.
var everyday = []string{
	"pods", "replicationcontrollers", "services", "deploymentconfigs", "buildconfigs", "builds", "imagestreams", "routes", "jobs", "cronjobs",
}

type getter struct {
	scope
	selector, fields, output string
	watch, noHeaders         bool
	labels                   bool

	cmd     *cobra.Command
	format  format
	several bool // kinds: rows begin with the kind
	grid    *grid
	headed  bool
}

// ask is objects of one kind to get; names empty: all.
type ask struct {
	kind  api.Kind
	names []string
}

func getCommand() *cobra.Command {
	g := &getter{}
	cmd := &cobra.Command{
		Use:   "get KIND[,KIND…] [NAME…]",
		Short: "List objects, or show some",
		Long: `List objects of live state, or show those that are named.

KIND is a kind's name, plural or short name (dc, bc, is, po, svc, rc, app, …), or ` + "`all`" + `
for what runs. Without -n every project is looked at; SLIPWAY_PROJECT sets another default.
Secret values are masked: nobody reads them here.`,
		Example: `  slipway get pods -n shop-dev
  slipway get dc,routes -A
  slipway get application root -o yaml
  slipway get builds -w
  slipway get is frontend -n shop-dev -o jsonpath='{.status.tags[0].items[0].image}'`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: g.complete,
		RunE:              g.run,
	}
	g.flags(cmd)
	f := cmd.Flags()
	f.StringVarP(&g.selector, "selector", "l", "", "labels to select by, such as app=frontend,tier!=db")
	f.StringVar(&g.fields, "field-selector", "", "fields to select by, such as status.phase=Running")
	f.StringVarP(&g.output, "output", "o", "", "json, yaml, wide, name or jsonpath=TEMPLATE")
	f.BoolVarP(&g.watch, "watch", "w", false, "stay and show changes as they happen")
	f.BoolVar(&g.noHeaders, "no-headers", false, "leave out the headings")
	f.BoolVar(&g.labels, "show-labels", false, "add a column of labels")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"json", "yaml", "wide", "name", "jsonpath="}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (g *getter) run(cmd *cobra.Command, args []string) error {
	asks, err := parseAsks(args)
	if err != nil {
		return err
	}
	if g.format, err = parseFormat(g.output); err != nil {
		return err
	}
	g.cmd, g.grid, g.several = cmd, newGrid(cmd), len(asks) > 1
	if g.watch && (len(asks) > 1 || len(asks[0].names) > 1) {
		return errors.New("-w follows one kind, and one object or all of it")
	}
	if g.format.objects() {
		return g.objects(cmd.Context(), asks)
	}
	return g.tables(cmd.Context(), asks)
}

// parseAsks reads `KIND[,KIND] [NAME…]` or `KIND/NAME…`.
func parseAsks(args []string) ([]ask, error) {
	var asks []ask
	if strings.Contains(args[0], "/") {
		for _, arg := range args {
			word, name, ok := strings.Cut(arg, "/")
			if !ok || name == "" {
				return nil, fmt.Errorf("%q: want KIND/NAME, as before it", arg)
			}
			k, err := kind(word)
			if err != nil {
				return nil, err
			}
			if i := slices.IndexFunc(asks, func(a ask) bool { return a.kind.Resource == k.Resource }); i >= 0 {
				asks[i].names = append(asks[i].names, name)
			} else {
				asks = append(asks, ask{k, []string{name}})
			}
		}
		return asks, nil
	}
	for word := range strings.SplitSeq(args[0], ",") {
		words := []string{word}
		if word == "all" {
			words = everyday
		}
		for _, w := range words {
			k, err := kind(w)
			if err != nil {
				return nil, err
			}
			asks = append(asks, ask{k, args[1:]})
		}
	}
	return asks, nil
}

func (g *getter) query(name string) url.Values {
	q := url.Values{}
	fields := g.fields
	if name != "" {
		fields = strings.TrimPrefix(fields+",metadata.name="+name, ",")
	}
	for key, value := range map[string]string{"labelSelector": g.selector, "fieldSelector": fields} {
		if value != "" {
			q.Set(key, value)
		}
	}
	return q
}

// targets are the requests that an ask needs: a named object of an unnamed project is
// looked for in all of them.
func (g *getter) targets(a ask) []target {
	if len(a.names) == 0 {
		return []target{{path: path(a.kind, g.in(), ""), query: g.query("")}}
	}
	var out []target
	for _, name := range a.names {
		if a.kind.Namespaced && g.in() == "" || g.watch {
			out = append(out, target{path(a.kind, g.in(), ""), g.query(name), name, true})
		} else {
			out = append(out, target{path(a.kind, g.in(), name), nil, name, false})
		}
	}
	return out
}

type target struct {
	path  string
	query url.Values
	name  string
	// search: it is a list in which the name must be.
	search bool
}

func missing(k api.Kind, name string) error {
	return serverError{metav1.Status{Reason: metav1.StatusReasonNotFound, Message: fmt.Sprintf("%s %q not found", k.GroupResource(), name)}}
}

// objects prints whole objects.
func (g *getter) objects(ctx context.Context, asks []ask) error {
	var items []unstructured.Unstructured
	var revision string
	single := len(asks) == 1 && len(asks[0].names) == 1
	var errs []error
	for _, a := range asks {
		for _, t := range g.targets(a) {
			got, rv, err := g.fetch(ctx, a, t)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			items, revision = append(items, got...), rv
		}
	}
	err := errors.Join(errs...)
	switch {
	case single && err != nil:
		return err
	case single && len(items) == 1:
		err = errors.Join(err, g.format.print(g.cmd.OutOrStdout(), &items[0]))
	case g.watch:
		for i := range items {
			err = errors.Join(err, g.format.print(g.cmd.OutOrStdout(), &items[i]))
		}
	default:
		err = errors.Join(err, g.format.printList(g.cmd.OutOrStdout(), items))
	}
	if err == nil && g.watch {
		return g.follow(ctx, asks[0], revision)
	}
	return err
}

func (g *getter) fetch(ctx context.Context, a ask, t target) ([]unstructured.Unstructured, string, error) {
	var content unstructured.UnstructuredList
	var o unstructured.Unstructured
	if t.name != "" && !t.search {
		if err := g.object(ctx, t.path, t.query, &o.Object); err != nil {
			return nil, "", err
		}
		return []unstructured.Unstructured{o}, o.GetResourceVersion(), nil
	}
	if err := g.object(ctx, t.path, t.query, &content); err != nil {
		return nil, "", err
	}
	if t.search && len(content.Items) == 0 {
		return nil, "", missing(a.kind, t.name)
	}
	for i := range content.Items {
		content.Items[i].SetGroupVersionKind(a.kind.GroupVersionKind)
	}
	return content.Items, content.GetResourceVersion(), nil
}
