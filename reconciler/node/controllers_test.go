package node_test

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/reconciler/node"
	"slipway.dev/slipway/state/statetest"
)

type lab struct {
	*testing.T
	c     client.WithWatch
	clock *statetest.Clock
}

func start(t *testing.T) *lab {
	l := &lab{t, statetest.New(t), statetest.NewClock(time.Now())}
	statetest.Run(t, l.c, node.Controllers(node.Deps{Client: l.c, Events: statetest.Silent{}, Clock: l.clock.Now})...)
	return l
}

func (l *lab) node(name string) {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastHeartbeatTime: metav1.NewTime(l.clock.Now())}}
	statetest.Must(l.T, l.c.Create(l.Context(), n))
}

// beat renews a node's heartbeat, as its agent does.
func (l *lab) beat(name string) {
	var n corev1.Node
	statetest.Must(l.T, l.c.Get(l.Context(), client.ObjectKey{Name: name}, &n))
	before := n.DeepCopy()
	n.Status.Conditions[0].Status, n.Status.Conditions[0].LastHeartbeatTime = corev1.ConditionTrue, metav1.NewTime(l.clock.Now())
	statetest.Must(l.T, l.c.Status().Patch(l.Context(), &n, client.MergeFrom(before)))
}

func (l *lab) pod(name, on string, change ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Labels: map[string]string{"app": "web"}}, Spec: corev1.PodSpec{NodeName: on, Containers: []corev1.Container{{Name: "c", Image: "busybox"}}}}
	for _, f := range change {
		f(p)
	}
	statetest.Must(l.T, l.c.Create(l.Context(), p))
	p.Status.Phase = corev1.PodRunning
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	statetest.Must(l.T, l.c.Status().Update(l.Context(), p))
	return p
}

// state is "", leaving or gone, with unready before it.
func (l *lab) state(p *corev1.Pod) string {
	var now corev1.Pod
	err := l.c.Get(l.Context(), client.ObjectKeyFromObject(p), &now)
	switch {
	case apierrors.IsNotFound(err):
		return "gone"
	case err != nil:
		l.Fatal(err)
	case now.DeletionTimestamp != nil:
		return "leaving"
	case now.Status.Conditions[0].Status != corev1.ConditionTrue:
		return "unready"
	}
	return ""
}

func (l *lab) config(name string, spec v1alpha1.NodeConfigSpec) *v1alpha1.NodeConfig {
	c := &v1alpha1.NodeConfig{ObjectMeta: metav1.ObjectMeta{Name: name}}
	err := l.c.Get(l.Context(), client.ObjectKey{Name: name}, c)
	if c.Spec = spec; apierrors.IsNotFound(err) {
		statetest.Must(l.T, l.c.Create(l.Context(), c))
	} else {
		statetest.Must(l.T, l.c.Update(l.Context(), c))
	}
	return c
}

func (l *lab) ready(name string) corev1.ConditionStatus {
	var n corev1.Node
	statetest.Must(l.T, l.c.Get(l.Context(), client.ObjectKey{Name: name}, &n))
	return n.Status.Conditions[0].Status
}

// wake makes the controllers look although only the clock has moved.
func (l *lab) wake(name string) {
	var n corev1.Node
	statetest.Must(l.T, l.c.Get(l.Context(), client.ObjectKey{Name: name}, &n))
	before := n.DeepCopy()
	n.Annotations = map[string]string{"test": fmt.Sprint(l.clock.Now())}
	statetest.Must(l.T, l.c.Patch(l.Context(), &n, client.MergeFrom(before)))
}

