package read

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	appsv1 "github.com/openshift/api/apps/v1"
	buildv1 "github.com/openshift/api/build/v1"
	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/dashboard/table"
)

// overview is what `status` reads.
type overview struct {
	applications v1alpha1.ApplicationList
	deployments  appsv1.DeploymentConfigList
	workloads    workloads
	builds       buildv1.BuildList
	pods         corev1.PodList
	nodes        corev1.NodeList // none where one project is asked for
}

func statusCommand() *cobra.Command {
	s := &scope{}
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show on one screen how everything is",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := s.overview(cmd.Context())
			if err != nil {
				return err
			}
			return o.print(cmd)
		},
	}
	s.flags(cmd)
	return cmd
}

func (s *scope) overview(ctx context.Context) (*overview, error) {
	var o overview
	words := map[string]any{
		"applications": &o.applications, "deploymentconfigs": &o.deployments, "builds": &o.builds, "pods": &o.pods,
		"deployments": &o.workloads.deployments, "statefulsets": &o.workloads.sets, "daemonsets": &o.workloads.daemons,
	}
	if s.in() == "" {
		words["nodes"] = &o.nodes
	}
	for word, into := range words {
		k, err := kind(word)
		if err != nil {
			return nil, err
		}
		if err := s.object(ctx, path(k, s.in(), ""), nil, into); err != nil {
			return nil, err
		}
	}
	return &o, nil
}

func (o *overview) print(cmd *cobra.Command) error {
	sections := []struct {
		head []string
		rows [][]string
		none string
	}{
		{[]string{"APPLICATION", "COMMIT", "READY", "APPLIED", "MESSAGE"}, o.applicationRows(), "No applications."},
		{[]string{"WAITING", "COMMIT", "FOR", "SINCE", "MESSAGE"}, o.waitingRows(), ""},
		{[]string{"LIVE, BUT NOT IN GIT", "WHAT"}, o.differenceRows(), ""},
		{[]string{"DEPLOYMENT", "READY", "REVISION", "STATUS"}, o.deploymentRows(), "No deployments."},
		{[]string{"BUILD", "STATUS", "COMMIT", "DURATION"}, o.buildRows(), ""},
		{[]string{"PROBLEM"}, o.problemRows(), "No problems."},
	}
	first := true
	for _, s := range sections {
		if len(s.rows) == 0 && s.none == "" {
			continue
		}
		if !first {
			fmt.Fprintln(cmd.OutOrStdout())
		}
		first = false
		if len(s.rows) == 0 {
			fmt.Fprintln(cmd.OutOrStdout(), s.none)
			continue
		}
		if err := newGrid(cmd).rows(append([][]string{s.head}, s.rows...)...); err != nil {
			return err
		}
	}
	return nil
}

func (o *overview) applicationRows() [][]string {
	var rows [][]string
	for _, a := range o.applications.Items {
		ready, message := table.Ready(a.Status.Conditions)
		if a.Spec.Suspend {
			ready = "Suspended"
		}
		applied := "never"
		if t := a.Status.LastAppliedTime; t != nil {
			applied = ago(t.Time) + " ago"
		}
		message, _, _ = strings.Cut(message, "\n")
		rows = append(rows, []string{a.Namespace + "/" + a.Name, cmp.Or(table.Short(a.Status.LastAppliedCommit), "-"), ready, applied, message})
	}
	return rows
}

// waitingRows are the plans that are not carried out yet.
func (o *overview) waitingRows() [][]string {
	var rows [][]string
	for _, a := range o.applications.Items {
		if w := a.Status.Waiting; w != nil {
			rows = append(rows, []string{a.Namespace + "/" + a.Name, table.Short(w.Commit), w.Reason, ago(w.Since.Time), firstLine(w.Message)})
		}
	}
	return rows
}

// differenceRows are what is live without being in git: exceptions, drift that is only
// reported, and objects that nobody owns.
func (o *overview) differenceRows() [][]string {
	var rows [][]string
	for _, a := range o.applications.Items {
		name := a.Namespace + "/" + a.Name
		for _, list := range []struct {
			what  string
			lines []string
		}{{"override", a.Status.Overrides}, {"drift", a.Status.Drift}, {"orphan", a.Status.Orphans}} {
			for _, line := range list.lines {
				rows = append(rows, []string{name, list.what + ": " + line})
			}
		}
	}
	return rows
}

