package deploy

import (
	"fmt"
	"math/rand"
	"reflect"
	"testing"
	"time"

	appsv1 "github.com/openshift/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"slipway.dev/slipway/reconciler/pods"
)

func madePod(name string, age time.Duration, edit ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.NewTime(noon.Add(-age))}}
	p.Status.Phase = corev1.PodRunning
	p.Spec.NodeName = "node"
	for _, e := range edit {
		e(p)
	}
	return p
}

func readyFor(d time.Duration) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(noon.Add(-d))}}
	}
}

func ended(p *corev1.Pod)     { p.Status.Phase = corev1.PodFailed }
func unbound(p *corev1.Pod)   { p.Spec.NodeName, p.Status.Phase = "", corev1.PodPending }
func beingGone(p *corev1.Pod) { now := metav1.NewTime(noon); p.DeletionTimestamp = &now }

func TestDecideReplicas(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		replicas   int32
		pods       []*corev1.Pod
		wantCreate int
		wantDelete []string
		wantAfter  time.Duration
	}{
		"up":                             {replicas: 3, pods: []*corev1.Pod{madePod("a", 0)}, wantCreate: 2},
		"enough":                         {replicas: 1, pods: []*corev1.Pod{madePod("a", 0)}},
		"a pod that is going is no pod":  {replicas: 1, pods: []*corev1.Pod{madePod("a", 0, beingGone)}, wantCreate: 1},
		"a pod that is over is replaced": {replicas: 1, pods: []*corev1.Pod{madePod("a", 0, ended)}, wantCreate: 1},
		"pods over in a row slow it down": {replicas: 1, pods: []*corev1.Pod{madePod("a", time.Second, ended), madePod("b", 9*time.Second, ended)},
			wantAfter: 3 * time.Second},
		"old ones are removed": {replicas: 1, pods: []*corev1.Pod{madePod("a", time.Hour, ended), madePod("b", 4*time.Hour, ended), madePod("c", 2*time.Hour, ended), madePod("d", 3*time.Hour, ended)},
			wantCreate: 1, wantDelete: []string{"b"}},
		"unscheduled first, then not ready, then the youngest": {replicas: 1, pods: []*corev1.Pod{
			madePod("old", time.Hour, readyFor(time.Hour)), madePod("young", time.Minute, readyFor(time.Minute)),
			madePod("unready", 2*time.Hour), madePod("unbound", 3*time.Hour, unbound)},
			wantDelete: []string{"unbound", "unready", "young"}},
		"to none": {replicas: 0, pods: []*corev1.Pod{madePod("a", 0), madePod("dead", 0, ended)}, wantDelete: []string{"dead", "a"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rc := version(t, 1, phaseComplete, c.replicas)
			got := DecideReplicas(rc, c.pods, noon)
			var names []string
			for _, p := range got.Delete {
				names = append(names, p.Name)
			}
			if got.Create != c.wantCreate || !reflect.DeepEqual(names, c.wantDelete) || got.After != c.wantAfter {
				t.Errorf("create %d delete %v after %v, want %d %v %v", got.Create, names, got.After, c.wantCreate, c.wantDelete, c.wantAfter)
			}
		})
	}
}

func TestReplicasStatus(t *testing.T) {
	t.Parallel()
	rc := version(t, 1, phaseComplete, 3)
	rc.Generation, rc.Spec.MinReadySeconds = 9, 10
	labelled := func(p *corev1.Pod) { p.Labels = rc.Spec.Template.Labels }
	s, next := ReplicasStatus(rc, []*corev1.Pod{
		madePod("a", 0, readyFor(time.Minute), labelled), madePod("b", 0, readyFor(4*time.Second)), madePod("c", 0), madePod("d", 0, ended), madePod("e", 0, beingGone),
	}, noon)
	want := corev1.ReplicationControllerStatus{Replicas: 3, FullyLabeledReplicas: 1, ReadyReplicas: 2, AvailableReplicas: 1, ObservedGeneration: 9}
	if !reflect.DeepEqual(s, want) || next != 6*time.Second {
		t.Errorf("status %+v in %v, want %+v in 6s", s, next, want)
	}
}