// TestALostNodeIsEvacuated follows a node from its last heartbeat: unready, evacuated, known to be gone.
func TestALostNodeIsEvacuated(t *testing.T) {
	t.Parallel()
	l := start(t)
	l.node("n1")
	l.node("n2")
	web, other := l.pod("web", "n1"), l.pod("other", "n2")
	db := l.pod("db", "n1", func(p *corev1.Pod) {
		p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "db", UID: "u", Controller: new(true)}}
	})
	statetest.Eventually(t, "nodes are seen", func() bool {
		l.clock.Move(time.Second)
		l.beat("n1")
		l.beat("n2")
		return time.Until(l.clock.Now()) > 3*time.Second
	})
	statetest.Eventually(t, "the node that is silent is lost", func() bool {
		l.clock.Move(15 * time.Second)
		l.beat("n2")
		l.wake("n1")
		return l.ready("n1") == corev1.ConditionUnknown
	})
	statetest.Eventually(t, "its pods are not ready", func() bool { return l.state(web) == "unready" && l.state(db) == "unready" })
	statetest.Eventually(t, "after five minutes they leave", func() bool {
		l.clock.Move(time.Minute)
		l.beat("n2")
		l.wake("n1")
		return l.state(web) == "leaving"
	})
	if l.state(db) != "unready" || l.state(other) != "" || l.ready("n2") != corev1.ConditionTrue {
		t.Errorf("a stateful pod is %q, one of another node %q", l.state(db), l.state(other))
	}
	l.config("n1", v1alpha1.NodeConfigSpec{Gone: true})
	statetest.Eventually(t, "of a node that is known to be gone all are removed", func() bool { return l.state(web) == "gone" && l.state(db) == "gone" })
	l.config("n1", v1alpha1.NodeConfigSpec{})
	l.beat("n1")
	statetest.Eventually(t, "a node that returns is clean", func() bool {
		var n corev1.Node
		statetest.Must(t, l.c.Get(t.Context(), client.ObjectKey{Name: "n1"}, &n))
		return len(n.Spec.Taints) == 0 && !n.Spec.Unschedulable
	})
}

// TestABudgetThatAllowsNothing holds a drain for as long as it stands, and says so; of a node that is gone
// it holds nothing.
func TestABudgetThatAllowsNothing(t *testing.T) {
	t.Parallel()
	l := start(t)
	l.node("n1")
	l.node("n2")
	none := intstr.FromInt32(0)
	budget := &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "never"}, Spec: policyv1.PodDisruptionBudgetSpec{MaxUnavailable: &none, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}}}
	statetest.Must(t, l.c.Create(t.Context(), budget))
	rc := &corev1.ReplicationController{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}, Spec: corev1.ReplicationControllerSpec{Replicas: new(int32(1)), Selector: map[string]string{"app": "web"}, Template: &corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web"}}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "busybox"}}}}}}
	statetest.Must(t, l.c.Create(t.Context(), rc))
	web := l.pod("web", "n1", func(p *corev1.Pod) {
		p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "ReplicationController", Name: "web", UID: rc.UID, Controller: new(true)}}
	})
	config := l.config("n1", v1alpha1.NodeConfigSpec{Drain: true})
	statetest.Eventually(t, "the config names the pod and the budget", func() bool {
		statetest.Must(t, l.c.Get(t.Context(), client.ObjectKeyFromObject(config), config))
		d := meta.FindStatusCondition(config.Status.Conditions, v1alpha1.NodeConfigDrained)
		return d != nil && d.Status == metav1.ConditionFalse && d.Message == "1 left: shop/web is kept by PodDisruptionBudget never: 1 of its pods are healthy, and 1 have to be"
	})
	if s := l.state(web); s != "" {
		t.Fatalf("the pod is %s", s)
	}
	statetest.Must(t, l.c.Get(t.Context(), client.ObjectKeyFromObject(config), config))
	config.Spec = v1alpha1.NodeConfigSpec{Gone: true}
	statetest.Must(t, l.c.Update(t.Context(), config))
	statetest.Eventually(t, "a node that is gone is not asked", func() bool {
		l.clock.Move(15 * time.Second)
		l.beat("n2")
		l.wake("n1")
		return l.state(web) == "gone"
	})
}

