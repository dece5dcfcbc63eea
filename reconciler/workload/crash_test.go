package workload_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/reconciler/workload"
	"slipway.dev/slipway/state/statetest"
)

// story is an update of an object, while the controllers die and are started again.
type story struct {
	object client.Object
	// update is the change that the process which dies has to carry out.
	update func(client.Object)
	// most and least are how many pods may be there at any moment, and how many must serve.
	most, least int
	// mixed says that pods of two versions may be there at once.
	mixed bool
	// pods are those at the end, as `owner image`, or `name image` where names are fixed.
	pods []string
	// left are the names of claims, and how many old templates are kept.
	claims []string
	kept   int
}

// ship is a story as it runs.
type ship struct {
	*testing.T
	story
	c          client.WithWatch
	began, now time.Time
	updating   bool
}

func (st story) begin(t *testing.T) *ship {
	t.Helper()
	now := time.Now()
	s := &ship{T: t, story: st, c: statetest.New(t), began: now, now: now}
	for _, name := range []string{"a", "b"} {
		s.must(s.c.Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}))
	}
	o := st.object.DeepCopyObject().(client.Object)
	s.must(s.c.Create(t.Context(), o))
	s.life(immortal, false)
	s.must(s.c.Get(t.Context(), client.ObjectKeyFromObject(o), o))
	st.update(o)
	s.must(s.c.Update(t.Context(), o))
	s.updating = true
	return s
}

func (s *ship) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

const immortal = 1 << 30

// life is one process: it works until nothing is left to do or it dies.
func (s *ship) life(left int, after bool) *statetest.Mortal {
	s.Helper()
	m := &statetest.Mortal{WithWatch: s.c, Left: left, After: after}
	all := workload.Controllers(workload.Deps{Client: m, Events: statetest.Silent{}, Clock: func() time.Time { return s.now }})
	lists := []client.ObjectList{&appsv1.ReplicaSetList{}, &appsv1.DeploymentList{}, &appsv1.StatefulSetList{}, &appsv1.DaemonSetList{}}
	for quiet := 0; quiet < 3; quiet++ {
		before := s.everything()
		for i, list := range lists {
			s.each(list, func(o client.Object) {
				if _, err := all[i].Reconcile(s.Context(), client.ObjectKeyFromObject(o)); err != nil && !m.Dead {
					s.Fatal(err)
				}
			})
		}
		if m.Dead {
			return m
		}
		s.node()
		if s.everything() != before {
			quiet = -1
		}
		s.now = s.now.Add(time.Second)
		if s.now.After(s.began.Add(5 * time.Minute)) {
			s.Fatalf("it does not come to rest: %v", s.running())
		}
	}
	return m
}

func (s *ship) each(list client.ObjectList, do func(client.Object)) {
	s.must(s.c.List(s.Context(), list))
	s.must(meta.EachListItem(list, func(o runtime.Object) error { do(o.(client.Object)); return nil }))
}

// everything changes with all that is written.
func (s *ship) everything() string {
	var b strings.Builder
	for _, list := range []client.ObjectList{&corev1.PodList{}, &appsv1.ReplicaSetList{}, &appsv1.DeploymentList{}, &appsv1.StatefulSetList{}, &appsv1.DaemonSetList{}} {
		s.each(list, func(o client.Object) { b.WriteString(o.GetName() + o.GetResourceVersion() + " ") })
	}
	return b.String()
}

// node runs every pod until it is deleted, and checks what must hold at every moment.
func (s *ship) node() {
	s.Helper()
	serving, images := 0, map[string]bool{}
	var all corev1.PodList
	s.must(s.c.List(s.Context(), &all))
	for i := range all.Items {
		p := &all.Items[i]
		images[p.Spec.Containers[0].Image] = true
		if p.DeletionTimestamp == nil && p.Status.Phase == corev1.PodRunning {
			serving++
		}
	}
	if s.updating && (len(all.Items) > s.most || serving < s.least || len(images) > 1 && !s.mixed) {
		s.Fatalf("%d pods, of which %d serve, with images %v: at most %d, at least %d", len(all.Items), serving, images, s.most, s.least)
	}
	for i := range all.Items {
		p := &all.Items[i]
		if p.DeletionTimestamp != nil {
			s.must(s.c.Delete(s.Context(), p, client.GracePeriodSeconds(0)))
			continue
		}
		if p.Status.Phase == corev1.PodRunning {
			continue
		}
		p.Status.Phase = corev1.PodRunning
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(s.now)}}
		s.must(s.c.Status().Update(s.Context(), p))
	}
}