func (o *overview) deploymentRows() [][]string {
	var rows [][]string
	for _, d := range o.deployments.Items {
		want := d.Spec.Replicas
		if d.Spec.Test || d.Status.LatestVersion == 0 && d.Spec.Triggers != nil && len(d.Spec.Triggers) == 0 {
			want = 0 // It has pods only while it rolls out; or is never rolled out.
		}
		status := "Ready"
		switch _, failed := rolloutFailed(d.Status.Conditions); {
		case failed:
			status = "Failed"
		case d.Status.ReadyReplicas < want:
			status = "NotReady"
		case d.Status.UpdatedReplicas < want:
			status = "Pending"
		}
		rows = append(rows, []string{
			d.Namespace + "/" + d.Name, fmt.Sprintf("%d/%d", d.Status.ReadyReplicas, want), strconv.FormatInt(d.Status.LatestVersion, 10), status,
		})
	}
	return append(rows, o.workloads.rows()...)
}

// rolloutFailed is why the newest rollout was given up, if it was.
func rolloutFailed(conditions []appsv1.DeploymentCondition) (why string, failed bool) {
	for _, c := range conditions {
		if c.Type == appsv1.DeploymentProgressing && c.Status == corev1.ConditionFalse {
			return cmp.Or(c.Message, string(c.Reason)), true
		}
	}
	return "", false
}

// buildRows are the builds that go on.
func (o *overview) buildRows() [][]string {
	var rows [][]string
	for i := range o.builds.Items {
		b := &o.builds.Items[i]
		switch b.Status.Phase {
		case buildv1.BuildPhaseNew, buildv1.BuildPhasePending, buildv1.BuildPhaseRunning:
			took := ""
			if t := b.Status.StartTimestamp; t != nil {
				took = ago(t.Time)
			}
			rows = append(rows, []string{b.Namespace + "/" + b.Name, string(b.Status.Phase), table.Short(table.BuildCommit(b)), took})
		}
	}
	return rows
}

// problemRows are mistakes in repositories, nodes that are not ready, newest builds that failed,
// rollouts that did, and pods that do not come up.
func (o *overview) problemRows() [][]string {
	var rows [][]string
	for _, a := range o.applications.Items {
		for _, p := range a.Status.Problems {
			rows = append(rows, []string{a.Namespace + "/" + a.Name + " at " + table.Short(a.Status.LastAttemptedCommit) + ": " + api.ProblemString(p)})
		}
	}
	for _, n := range o.nodes.Items {
		for _, c := range n.Status.Conditions {
			if c.Type == corev1.NodeReady && c.Status != corev1.ConditionTrue {
				rows = append(rows, []string{fmt.Sprintf("node/%s: not ready for %s: %s", n.Name, ago(c.LastTransitionTime.Time), firstLine(cmp.Or(c.Message, c.Reason)))})
			}
		}
	}
	for _, b := range newestOfEach(o.builds.Items) {
		if b.Status.Phase == buildv1.BuildPhaseFailed || b.Status.Phase == buildv1.BuildPhaseError {
			rows = append(rows, []string{fmt.Sprintf("%s/build/%s: %s: %s", b.Namespace, b.Name, b.Status.Reason, b.Status.Message)})
		}
	}
	for _, d := range o.deployments.Items {
		if why, failed := rolloutFailed(d.Status.Conditions); failed {
			rows = append(rows, []string{fmt.Sprintf("%s/deploymentconfig/%s: %s", d.Namespace, d.Name, firstLine(why))})
		}
	}
	rows = append(rows, o.workloads.problems()...)
	for i := range o.pods.Items {
		p := &o.pods.Items[i]
		if trouble := table.PodTrouble(p); trouble != "" {
			rows = append(rows, []string{fmt.Sprintf("%s/pod/%s: %s", p.Namespace, p.Name, firstLine(trouble))})
		}
	}
	return rows
}

// newestOfEach keeps the last build of every BuildConfig: an older failure is history.
func newestOfEach(all []buildv1.Build) []*buildv1.Build {
	newest := map[string]*buildv1.Build{}
	var order []string
	for i := range all {
		b := &all[i]
		key := b.Namespace + "/" + b.Annotations[buildv1.BuildConfigAnnotation]
		have, ok := newest[key]
		if !ok {
			order = append(order, key)
		}
		if !ok || number(have) < number(b) {
			newest[key] = b
		}
	}
	slices.Sort(order)
	var out []*buildv1.Build
	for _, key := range order {
		out = append(out, newest[key])
	}
	return out
}

func number(b *buildv1.Build) int {
	n, err := strconv.Atoi(b.Annotations[buildv1.BuildNumberAnnotation])
	if err != nil {
		return 0
	}
	return n
}
