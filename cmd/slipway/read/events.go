package read

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/duration"
)

type eventReader struct {
	scope
	of       string
	warnings bool
	watch    bool

	cmd    *cobra.Command
	grid   *grid
	headed bool
}

func eventsCommand() *cobra.Command {
	e := &eventReader{}
	cmd := &cobra.Command{
		Use:     "events",
		Short:   "Show what happened in the last hour, the newest last",
		Example: "  slipway events -n shop-dev\n  slipway events --for dc/frontend -w",
		Args:    cobra.NoArgs,
		RunE:    e.run,
	}
	e.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&e.of, "for", "", "only those of KIND/NAME")
	f.BoolVar(&e.warnings, "warnings", false, "only warnings")
	f.BoolVarP(&e.watch, "watch", "w", false, "stay and show events as they happen")
	return cmd
}

func (e *eventReader) run(cmd *cobra.Command, _ []string) error {
	e.cmd, e.grid = cmd, newGrid(cmd)
	var fields []string
	if e.of != "" {
		k, name, err := one([]string{e.of}, "")
		if err != nil {
			return fmt.Errorf("--for: %w", err)
		}
		fields = append(fields, "involvedObject.kind="+k.Kind, "involvedObject.name="+name)
	}
	if e.warnings {
		fields = append(fields, "type="+corev1.EventTypeWarning)
	}
	q := url.Values{}
	if fields != nil {
		q.Set("fieldSelector", strings.Join(fields, ","))
	}
	list, err := e.list(cmd.Context(), q)
	if err != nil {
		return err
	}
	if len(list.Items) == 0 {
		where := ""
		if e.in() != "" {
			where = " in " + e.in() + " namespace."
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "No events found%s\n", where)
	}
	if err := e.show(list.Items...); err != nil || !e.watch {
		return err
	}
	k, err := kind("events")
	if err != nil {
		return err
	}
	return e.events(cmd.Context(), path(k, e.in(), ""), q, "application/json", list.ResourceVersion, func(raw json.RawMessage) error {
		var ev corev1.Event
		if err := json.Unmarshal(raw, &ev); err != nil {
			return err
		}
		return e.show(ev)
	})
}

func (e *eventReader) list(ctx context.Context, q url.Values) (*corev1.EventList, error) {
	k, err := kind("events")
	if err != nil {
		return nil, err
	}
	var list corev1.EventList
	if err := e.object(ctx, path(k, e.in(), ""), q, &list); err != nil {
		return nil, err
	}
	slices.SortStableFunc(list.Items, func(a, b corev1.Event) int { return happened(&a).Compare(happened(&b)) })
	return &list, nil
}

func happened(e *corev1.Event) time.Time {
	switch {
	case !e.LastTimestamp.IsZero():
		return e.LastTimestamp.Time
	case !e.EventTime.IsZero():
		return e.EventTime.Time
	}
	return e.CreationTimestamp.Time
}

func (e *eventReader) show(all ...corev1.Event) error {
	var rows [][]string
	head := []string{"LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"}
	everywhere := e.in() == ""
	if everywhere {
		head = append([]string{"NAMESPACE"}, head...)
	}
	if !e.headed && len(all) > 0 {
		rows = append(rows, head)
		e.headed = true
	}
	for _, ev := range all {
		row := []string{ago(happened(&ev)), ev.Type, ev.Reason, ev.InvolvedObject.Kind + "/" + ev.InvolvedObject.Name, strings.TrimSpace(ev.Message)}
		if ev.Count > 1 {
			row[0] += fmt.Sprintf(" (x%d)", ev.Count)
		}
		if everywhere {
			row = append([]string{ev.Namespace}, row...)
		}
		rows = append(rows, row)
	}
	return e.grid.rows(rows...)
}

func ago(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return duration.HumanDuration(time.Since(t))
}

// describeEvents shows what happened to one object.
func (s *scope) describeEvents(cmd *cobra.Command, o *unstructured.Unstructured) error {
	e := &eventReader{scope: *s, cmd: cmd, grid: newGrid(cmd)}
	e.project, e.all = o.GetNamespace(), o.GetNamespace() == ""
	e.grid.indent = "  "
	list, err := e.list(cmd.Context(), url.Values{"fieldSelector": {"involvedObject.kind=" + o.GetKind() + ",involvedObject.name=" + o.GetName()}})
	if err != nil {
		return err
	}
	if len(list.Items) == 0 {
		fmt.Fprintln(cmd.OutOrStdout(), "Events: <none>")
		return nil
	}
	fmt.Fprintln(cmd.OutOrStdout(), "Events:")
	return e.show(list.Items...)
}