// TestRollingKeepsItsPromises plays rollouts against pods that start, become ready and
// end in random order, some of the old ones being sick, with every controller looking
// at random moments. It asks at each moment: never more pods than the surge allows,
// and once minAvailable are available never fewer; before that never fewer than were.
func TestRollingKeepsItsPromises(t *testing.T) {
	t.Parallel()
	for seed := range int64(400) {
		rnd := rand.New(rand.NewSource(seed))
		desired := int32(1 + rnd.Intn(9))
		p := &appsv1.RollingDeploymentStrategyParams{}
		pick := []string{"0", "1", "2", "25%", "50%", "100%"}
		if rnd.Intn(3) > 0 {
			s, u := intstr.Parse(pick[rnd.Intn(6)]), intstr.Parse(pick[rnd.Intn(6)])
			p.MaxSurge, p.MaxUnavailable = &s, &u
		}
		surge, unavailable := fenceposts(p, desired)
		w := &world{t: t, rnd: rnd, now: noon, pods: map[string][]*corev1.Pod{}}
		strategy := appsv1.DeploymentStrategy{Type: appsv1.DeploymentStrategyTypeRolling, RollingParams: p}
		scale := func(dc *appsv1.DeploymentConfig) { dc.Spec.Replicas = desired }
		from, other, to := version(t, 1, phaseComplete, desired, scale), version(t, 2, phaseFailed, 0, scale), version(t, 3, phaseRunning, 0, scale)
		if left := int32(rnd.Intn(int(desired) + 1)); rnd.Intn(2) == 0 {
			*from.Spec.Replicas, *other.Spec.Replicas = desired-left, left
		}
		rcs := []*corev1.ReplicationController{from, other, to}
		for _, rc := range rcs {
			w.replicate(rc)
		}
		for _, pods := range w.pods {
			for _, pod := range pods {
				if rnd.Intn(5) > 0 {
					readyFor(time.Hour)(pod)
				}
			}
		}
		done, floor := false, int32(0)
		for range 3000 {
			switch rnd.Intn(4) {
			case 0:
				r := Rollout{Strategy: strategy, To: to, From: from, Others: []*corev1.ReplicationController{other}, Now: w.now, Pods: map[string]pods.Count{}}
				for _, rc := range rcs {
					r.Pods[rc.Name] = pods.CountOf(w.pods[rc.Name], 0, w.now)
				}
				m := Step(r)
				for _, s := range m.Scale {
					n := s.To
					named(rcs, s.Name).Spec.Replicas = &n
					named(rcs, s.Name).Annotations[annotationScaled] = w.now.Format(time.RFC3339Nano)
				}
				done = m.Phase == phaseComplete
				if m.Phase == phaseFailed {
					t.Fatalf("seed %d: %s", seed, m.Reason)
				}
			case 1:
				w.replicate(rcs[rnd.Intn(3)])
			case 2:
				w.becomeReady(to)
			case 3:
				w.now = w.now.Add(time.Duration(rnd.Intn(700)) * time.Millisecond)
			}
			total, available := int32(0), int32(0)
			for _, rc := range rcs {
				n := pods.CountOf(w.pods[rc.Name], 0, w.now)
				total, available = total+n.Live, available+n.Available
			}
			if total > desired+surge || available < floor {
				t.Fatalf("seed %d: %d pods, %d available after %d; desired %d, surge %d, unavailable %d", seed, total, available, floor, desired, surge, unavailable)
			}
			floor = max(floor, min(available, desired-unavailable))
			if done {
				break
			}
		}
		if !done {
			t.Fatalf("seed %d: desired %d, surge %d, unavailable %d: the rollout did not come to its end", seed, desired, surge, unavailable)
		}
	}
}

// world holds pods as the ReplicationController controller would make them.
type world struct {
	t    *testing.T
	rnd  *rand.Rand
	now  time.Time
	pods map[string][]*corev1.Pod
	made int
}

func (w *world) replicate(rc *corev1.ReplicationController) {
	d := DecideReplicas(rc, w.pods[rc.Name], w.now)
	for range d.Create {
		w.made++
		pod := madePod(fmt.Sprintf("p%d", w.made), 0)
		pod.CreationTimestamp = metav1.NewTime(w.now)
		w.pods[rc.Name] = append(w.pods[rc.Name], pod)
	}
	for _, gone := range d.Delete {
		for i, p := range w.pods[rc.Name] {
			if p == gone {
				w.pods[rc.Name] = append(w.pods[rc.Name][:i:i], w.pods[rc.Name][i+1:]...)
			}
		}
	}
}

func (w *world) becomeReady(rc *corev1.ReplicationController) {
	if own := w.pods[rc.Name]; len(own) > 0 {
		p := own[w.rnd.Intn(len(own))]
		if !pods.Ready(p) {
			readyFor(0)(p)
			p.Status.Conditions[0].LastTransitionTime = metav1.NewTime(w.now)
		}
	}
}