// TestADrainHonoursBudgets: of three pods two have to stay healthy.
func TestADrainHonoursBudgets(t *testing.T) {
	t.Parallel()
	l := start(t)
	l.node("n1")
	two := intstr.FromInt32(2)
	budget := &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}, Spec: policyv1.PodDisruptionBudgetSpec{MinAvailable: &two, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}}}
	statetest.Must(t, l.c.Create(t.Context(), budget))
	pods := []*corev1.Pod{l.pod("a", "n1"), l.pod("b", "n1"), l.pod("c", "n1")}
	daemon := l.pod("daemon", "n1", func(p *corev1.Pod) {
		p.Labels = nil
		p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "DaemonSet", Name: "d", UID: "u", Controller: new(true)}}
	})
	statetest.Eventually(t, "the budget is counted", func() bool {
		statetest.Must(t, l.c.Get(t.Context(), client.ObjectKeyFromObject(budget), budget))
		return budget.Status.DisruptionsAllowed == 1 && budget.Status.CurrentHealthy == 3
	})
	leaving := func() (n int) {
		for _, p := range pods {
			if s := l.state(p); s == "leaving" || s == "gone" {
				n++
			}
		}
		return n
	}
	config := l.config("n1", v1alpha1.NodeConfigSpec{Drain: true})
	drained := func() metav1.Condition {
		statetest.Must(t, l.c.Get(t.Context(), client.ObjectKeyFromObject(config), config))
		if c := meta.FindStatusCondition(config.Status.Conditions, v1alpha1.NodeConfigDrained); c != nil {
			return *c
		}
		return metav1.Condition{}
	}
	statetest.Eventually(t, "one leaves, and the config says what keeps the others", func() bool {
		return leaving() == 1 && drained().Message != "" && drained().Reason == "Draining"
	})
	// A replacement elsewhere lets the next one go, and so on.
	for i := range 2 {
		if n := leaving(); n != i+1 {
			t.Fatalf("%d have left with %d replacements", n, i)
		}
		l.pod(fmt.Sprintf("new%d", i), "n2")
		statetest.Eventually(t, "one more leaves", func() bool { return leaving() == i+2 })
	}
	for _, p := range pods {
		var none int64
		statetest.Must(t, client.IgnoreNotFound(l.c.Delete(t.Context(), p, &client.DeleteOptions{GracePeriodSeconds: &none})))
	}
	statetest.Eventually(t, "it is drained", func() bool { return drained().Status == metav1.ConditionTrue })
	if l.state(daemon) != "" {
		t.Error("pods of DaemonSets stay")
	}
}

// TestANodeGetsWhatGitWantsOfIt also where it joins after the commit, and loses what leaves git.
func TestANodeGetsWhatGitWantsOfIt(t *testing.T) {
	t.Parallel()
	l := start(t)
	config := l.config("n1", v1alpha1.NodeConfigSpec{Labels: map[string]string{"zone": "a"}, Unschedulable: true, Taints: []corev1.Taint{{Key: "only", Value: "db", Effect: corev1.TaintEffectNoSchedule}}})
	reason := func() string {
		statetest.Must(t, l.c.Get(t.Context(), client.ObjectKeyFromObject(config), config))
		if c := meta.FindStatusCondition(config.Status.Conditions, v1alpha1.NodeConfigReady); c != nil {
			return c.Reason
		}
		return ""
	}
	statetest.Eventually(t, "it says that there is no such node", func() bool { return reason() == "NoSuchNode" })
	l.node("n1")
	get := func() *corev1.Node {
		var n corev1.Node
		statetest.Must(t, l.c.Get(t.Context(), client.ObjectKey{Name: "n1"}, &n))
		return &n
	}
	statetest.Eventually(t, "the node has it", func() bool {
		n := get()
		return n.Labels["zone"] == "a" && n.Spec.Unschedulable && len(n.Spec.Taints) == 1 && reason() == "Applied"
	})
	statetest.Must(t, l.c.Delete(t.Context(), config))
	statetest.Eventually(t, "the node has it no more", func() bool {
		n := get()
		return n.Labels["zone"] == "" && !n.Spec.Unschedulable && len(n.Spec.Taints) == 0 && n.Annotations[node.GivenLabels] == ""
	})
	if l.ready("n1") != corev1.ConditionTrue {
		t.Error("what the node reports is its own")
	}
}
