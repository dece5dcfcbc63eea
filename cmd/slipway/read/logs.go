package read

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	appsv1 "github.com/openshift/api/apps/v1"
	buildv1 "github.com/openshift/api/build/v1"
	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"slipway.dev/slipway/api"
)

type logReader struct {
	scope
	container            string
	tail                 int64
	since                time.Duration
	follow, previous, ts bool
}

func logsCommand() *cobra.Command {
	l := &logReader{}
	cmd := &cobra.Command{
		Use:   "logs POD | build/NAME | bc/NAME | dc/NAME | deploy/NAME",
		Short: "Show what a container or a build wrote",
		Long: `Show what a container or a build wrote.

bc/NAME is the newest build of a BuildConfig; dc/NAME is one pod of the latest deployment
of a DeploymentConfig, and deploy/NAME, rs/NAME, sts/NAME, ds/NAME or job/NAME one pod of those,
a ready one if there is one.`,
		Args: cobra.RangeArgs(1, 2),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			k, err := kind("pods")
			if err != nil || len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return l.names(cmd, k), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: l.run,
	}
	l.flags(cmd)
	f := cmd.Flags()
	f.BoolVarP(&l.follow, "follow", "f", false, "stay and show lines as they are written")
	f.Int64Var(&l.tail, "tail", -1, "only the last lines (default: all)")
	f.StringVarP(&l.container, "container", "c", "", "container of the pod, where it has several")
	f.DurationVar(&l.since, "since", 0, "only what was written in the last while, such as 5m")
	f.BoolVarP(&l.previous, "previous", "p", false, "the container before its last restart")
	f.BoolVar(&l.ts, "timestamps", false, "begin lines with their times")
	return cmd
}

func (l *logReader) run(cmd *cobra.Command, args []string) error {
	if len(args) == 2 && l.container == "" {
		if _, err := kind(args[0]); err != nil {
			args, l.container = args[:1], args[1] // `logs POD CONTAINER`, as kubectl has it
		}
	}
	k, name, err := one(args, "pods")
	if err != nil {
		return err
	}
	k, project, name, err := l.source(cmd.Context(), k, name)
	if err != nil {
		return err
	}
	q := url.Values{}
	if l.follow {
		q.Set("follow", "true")
	}
	p := path(k, project, name) + "/log"
	if k.Kind == "Build" {
		return l.buildLog(cmd, p, q)
	}
	set := func(on bool, name, value string) {
		if on {
			q.Set(name, value)
		}
	}
	set(l.container != "", "container", l.container)
	set(l.tail >= 0, "tailLines", strconv.FormatInt(l.tail, 10))
	set(l.since > 0, "sinceSeconds", strconv.FormatInt(int64(max(l.since, time.Second).Seconds()), 10))
	set(l.previous, "previous", "true")
	set(l.ts, "timestamps", "true")
	return l.copy(cmd, p, q)
}

func (l *logReader) copy(cmd *cobra.Command, path string, q url.Values) error {
	body, err := l.open(cmd.Context(), path, q, "*/*")
	if err != nil {
		return err
	}
	defer body.Close()
	if _, err := io.Copy(cmd.OutOrStdout(), body); err != nil {
		return fmt.Errorf("the log broke off: %w", err)
	}
	return nil
}

// buildLog shows a build's log, which the server knows only as a whole.
func (l *logReader) buildLog(cmd *cobra.Command, path string, q url.Values) error {
	if l.tail < 0 || l.follow {
		return l.copy(cmd, path, q)
	}
	body, err := l.open(cmd.Context(), path, q, "*/*")
	if err != nil {
		return err
	}
	defer body.Close()
	all, err := io.ReadAll(body)
	if err != nil {
		return fmt.Errorf("the log broke off: %w", err)
	}
	lines := bytes.SplitAfter(bytes.TrimSuffix(all, []byte("\n")), []byte("\n"))
	for _, line := range lines[max(0, len(lines)-int(min(l.tail, 1<<30))):] {
		if _, err := cmd.OutOrStdout().Write(line); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout())
	return err
}

