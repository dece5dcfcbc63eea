package read

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	"slipway.dev/slipway/api"
)

type top struct {
	scope
	selector, by string
	containers   bool
}

func topCommand() *cobra.Command {
	t := &top{}
	cmd := &cobra.Command{
		Use:   "top pods | nodes [NAME]",
		Short: "Show what pods or nodes use of CPU and memory",
		Long: `Show what pods or nodes use of CPU and memory.

CPU is in thousandths of a core, over the last minute or, where nobody asked before, over a
second. Memory is the working set: without the file cache that the kernel could give up.`,
		Args:      cobra.RangeArgs(1, 2),
		ValidArgs: []string{"pods", "nodes"},
		RunE: func(cmd *cobra.Command, args []string) error {
			name := strings.Join(args[1:], "")
			switch args[0] {
			case "pods", "pod", "po":
				return t.pods(cmd, name)
			case "nodes", "node", "no":
				return t.nodes(cmd, name)
			}
			return fmt.Errorf("top %s: want pods or nodes", args[0])
		},
	}
	t.flags(cmd)
	f := cmd.Flags()
	f.StringVarP(&t.selector, "selector", "l", "", "only those with these labels, such as app=web")
	f.StringVar(&t.by, "sort-by", "", "cpu or memory, the most first (default: by name)")
	f.BoolVar(&t.containers, "containers", false, "a line for each container")
	return cmd
}

func (t *top) query() url.Values {
	if t.selector == "" {
		return nil
	}
	return url.Values{"labelSelector": {t.selector}}
}

// usageLine is a line of the answer.
type usageLine struct {
	names       []string
	cpu, memory int64 // thousandths of a core; bytes
}

func lineOf(u corev1.ResourceList, names ...string) usageLine {
	return usageLine{names, u.Cpu().MilliValue(), u.Memory().Value()}
}

func (t *top) pods(cmd *cobra.Command, name string) error {
	k := api.Kind{GroupVersionKind: api.MetricsGroup.WithKind("PodMetrics"), Resource: "pods", Namespaced: true}
	var list api.PodMetricsList
	if err := t.object(cmd.Context(), path(k, t.in(), ""), t.query(), &list); err != nil {
		return err
	}
	header := []string{"PROJECT", "NAME"}
	if t.containers {
		header = append(header, "CONTAINER")
	}
	var lines []usageLine
	for _, p := range list.Items {
		if name != "" && p.Name != name {
			continue
		}
		sum := usageLine{names: []string{p.Namespace, p.Name}}
		for _, c := range p.Containers {
			l := lineOf(c.Usage, p.Namespace, p.Name, c.Name)
			sum.cpu, sum.memory = sum.cpu+l.cpu, sum.memory+l.memory
			if t.containers {
				lines = append(lines, l)
			}
		}
		if !t.containers {
			lines = append(lines, sum)
		}
	}
	return t.print(cmd, name, header, lines)
}

func (t *top) nodes(cmd *cobra.Command, name string) error {
	k := api.Kind{GroupVersionKind: api.MetricsGroup.WithKind("NodeMetrics"), Resource: "nodes"}
	var list api.NodeMetricsList
	if err := t.object(cmd.Context(), path(k, "", ""), t.query(), &list); err != nil {
		return err
	}
	var lines []usageLine
	for _, n := range list.Items {
		if name == "" || n.Name == name {
			lines = append(lines, lineOf(n.Usage, n.Name))
		}
	}
	return t.print(cmd, name, []string{"NAME"}, lines)
}

func (t *top) print(cmd *cobra.Command, name string, header []string, lines []usageLine) error {
	switch t.by {
	case "":
	case "cpu":
		slices.SortStableFunc(lines, func(a, b usageLine) int { return cmp.Compare(b.cpu, a.cpu) })
	case "memory":
		slices.SortStableFunc(lines, func(a, b usageLine) int { return cmp.Compare(b.memory, a.memory) })
	default:
		return fmt.Errorf("--sort-by %s: want cpu or memory", t.by)
	}
	if len(lines) == 0 && name != "" {
		return fmt.Errorf("nothing of that name is measured: %s", name)
	}
	if len(lines) == 0 {
		_, err := fmt.Fprintln(cmd.ErrOrStderr(), "Nothing is measured.")
		return err
	}
	rows := [][]string{append(header, "CPU", "MEMORY")}
	for _, l := range lines {
		rows = append(rows, append(l.names, fmt.Sprintf("%dm", l.cpu), fmt.Sprintf("%dMi", l.memory>>20)))
	}
	return newGrid(cmd).rows(rows...)
}