// running lists the pods, as story.pods does.
func (s *ship) running() (pods []string) {
	s.each(&corev1.PodList{}, func(o client.Object) {
		p := o.(*corev1.Pod)
		name := p.Name
		if p.GenerateName != "" {
			name = metav1.GetControllerOf(p).Kind
		}
		if a := p.Spec.Affinity; a != nil {
			name = a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms[0].MatchFields[0].Values[0]
		}
		pods = append(pods, name+" "+p.Spec.Containers[0].Image)
	})
	slices.Sort(pods)
	return pods
}

func (s *ship) check(when string) {
	s.Helper()
	if got := s.running(); !slices.Equal(got, s.pods) {
		s.Fatalf("%s: there run %v, want %v", when, got, s.pods)
	}
	var claims []string
	kept := 0
	s.each(&corev1.PersistentVolumeClaimList{}, func(o client.Object) { claims = append(claims, o.GetName()) })
	for _, list := range []client.ObjectList{&appsv1.ReplicaSetList{}, &appsv1.ControllerRevisionList{}} {
		s.each(list, func(client.Object) { kept++ })
	}
	if slices.Sort(claims); !slices.Equal(claims, s.claims) || kept != s.kept {
		s.Fatalf("%s: claims %v, want %v; %d templates, want %d", when, claims, s.claims, kept, s.kept)
	}
}

// everywhere has the process die before each write of a story; then every process dies after
// its first write, and the next one goes on. The story always comes to its end.
func (st story) everywhere(t *testing.T) {
	t.Parallel()
	for n := 1; ; n++ {
		s := st.begin(t)
		m := s.life(n, false)
		if !m.Dead {
			if n < 6 {
				t.Fatalf("there were only %d writes", n-1)
			}
			s.check("nobody died")
			break
		}
		s.life(immortal, false)
		s.check(fmt.Sprintf("died before write %d (%s)", n, m.Last))
	}
	s := st.begin(t)
	for s.life(1, true).Dead {
		s.node()
		s.now = s.now.Add(time.Second)
	}
	s.check("one write a life")
}

func two(d *appsv1.Deployment) {
	n, one, none := int32(2), intstr.FromInt32(1), intstr.FromInt32(0)
	d.Spec.Replicas = &n
	d.Spec.Strategy.RollingUpdate = &appsv1.RollingUpdateDeployment{MaxSurge: &one, MaxUnavailable: &none}
}

func TestDeathAtEveryWriteOfADeployment(t *testing.T) {
	story{
		object: deployment(two), update: func(o client.Object) { runs("web:2")(o.(*appsv1.Deployment)) },
		// A pod that is going is there until its node has seen it.
		most: 4, least: 2, mixed: true, pods: []string{"ReplicaSet web:2", "ReplicaSet web:2"}, kept: 2,
	}.everywhere(t)
}

func TestDeathAtEveryWriteOfARecreatedDeployment(t *testing.T) {
	story{
		object: deployment(replicas(2), func(d *appsv1.Deployment) { d.Spec.Strategy.Type = appsv1.RecreateDeploymentStrategyType }),
		update: func(o client.Object) { runs("web:2")(o.(*appsv1.Deployment)) },
		most:   2, pods: []string{"ReplicaSet web:2", "ReplicaSet web:2"}, kept: 2,
	}.everywhere(t)
}

func TestDeathAtEveryWriteOfAStatefulSet(t *testing.T) {
	n := int32(2)
	set := &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "db"}, Spec: appsv1.StatefulSetSpec{
		Replicas: &n, ServiceName: "db", Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}, Template: template("db:1"),
		VolumeClaimTemplates: []corev1.PersistentVolumeClaim{{ObjectMeta: metav1.ObjectMeta{Name: "data"}, Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		}}},
	}}
	story{
		object: set, update: func(o client.Object) {
			three := int32(3)
			o.(*appsv1.StatefulSet).Spec.Template.Spec.Containers[0].Image, o.(*appsv1.StatefulSet).Spec.Replicas = "db:2", &three
		},
		most: 3, least: 1, mixed: true, pods: []string{"db-0 db:2", "db-1 db:2", "db-2 db:2"}, claims: []string{"data-db-0", "data-db-1", "data-db-2"}, kept: 2,
	}.everywhere(t)
}

func TestDeathAtEveryWriteOfADaemonSet(t *testing.T) {
	set := &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "agent"}, Spec: appsv1.DaemonSetSpec{
		Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}, Template: template("agent:1")}}
	story{
		object: set, update: func(o client.Object) { o.(*appsv1.DaemonSet).Spec.Template.Spec.Containers[0].Image = "agent:2" },
		most: 2, least: 1, mixed: true, pods: []string{"a agent:2", "b agent:2"}, kept: 2,
	}.everywhere(t)
}