// source is the pod or build whose log stands for an object.
func (l *logReader) source(ctx context.Context, k api.Kind, name string) (api.Kind, string, string, error) {
	o, err := l.find(ctx, k, name)
	if err != nil {
		return k, "", "", err
	}
	project := o.GetNamespace()
	switch k.Kind {
	case "Pod", "Build":
		return k, project, name, nil
	case "BuildConfig":
		builds, err := kind("builds")
		if err != nil {
			return k, "", "", err
		}
		name, err := l.newestBuild(ctx, builds, project, name)
		return builds, project, name, err
	case "DeploymentConfig":
		pods, err := kind("pods")
		if err != nil {
			return k, "", "", err
		}
		version, _, err := unstructured.NestedInt64(o.Object, "status", "latestVersion")
		if err != nil {
			return k, "", "", err
		}
		name, err := l.deployedPod(ctx, pods, project, name, version)
		return pods, project, name, err
	case "Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job":
		pods, err := kind("pods")
		if err != nil {
			return k, "", "", err
		}
		name, err := l.selectedPod(ctx, pods, o)
		return pods, project, name, err
	}
	return k, "", "", fmt.Errorf("%s/%s: only pods, builds, and what keeps or runs them have logs", label(k), name)
}

func (l *logReader) newestBuild(ctx context.Context, builds api.Kind, project, config string) (string, error) {
	var list buildv1.BuildList
	if err := l.object(ctx, path(builds, project, ""), nil, &list); err != nil {
		return "", err
	}
	best, bestNumber := "", -1
	for i := range list.Items {
		b := &list.Items[i]
		number, err := strconv.Atoi(b.Annotations[buildv1.BuildNumberAnnotation])
		if b.Status.Config != nil && b.Status.Config.Name == config && err == nil && number > bestNumber {
			best, bestNumber = b.Name, number
		}
	}
	if best == "" {
		return "", fmt.Errorf("buildconfig %s/%s has no builds yet", project, config)
	}
	return best, nil
}

func (l *logReader) deployedPod(ctx context.Context, pods api.Kind, project, config string, version int64) (string, error) {
	var list corev1.PodList
	selector := fmt.Sprintf("%s=%s-%d", "deployment", config, version)
	if err := l.object(ctx, path(pods, project, ""), url.Values{"labelSelector": {selector}}, &list); err != nil {
		return "", err
	}
	// A deployer or hook pod has the annotation of its deployment, not the label.
	list.Items = slices.DeleteFunc(list.Items, func(p corev1.Pod) bool { return p.Labels[appsv1.DeployerPodForDeploymentLabel] != "" })
	if len(list.Items) == 0 {
		return "", fmt.Errorf("deployment %s-%d of project %s has no pods", config, version, project)
	}
	return readyFirst(list.Items), nil
}

// selectedPod is a pod of what has a label selector.
func (l *logReader) selectedPod(ctx context.Context, pods api.Kind, o *unstructured.Unstructured) (string, error) {
	plain, _, err := unstructured.NestedMap(o.Object, "spec", "selector")
	var selector metav1.LabelSelector
	if err == nil {
		err = runtime.DefaultUnstructuredConverter.FromUnstructured(plain, &selector)
	}
	if err != nil {
		return "", fmt.Errorf("%s %s/%s: spec.selector: %w", o.GetKind(), o.GetNamespace(), o.GetName(), err)
	}
	var list corev1.PodList
	if err := l.object(ctx, path(pods, o.GetNamespace(), ""), url.Values{"labelSelector": {metav1.FormatLabelSelector(&selector)}}, &list); err != nil {
		return "", err
	}
	if len(list.Items) == 0 {
		return "", fmt.Errorf("%s %s/%s has no pods", strings.ToLower(o.GetKind()), o.GetNamespace(), o.GetName())
	}
	return readyFirst(list.Items), nil
}

// readyFirst names a pod that is ready, or else the first.
func readyFirst(all []corev1.Pod) string {
	for _, p := range all {
		for _, c := range p.Status.Conditions {
			if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
				return p.Name
			}
		}
	}
	return all[0].Name
}
