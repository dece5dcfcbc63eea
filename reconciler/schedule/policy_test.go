package schedule_test

import (
	"fmt"
	"strings"
	"testing"

	projectv1 "github.com/openshift/api/project/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/state/statetest"
)

// TestThePolicyIsFollowed while the scheduler runs: a predicate of labels keeps a pod away until the policy
// changes, then the cluster's node selector does, and a project's annotation frees it.
func TestThePolicyIsFollowed(t *testing.T) {
	t.Parallel()
	c, ctx := statetest.New(t), t.Context()
	readyNode(t, c, "n1", "9")
	config := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: api.SystemProject, Name: api.SchedulerConfig}, Data: map[string]string{
		api.SchedulerPolicyKey: `{"kind": "Policy", "apiVersion": "v1", "predicates": [{"name": "GeneralPredicates"}, {"name": "Certified", "argument": {"labelsPresence": {"labels": ["certified"], "presence": true}}}]}`,
	}}
	statetest.Must(t, c.Create(ctx, config))
	run(t, c, statetest.Silent{})
	says := func(name, want string) {
		t.Helper()
		statetest.Eventually(t, name+": "+want, func() bool {
			var p corev1.Pod
			statetest.Must(t, c.Get(ctx, client.ObjectKey{Namespace: "shop", Name: name}, &p))
			return p.Spec.NodeName == want || len(p.Status.Conditions) > 0 && strings.Contains(p.Status.Conditions[0].Message, want)
		})
	}
	statetest.Must(t, c.Create(ctx, pod("one")))
	says("one", "1 node(s) didn't have the requested labels")
	config.Data = map[string]string{api.DefaultNodeSelectorKey: "type=user"}
	statetest.Must(t, c.Update(ctx, config))
	says("one", "1 node(s) didn't match Pod's node affinity/selector")
	var n corev1.Node
	statetest.Must(t, c.Get(ctx, client.ObjectKey{Name: "n1"}, &n))
	n.Labels = map[string]string{"type": "user"}
	statetest.Must(t, c.Update(ctx, &n))
	says("one", "n1")
	config.Data[api.DefaultNodeSelectorKey] = "type=infra"
	statetest.Must(t, c.Update(ctx, config))
	statetest.Must(t, c.Create(ctx, pod("two")))
	says("two", "1 node(s) didn't match Pod's node affinity/selector")
	statetest.Must(t, c.Create(ctx, &projectv1.Project{ObjectMeta: metav1.ObjectMeta{Name: "shop", Annotations: map[string]string{api.ProjectNodeSelector: ""}}}))
	says("two", "n1")
}

// TestManyThatCanNeverFit do not keep those from their nodes that do, nor are they written to
// more than once for one reason.
func TestManyThatCanNeverFit(t *testing.T) {
	t.Parallel()
	c, ctx := statetest.New(t), t.Context()
	for i := range 5 {
		readyNode(t, c, fmt.Sprintf("n%d", i), "9")
	}
	const never = 500
	events := &journal{}
	run(t, c, events)
	for i := range never {
		p := pod(fmt.Sprintf("never%d", i))
		p.Spec.NodeSelector = map[string]string{"disk": "tape"}
		p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "ReplicationController", Name: "never", UID: "never", Controller: new(true)}}
		statetest.Must(t, c.Create(ctx, p))
	}
	statetest.Eventually(t, "all say so", func() bool { return events.count("FailedScheduling") == never })
	for i := range 20 {
		statetest.Must(t, c.Create(ctx, pod(fmt.Sprintf("p%d", i))))
	}
	statetest.Eventually(t, "the others are bound", func() bool { return events.count("Scheduled") == 20 })
	if n := events.count("FailedScheduling"); n != never {
		t.Errorf("%d events for %d pods", n, never)
	}
}
