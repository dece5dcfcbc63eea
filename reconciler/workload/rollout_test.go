package workload

import (
	"fmt"
	"math/rand"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/reconciler/pods"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// web is a Deployment whose template runs an image of a version.
func web(version int, replicas int32, edits ...func(*appsv1.Deployment)) *appsv1.Deployment {
	d := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "d", Generation: 1},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web"}},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "web:" + strconv.Itoa(version)}}},
			},
		},
	}
	api.Default(d)
	for _, edit := range edits {
		edit(d)
	}
	return d
}

func limits(surge, unavailable string) func(*appsv1.Deployment) {
	return func(d *appsv1.Deployment) {
		s, u := intstr.Parse(surge), intstr.Parse(unavailable)
		d.Spec.Strategy.RollingUpdate = &appsv1.RollingUpdateDeployment{MaxSurge: &s, MaxUnavailable: &u}
	}
}

func recreating(d *appsv1.Deployment) {
	d.Spec.Strategy = appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType}
}

func paused(d *appsv1.Deployment) { d.Spec.Paused = true }

func history(n int32) func(*appsv1.Deployment) {
	return func(d *appsv1.Deployment) { d.Spec.RevisionHistoryLimit = &n }
}

// set is the set of a version: `version:replicas/available`, made as d asked for.
func set(t *testing.T, d *appsv1.Deployment, text string) (*appsv1.ReplicaSet, pods.Count) {
	t.Helper()
	var version int
	var replicas, available int32
	if _, err := fmt.Sscanf(text, "%d:%d/%d", &version, &replicas, &available); err != nil {
		t.Fatal(err)
	}
	of := d.DeepCopy()
	of.Spec.Template.Spec.Containers[0].Image = "web:" + strconv.Itoa(version)
	rs := newSet(of, replicas, int64(version))
	rs.Name, rs.CreationTimestamp = "web-"+strconv.Itoa(version), metav1.NewTime(noon.Add(time.Duration(version)*time.Minute))
	rs.Status.Replicas = replicas
	return rs, pods.Count{Live: replicas, Ready: available, Available: available}
}

func rollout(t *testing.T, d *appsv1.Deployment, sets string) Rollout {
	t.Helper()
	r := Rollout{Deployment: d, Pods: map[string]pods.Count{}, Now: noon}
	for _, text := range strings.Fields(sets) {
		rs, n := set(t, d, text)
		r.Sets, r.Pods[rs.Name] = append(r.Sets, rs), n
	}
	return r
}

