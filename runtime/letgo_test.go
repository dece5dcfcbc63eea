package runtime_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/runtime"
	"slipway.dev/slipway/runtime/engine/enginetest"
)

// rules are service rules that follow Endpoints no further than they are let.
type rules struct {
	mu sync.Mutex
	at uint64 // guarded by mu
}

func (r *rules) Follows(service types.NamespacedName, revision uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return service == types.NamespacedName{Namespace: "shop", Name: "web"} && revision <= r.at
}

func (r *rules) let(revision uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at = revision
}

// lead makes a service's Endpoints lead to the pods, and says since which revision.
func (l *lab) lead(pods ...*corev1.Pod) (revision uint64) {
	l.t.Helper()
	e := &corev1.Endpoints{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}}
	err := l.client.Get(l.t.Context(), client.ObjectKeyFromObject(e), e)
	e.Subsets = nil
	for i, p := range pods {
		e.Subsets = append(e.Subsets, corev1.EndpointSubset{Ports: []corev1.EndpointPort{{Port: 80}}, Addresses: []corev1.EndpointAddress{
			{IP: fmt.Sprintf("10.128.0.%d", i+2), TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: p.Namespace, Name: p.Name, UID: p.UID}}}})
	}
	if apierrors.IsNotFound(err) {
		err = l.client.Create(l.t.Context(), e)
	} else if err == nil {
		err = l.client.Update(l.t.Context(), e)
	}
	if err != nil {
		l.t.Fatal(err)
	}
	if _, err := fmt.Sscan(e.ResourceVersion, &revision); err != nil {
		l.t.Fatal(err)
	}
	return revision
}

// answers waits until a node's condition says that nothing there leads to the pods.
func (l *lab) answers(node string, pods ...*corev1.Pod) {
	l.t.Helper()
	var n corev1.Node
	l.poll("node "+node+" answers", func() bool {
		if err := l.client.Get(l.t.Context(), client.ObjectKey{Name: node}, &n); client.IgnoreNotFound(err) != nil {
			l.t.Fatal(err)
		}
		for _, c := range n.Status.Conditions {
			if c.Type != api.HandOver {
				continue
			}
			for _, p := range pods {
				if !strings.Contains(c.Message, string(p.UID)) {
					return false
				}
			}
			return true
		}
		return false
	}, func() any { return n.Status.Conditions })
}

func asked(pod *corev1.Pod) string {
	for _, c := range pod.Status.Conditions {
		if c.Type == api.HandOver {
			return string(c.Status) + " " + c.Message
		}
	}
	return ""
}

func (l *lab) gone(name string) {
	l.t.Helper()
	l.poll("pod "+name+" is gone", func() bool {
		return apierrors.IsNotFound(l.client.Get(l.t.Context(), client.ObjectKey{Namespace: "shop", Name: name}, &corev1.Pod{}))
	}, func() any { return l.get(name).Status })
}

// obedient says when it is that it ends when it is told to.
const obedient = "trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done"

func (l *lab) obeys(name string) {
	l.t.Helper()
	l.until(name, "the pod is ready", ready)
	l.poll("pod "+name+" is up", func() bool { return l.logs(name, "main", corev1.PodLogOptions{}) == "up\n" }, nothing)
}

// twoNodes are two agents on one live state, with their rules.
func twoNodes(t *testing.T) (a, b *lab, rulesOfA, rulesOfB *rules) {
	docker := enginetest.Client(t)
	rulesOfA, rulesOfB = &rules{}, &rules{}
	a = newLabIn(t, docker, t.TempDir(), func(o *runtime.Options) { o.Followers = []runtime.Follower{rulesOfA} })
	b = newLabIn(t, docker, t.TempDir(), func(o *runtime.Options) {
		o.Client, o.Node, o.Followers = a.client, "other", []runtime.Follower{rulesOfB}
	})
	b.stop()
	b.client = a.client
	b.start()
	if err := a.client.Create(t.Context(), &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"},
		Spec: corev1.ServiceSpec{Selector: map[string]string{"app": "web"}, Ports: []corev1.ServicePort{{Port: 80}}}}); err != nil {
		t.Fatal(err)
	}
	a.answers(node)
	a.answers("other")
	return a, b, rulesOfA, rulesOfB
}

// TestAPodIsStoppedWhenNothingLeadsToIt holds back one after the other what may still lead to a pod.
func TestAPodIsStoppedWhenNothingLeadsToIt(t *testing.T) {
	t.Parallel()
	a, b, rulesOfA, rulesOfB := twoNodes(t)
	grace := int64(60)
	pod := a.pod("web", corev1.PodSpec{TerminationGracePeriodSeconds: &grace, Containers: []corev1.Container{sh(obedient)}})
	a.obeys("web")
	a.lead(pod)
	runs := func(while string) {
		t.Helper()
		if a.running("main") == "" {
			t.Errorf("%s the pod was stopped", while)
		}
	}
	if err := a.client.Delete(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	a.poll("the pod is to go", func() bool { return a.get("web").DeletionTimestamp != nil }, nothing)
	runs("while Endpoints named it")
	revision := a.lead()
	want := fmt.Sprintf("False web@%d", revision)
	a.until("web", "other nodes are asked: "+want, func(p *corev1.Pod) bool { return asked(p) == want })
	runs("while this node's and another one's rules led to it")
	rulesOfB.let(revision)
	a.answers("other", pod)
	runs("while this node's rules led to it")
	if n := len(b.containers()); n > 0 {
		t.Errorf("the other node has made %d containers", n)
	}
	rulesOfA.let(revision)
	a.gone("web")

	// The other way round: now the other node is the last one.
	next := a.pod("web", corev1.PodSpec{TerminationGracePeriodSeconds: &grace, Containers: []corev1.Container{sh(obedient)}})
	a.obeys("web")
	a.lead(next)
	if err := a.client.Delete(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	revision = a.lead()
	rulesOfA.let(revision)
	a.until("web", "other nodes are asked", func(p *corev1.Pod) bool { return asked(p) == fmt.Sprintf("False web@%d", revision) })
	runs("while another node's rules led to it")
	rulesOfB.let(revision)
	a.gone("web")
}

// TestAHandOverHoldsNobodyUp has a node's rules stand still for good: pods go nevertheless, after their
// grace period, and it is said why so late.
func TestAHandOverHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	a, _, rulesOfA, _ := twoNodes(t)
	pod := a.pod("web", corev1.PodSpec{Containers: []corev1.Container{sh(forever)}}) // Its grace period is a second.
	a.until("web", "the pod is ready", ready)
	a.lead(pod)
	if err := a.client.Delete(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	rulesOfA.let(a.lead())
	a.gone("web")
	a.poll("it is said who held the pod up", a.event("web", "HandOverLate"), nothing)
}
