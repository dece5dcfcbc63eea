package workload_test

import (
	"fmt"
	"slices"
	"testing"

	projectv1 "github.com/openshift/api/project/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slipway.dev/slipway/api"
)

// TestDaemonsKeepToTheirProjectsNodes: the scheduler adds the project's node selector, or the cluster's, to every
// pod, so that a daemon for another node would wait for ever and the set never be complete.
func TestDaemonsKeepToTheirProjectsNodes(t *testing.T) {
	t.Parallel()
	k := newCluster(t)
	node := func(name, kind string) *corev1.Node {
		return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"type": kind}}}
	}
	config := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: api.SystemProject, Name: api.SchedulerConfig}, Data: map[string]string{api.DefaultNodeSelectorKey: "type=user"}}
	project := &projectv1.Project{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}
	set := &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "agent"}, Spec: appsv1.DaemonSetSpec{
		Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}, Template: template("agent:1")}}
	k.Create(node("a", "infra"), node("b", "user"), node("c", "user"), config, project, set)
	settle := func(want ...string) {
		t.Helper()
		k.Eventually("daemons", func() (bool, string) {
			got := k.pods(func(p *corev1.Pod) string {
				return p.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms[0].MatchFields[0].Values[0]
			})
			k.read(set)
			s, n := set.Status, int32(len(want))
			return slices.Equal(got, want) && s.DesiredNumberScheduled == n && s.NumberAvailable == n, fmt.Sprintf("%v %+v", got, s)
		})
	}
	settle("b", "c")
	edit(k, project, func(p *projectv1.Project) { p.Annotations = map[string]string{api.ProjectNodeSelector: "type=infra"} })
	settle("a")
	edit(k, project, func(p *projectv1.Project) { p.Annotations[api.ProjectNodeSelector] = "" })
	settle("a", "b", "c")
	edit(k, project, func(p *projectv1.Project) { delete(p.Annotations, api.ProjectNodeSelector) })
	settle("b", "c")
	edit(k, config, func(c *corev1.ConfigMap) { delete(c.Data, api.DefaultNodeSelectorKey) })
	settle("a", "b", "c")
}