func (d Decision) String() string {
	var out []string
	if d.Create != nil {
		out = append(out, fmt.Sprintf("create %s:%d", d.Create.Spec.Template.Spec.Containers[0].Image, *d.Create.Spec.Replicas))
	}
	for _, rs := range d.Update {
		out = append(out, fmt.Sprintf("%s:%d", rs.Name, *rs.Spec.Replicas))
	}
	for _, rs := range d.Delete {
		out = append(out, "delete "+rs.Name)
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

func TestDecide(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, sets string
		d          *appsv1.Deployment
		want       string
	}{
		{"the first set gets all", "", web(1, 3), "create web:1:3"},
		{"nothing to do", "1:3/3", web(1, 3), ""},
		{"a new template surges: 25% of 4 is 1", "1:4/4", web(2, 4), "create web:2:1"},
		{"rounding up what is above: 25% of 3 is 1", "1:3/3", web(2, 3), "create web:2:1"},
		{"rounding down what is below: 25% of 3 is 0", "1:3/3 2:1/0", web(2, 3), ""},
		{"one below of 4", "1:4/4 2:1/0", web(2, 4), "web-1:3"},
		{"both 0% means one below", "1:3/3", web(2, 3, limits("0", "10%")), "create web:2:0"},
		{"both 0% means one below, of the old set", "1:3/3 2:0/0", web(2, 3, limits("0", "10%")), "web-1:2"},
		{"a new one may come once an old one went", "1:2/2 2:0/0", web(2, 3, limits("0", "1")), "web-2:1"},
		{"an available new pod sends an old one away", "1:3/3 2:1/1", web(2, 3), "web-1:2"},
		{"pods that are not available go first", "1:1/1 2:2/0 3:1/0", web(3, 3, limits("1", "1")), "web-2:1"},
		{"from the oldest on", "1:2/2 2:2/2 3:2/2", web(3, 4, limits("2", "0")), "web-1:0"},
		{"what takes no part is brought to 0", "1:1/0 2:3/3", web(2, 3), "web-1:0"},
		{"surge as a number", "1:10/10", web(2, 10, limits("3", "0")), "create web:2:3"},
		{"scaled by a commit", "1:3/3", rescaledTo(web(1, 5)), "web-1:5"},
		{"scaled down", "1:3/3", rescaledTo(web(1, 1)), "web-1:1"},
		{"scaled up amid a rollout: in proportion", "1:8/8 2:5/2", rescaledFrom(10, web(2, 15, limits("3", "2"))), "web-1:11, web-2:7"},
		{"paused before the first set", "", web(1, 3, paused), ""},
		{"paused: no new set", "1:3/3", web(2, 3, paused), ""},
		{"paused: yet scaled", "1:3/3", rescaledTo(web(2, 4, paused)), "web-1:4"},
		{"recreate: all old ones go first", "1:3/3", web(2, 3, recreating), "web-1:0"},
		{"recreate: then the new set comes", "1:0/0", web(2, 3, recreating), "create web:2:3"},
		{"recreate: a set of before is used again", "1:0/0 2:0/0", revised(web(1, 3, recreating)), "web-1:3"},
		{"history", "1:0/0 2:0/0 3:3/3", web(3, 3, history(1)), "delete web-1"},
		{"no history while it rolls", "1:0/0 2:0/0 3:3/2", web(3, 3, history(0)), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := c.d.DeepCopy()
			was := notesOf(d)
			r := rollout(t, d, c.sets)
			for _, rs := range r.Sets {
				for k, v := range was {
					rs.Annotations[k] = v
				}
				if d.Annotations["test/revised"] != "" && sameTemplate(&rs.Spec.Template, &d.Spec.Template) {
					rs.Annotations[annotationRevision] = "9"
					rs.Annotations["test/revised"] = "yes"
				}
			}
			if got := Decide(r).String(); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

// rescaledTo says that the sets were scaled for three pods.
func rescaledTo(d *appsv1.Deployment) *appsv1.Deployment { return rescaledFrom(3, d) }

func rescaledFrom(n int32, d *appsv1.Deployment) *appsv1.Deployment {
	d.Labels = map[string]string{"was": strconv.Itoa(int(n))}
	return d
}

// revised says that the set of the template has its new revision already.
func revised(d *appsv1.Deployment) *appsv1.Deployment {
	d.Annotations = map[string]string{"test/revised": "yes"}
	return d
}

func notesOf(d *appsv1.Deployment) map[string]string {
	was := d.Labels["was"]
	if was == "" {
		return nil
	}
	n, _ := strconv.Atoi(was)
	before := d.DeepCopy()
	replicas := int32(n)
	before.Spec.Replicas = &replicas
	rs := &appsv1.ReplicaSet{}
	noteReplicas(rs, before)
	return rs.Annotations
}

// TestARolloutKeepsItsLimits plays rollouts with pods that come and become ready in any order.
func TestARolloutKeepsItsLimits(t *testing.T) {
	t.Parallel()
	for seed := range int64(60) {
		rnd := rand.New(rand.NewSource(seed))
		want := rnd.Int31n(9) + 1
		d := web(2, want, limits(strconv.Itoa(rnd.Intn(3))+"0%", strconv.Itoa(rnd.Intn(4)+1)+"0%"))
		surge, unavailable := fenceposts(d)
		r := rollout(t, d, fmt.Sprintf("1:%d/%d", want, want))
		done := false
		for range 5000 {
			switch rnd.Intn(3) {
			case 0:
				apply(&r, Decide(r))
			case 1:
				rs := r.Sets[rnd.Intn(len(r.Sets))]
				n := r.Pods[rs.Name]
				if n.Live < *rs.Spec.Replicas {
					n.Live++
				} else if n.Live > *rs.Spec.Replicas {
					n.Live--
					n.Available = min(n.Available, n.Live)
				}
				r.Pods[rs.Name] = n
			case 2:
				rs := r.Sets[rnd.Intn(len(r.Sets))]
				n := r.Pods[rs.Name]
				n.Available = min(n.Available+1, n.Live)
				r.Pods[rs.Name] = n
			}
			available := int32(0)
			for _, n := range r.Pods {
				available += n.Available
			}
			if asked := total(r.Sets); asked > want+surge {
				t.Fatalf("seed %d: %d pods asked for of %d+%d", seed, asked, want, surge)
			}
			if available < want-unavailable {
				t.Fatalf("seed %d: %d available of %d-%d", seed, available, want, unavailable)
			}
			if done = r.complete(); done {
				break
			}
		}
		if !done {
			t.Errorf("seed %d: does not end: %v of %d+%d-%d", seed, r.Pods, want, surge, unavailable)
		}
	}
}

func apply(r *Rollout, d Decision) {
	if d.Create != nil {
		r.Sets = append(r.Sets, d.Create)
		r.Pods[d.Create.Name] = pods.Count{}
	}
	for _, rs := range d.Update {
		for i := range r.Sets {
			if r.Sets[i].Name == rs.Name {
				r.Sets[i] = rs
			}
		}
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	say := func(d *appsv1.Deployment, reason string, ago time.Duration) *appsv1.Deployment {
		d.Status.Conditions = []appsv1.DeploymentCondition{{Type: appsv1.DeploymentProgressing, Status: corev1.ConditionTrue, Reason: reason, LastUpdateTime: metav1.NewTime(noon.Add(-ago))}}
		return d
	}
	counts := func(d *appsv1.Deployment, replicas, updated, available int32) *appsv1.Deployment {
		d.Status.Replicas, d.Status.UpdatedReplicas, d.Status.ReadyReplicas, d.Status.AvailableReplicas = replicas, updated, available, available
		return d
	}
	for _, c := range []struct {
		name, sets string
		d          *appsv1.Deployment
		progress   string
		available  corev1.ConditionStatus
		after      time.Duration
	}{
		{"found", "1:3/0", web(1, 3), "True FoundNewReplicaSet", "False", 601 * time.Second},
		{"complete", "1:3/3", say(web(1, 3), reasonCreated, 0), "True NewReplicaSetAvailable", "True", 0},
		{"stays complete when scaled", "1:5/3", say(web(1, 5), reasonAvailable, time.Hour), "True NewReplicaSetAvailable", "False", 0},
		{"progresses", "1:3/3 2:1/0", say(counts(web(2, 3), 3, 0, 3), reasonCreated, time.Minute), "True ReplicaSetUpdated", "True", 601 * time.Second},
		{"waits", "1:3/3 2:1/0", say(counts(web(2, 3), 4, 1, 3), reasonUpdated, time.Minute), "True ReplicaSetUpdated", "True", 541 * time.Second},
		{"is overdue", "1:3/3 2:1/0", say(counts(web(2, 3), 4, 1, 3), reasonUpdated, 601*time.Second), "False ProgressDeadlineExceeded", "True", 0},
		{"paused from the beginning", "", web(1, 3, paused), "Unknown DeploymentPaused", "False", 0},
		{"paused", "1:3/3", say(web(2, 3, paused), reasonAvailable, time.Hour), "Unknown DeploymentPaused", "True", 0},
		{"resumed", "1:3/3", say(web(2, 3), reasonPaused, time.Hour), "Unknown DeploymentResumed", "True", 601 * time.Second},
		{"25% of 4 may be missing", "1:4/3", web(1, 4), "True FoundNewReplicaSet", "True", 601 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, after := Status(rollout(t, c.d, c.sets))
			p, a := condition(s.Conditions, appsv1.DeploymentProgressing), condition(s.Conditions, appsv1.DeploymentAvailable)
			if got := fmt.Sprintf("%s %s", p.Status, p.Reason); got != c.progress || a.Status != c.available || after != c.after {
				t.Errorf("%s, available %s, after %v", got, a.Status, after)
			}
			if s.ObservedGeneration != 1 {
				t.Error("generation not observed")
			}
		})
	}
}

func TestRevisionsAreHandedOn(t *testing.T) {
	t.Parallel()
	d := web(1, 1)
	d.Annotations = map[string]string{"kubernetes.io/change-cause": "a commit", annotationRevision: "1"}
	old, _ := set(t, d, "1:0/0")
	got := withNotes(d, old, 3)
	if got.Annotations[annotationRevision] != "3" || got.Annotations[annotationRevisionHistory] != "1" || got.Annotations["kubernetes.io/change-cause"] != "a commit" {
		t.Errorf("annotations %v", got.Annotations)
	}
	if again := withNotes(d, got, 3); again != nil {
		t.Errorf("changed again: %v", again.Annotations)
	}
}
