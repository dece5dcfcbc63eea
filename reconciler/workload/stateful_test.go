package workload

import (
	"fmt"
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
)

// db is a StatefulSet with a claim.
func db(replicas int32, edits ...func(*appsv1.StatefulSet)) *appsv1.StatefulSet {
	set := &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "db", UID: "s"},
		Spec: appsv1.StatefulSetSpec{
			Replicas: &replicas, ServiceName: "db", Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "db"}},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "db"}},
				Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "db", Image: "db:1"}},
					Volumes: []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}},
			},
			VolumeClaimTemplates: []corev1.PersistentVolumeClaim{{ObjectMeta: metav1.ObjectMeta{Name: "data", Labels: map[string]string{"tier": "gold"}}}},
		},
	}
	api.Default(set)
	for _, e := range edits {
		e(set)
	}
	return set
}

func parallel(s *appsv1.StatefulSet) { s.Spec.PodManagementPolicy = appsv1.ParallelPodManagement }
func onDelete(s *appsv1.StatefulSet) {
	s.Spec.UpdateStrategy = appsv1.StatefulSetUpdateStrategy{Type: appsv1.OnDeleteStatefulSetStrategyType}
}

func partition(n int32) func(*appsv1.StatefulSet) {
	return func(s *appsv1.StatefulSet) { s.Spec.UpdateStrategy.RollingUpdate.Partition = &n }
}

func atMost(n int) func(*appsv1.StatefulSet) {
	return func(s *appsv1.StatefulSet) {
		v := intstr.FromInt(n)
		s.Spec.UpdateStrategy.RollingUpdate.MaxUnavailable = &v
	}
}

func startsAt(n int32) func(*appsv1.StatefulSet) {
	return func(s *appsv1.StatefulSet) { s.Spec.Ordinals = &appsv1.StatefulSetOrdinals{Start: n} }
}

// members are a set's pods: `number` of the current revision, `number*` of the newest,
// followed by - for one that is not ready, x for one that is leaving, f for one that failed,
// ! for one that cannot start.
func members(text string) []*corev1.Pod {
	var out []*corev1.Pod
	for _, word := range strings.Fields(text) {
		number := strings.TrimRight(word, "*-xf!")
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "db-" + number, Labels: map[string]string{appsv1.ControllerRevisionHashLabelKey: "one"}}}
		p.Status.Phase = corev1.PodRunning
		ready := corev1.ConditionTrue
		for _, mark := range strings.TrimPrefix(word, number) {
			switch mark {
			case '*':
				p.Labels[appsv1.ControllerRevisionHashLabelKey] = "two"
			case '-':
				ready = corev1.ConditionFalse
			case 'x':
				p.DeletionTimestamp = &metav1.Time{Time: noon}
			case 'f':
				p.Status.Phase, ready = corev1.PodFailed, corev1.ConditionFalse
			case '!':
				ready = corev1.ConditionFalse
				p.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff"}}}}
			}
		}
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: ready, LastTransitionTime: metav1.NewTime(noon.Add(-time.Minute))}}
		out = append(out, p)
	}
	return out
}

func (c StatefulChange) String() string {
	var out []string
	for _, p := range c.Create {
		out = append(out, "+"+strings.TrimPrefix(p.Name, "db-")+":"+revisionOfPod(p))
	}
	for _, p := range c.Delete {
		out = append(out, "-"+strings.TrimPrefix(p.Name, "db-"))
	}
	return strings.Join(out, " ")
}

func stateful(set *appsv1.StatefulSet, pods string) Stateful {
	newest := set.Spec.Template.DeepCopy()
	newest.Spec.Containers[0].Image = "db:2"
	return Stateful{Set: set, Pods: members(pods), Current: Version{"one", &set.Spec.Template}, Update: Version{"two", newest}, Now: noon}
}

func TestDecideStateful(t *testing.T) {
	t.Parallel()
	late := func(s *appsv1.StatefulSet) { s.Spec.MinReadySeconds = 90 }
	for _, c := range []struct {
		name, pods string
		set        *appsv1.StatefulSet
		want       string
	}{
		{"one after the other", "", db(3), "+0:two"},
		{"waits for readiness", "0*-", db(3), ""},
		{"waits for minReadySeconds", "0*", db(3, late), ""},
		{"then the next", "0*", db(3), "+1:two"},
		{"parallel", "0*-", db(3, parallel), "+1:two +2:two"},
		{"numbers that begin elsewhere", "", db(2, startsAt(5), parallel), "+5:two +6:two"},
		{"a hole is filled first", "1* 2*", db(3), "+0:two"},
		{"one that failed is replaced", "0* 1*f 2*", db(3), "-1"},
		{"one that leaves is waited for", "0* 1*x 2*", db(3), ""},
		{"the highest goes first", "0* 1* 2*", db(1), "-2"},
		{"one at a time", "0* 1* 2*x", db(1), ""},
		{"parallel: all at once", "0* 1* 2*", db(1, parallel), "-2 -1"},
		{"none goes while a lower one is not ready", "0*- 1* 2*", db(1), ""},
		{"the one that is not ready may go itself", "0* 1* 2*-", db(1), "-2"},
		{"a lower one before it is waited for", "0* 1*- 2*-", db(1), ""},
		{"an update begins at the top", "0 1 2", db(3), "-2"},
		{"and waits", "0 1 2*-", db(3), ""},
		{"and goes on", "0 1 2*", db(3), "-1"},
		{"down to the partition", "0 1 2*", db(3, partition(2)), ""},
		{"below it the old template is used", "2*", db(3, partition(2)), "+0:one"},
		{"above it the new one", "0 1", db(3, partition(2)), "+2:two"},
		{"on delete: by hand", "0 1 2", db(3, onDelete), ""},
		{"on delete: what comes is new", "0 1", db(3, onDelete), "+2:two"},
		{"several at once", "0 1 2 3", db(4, atMost(2)), "-3 -2"},
		{"as long as no more are missing", "0 1- 2 3", db(4, atMost(2), parallel), "-3 -1"},
		{"a pod that cannot start does not block its mending", "0 1!", db(3), "-1"},
		{"one of the newest template does", "0 1*!", db(3), ""},
		{"nor does it below the partition", "0! 1", db(2, partition(1)), ""},
		{"a name that is none of the set's", "0* x 01", db(1), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := DecideStateful(stateful(c.set, c.pods)).String(); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
	if after := DecideStateful(stateful(db(3, late), "0*")).After; after != 30*time.Second {
		t.Errorf("looks again after %v", after)
	}
}

func TestStatefulStatus(t *testing.T) {
	t.Parallel()
	for pods, want := range map[string]string{
		"0 1 2":    "one two 3 3 current 3 updated 0",
		"0 1 2*-":  "one two 3 2 current 2 updated 1",
		"0* 1* 2*": "two two 3 3 current 3 updated 3",
		"0* 1* 2x": "one two 3 3 current 0 updated 2",
	} {
		s := StatefulStatus(stateful(db(3), pods))
		if got := fmt.Sprintf("%s %s %d %d current %d updated %d", s.CurrentRevision, s.UpdateRevision, s.Replicas, s.ReadyReplicas, s.CurrentReplicas, s.UpdatedReplicas); got != want {
			t.Errorf("%s: %s, want %s", pods, got, want)
		}
	}
}

func TestAPodsIdentity(t *testing.T) {
	t.Parallel()
	s := stateful(db(2), "")
	p := s.pod(1)
	if p.Name != "db-1" || p.Spec.Hostname != "db-1" || p.Spec.Subdomain != "db" || p.Labels["statefulset.kubernetes.io/pod-name"] != "db-1" ||
		p.Labels["apps.kubernetes.io/pod-index"] != "1" || p.Labels["controller-revision-hash"] != "two" || p.Labels["app"] != "db" {
		t.Errorf("pod %+v %+v", p.ObjectMeta, p.Spec)
	}
	if len(p.Spec.Volumes) != 1 || p.Spec.Volumes[0].PersistentVolumeClaim == nil || p.Spec.Volumes[0].PersistentVolumeClaim.ClaimName != "data-db-1" {
		t.Errorf("volumes %+v", p.Spec.Volumes)
	}
	c := claimsOf(s.Set, "db-1")[0]
	if c.Name != "data-db-1" || c.Labels["app"] != "db" || c.Labels["tier"] != "gold" {
		t.Errorf("claim %+v", c.ObjectMeta)
	}
}

func TestClaimsBelongToWhatTakesThemAlong(t *testing.T) {
	t.Parallel()
	const retain, remove = appsv1.RetainPersistentVolumeClaimRetentionPolicyType, appsv1.DeletePersistentVolumeClaimRetentionPolicyType
	stranger := metav1.OwnerReference{Kind: "ConfigMap", Name: "x"}
	gone := metav1.OwnerReference{Kind: "Pod", Name: "db-1", UID: "gone"}
	for _, c := range []struct {
		deleted, scaled appsv1.PersistentVolumeClaimRetentionPolicyType
		condemned       bool
		want            string
	}{
		{retain, retain, false, "ConfigMap"}, {retain, retain, true, "ConfigMap"},
		{remove, retain, false, "ConfigMap StatefulSet"}, {remove, retain, true, "ConfigMap StatefulSet"},
		{retain, remove, false, "ConfigMap"}, {retain, remove, true, "ConfigMap Pod"},
		{remove, remove, false, "ConfigMap StatefulSet"}, {remove, remove, true, "ConfigMap Pod"},
	} {
		set := db(1, func(s *appsv1.StatefulSet) {
			s.Spec.PersistentVolumeClaimRetentionPolicy = &appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy{WhenDeleted: c.deleted, WhenScaled: c.scaled}
		})
		var got []string
		for _, r := range claimOwners(set, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "db-1", UID: "p"}}, c.condemned, []metav1.OwnerReference{stranger, gone}) {
			got = append(got, r.Kind)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

// agents is a DaemonSet; nodes a to e are there unless a test says otherwise.
func agents(edits ...func(*appsv1.DaemonSet)) *appsv1.DaemonSet {
	d := &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "agent", UID: "a"},
		Spec: appsv1.DaemonSetSpec{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "agent"}}, Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "agent"}}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "agent:1"}}}}},
	}
	api.Default(d)
	for _, e := range edits {
		e(d)
	}
	return d
}

func rolling(surge, unavailable int) func(*appsv1.DaemonSet) {
	return func(d *appsv1.DaemonSet) {
		s, u := intstr.FromInt(surge), intstr.FromInt(unavailable)
		d.Spec.UpdateStrategy.RollingUpdate = &appsv1.RollingUpdateDaemonSet{MaxSurge: &s, MaxUnavailable: &u}
	}
}

// daemons reads nodes: `name` with, after a colon, its pods: o of an old template, n of the
// newest, each followed by - where it is not ready, x where it leaves, f where it failed.
func daemons(set *appsv1.DaemonSet, text string) Daemons {
	d := Daemons{Set: set, Revision: "new", Now: noon}
	for i, word := range strings.Fields(text) {
		name, there, _ := strings.Cut(word, ":")
		if !strings.HasPrefix(name, "?") {
			n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"disk": "ssd"}}}
			switch name {
			case "cordoned":
				n.Spec.Taints = []corev1.Taint{{Key: corev1.TaintNodeUnschedulable, Effect: corev1.TaintEffectNoSchedule}}
			case "away":
				n.Spec.Taints = []corev1.Taint{{Key: corev1.TaintNodeUnreachable, Effect: corev1.TaintEffectNoExecute}}
			case "tainted":
				n.Spec.Taints = []corev1.Taint{{Key: "only", Value: "db", Effect: corev1.TaintEffectNoSchedule}}
			case "cleared":
				n.Spec.Taints = []corev1.Taint{{Key: "only", Value: "db", Effect: corev1.TaintEffectNoExecute}}
			case "slow":
				n.Labels = map[string]string{"disk": "hdd"}
			}
			d.Nodes = append(d.Nodes, n)
		}
		for j, mark := range there {
			switch mark {
			case 'o', 'n':
				p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s-%d%c", strings.TrimPrefix(name, "?"), j, mark), CreationTimestamp: metav1.NewTime(noon.Add(time.Duration(i+j-100) * time.Second)),
					Labels: map[string]string{appsv1.DefaultDaemonSetUniqueLabelKey: map[rune]string{'o': "old", 'n': "new"}[mark]}}}
				p.Spec = d.template(strings.TrimPrefix(name, "?")).Spec
				p.Status.Phase = corev1.PodRunning
				p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(noon.Add(-time.Minute))}}
				d.Pods = append(d.Pods, p)
			case '-':
				d.Pods[len(d.Pods)-1].Status.Conditions = nil
			case 'x':
				d.Pods[len(d.Pods)-1].DeletionTimestamp = &metav1.Time{Time: noon}
			case 'f':
				d.Pods[len(d.Pods)-1].Status.Phase = corev1.PodFailed
			}
		}
	}
	return d
}

func (c DaemonChange) String() string {
	var out []string
	for _, n := range c.Create {
		out = append(out, "+"+n)
	}
	for _, p := range c.Delete {
		out = append(out, "-"+p.Name)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func TestDecideDaemons(t *testing.T) {
	t.Parallel()
	ssd := func(d *appsv1.DaemonSet) { d.Spec.Template.Spec.NodeSelector = map[string]string{"disk": "ssd"} }
	tolerant := func(d *appsv1.DaemonSet) {
		d.Spec.Template.Spec.Tolerations = []corev1.Toleration{{Key: "only", Value: "db"}}
	}
	byHand := func(d *appsv1.DaemonSet) {
		d.Spec.UpdateStrategy = appsv1.DaemonSetUpdateStrategy{Type: appsv1.OnDeleteDaemonSetStrategyType}
	}
	for _, c := range []struct {
		name, nodes string
		set         *appsv1.DaemonSet
		want        string
	}{
		{"one on each", "a b:n c", agents(), "+a +c"},
		{"on cordoned and unreachable nodes too", "cordoned away", agents(), "+away +cordoned"},
		{"not where a taint forbids it", "a:n tainted cleared", agents(), ""},
		{"what runs where new ones may not come stays", "tainted:n", agents(), ""},
		{"what may not stay goes", "cleared:n", agents(), "-cleared-0n"},
		{"unless it tolerates that", "tainted cleared:n", agents(tolerant), "+tainted"},
		{"by node selector", "a slow:n", agents(ssd), "+a -slow-0n"},
		{"a node that is gone", "a:n ?b:n", agents(), "-b-0n"},
		{"doubles go, the oldest stays", "a:nn", agents(), "-a-1n"},
		{"one that failed is replaced", "a:nf", agents(), "-a-0n"},
		{"one that leaves is waited for", "a:nx", agents(), ""},
		{"an update, one node at a time", "a:o b:o c:o", agents(), "-a-0o"},
		{"waits", "a:n- b:o c:o", agents(), ""},
		{"waits for one that is coming", "a:ox b:o c:o", agents(), ""},
		{"one that is not ready is replaced at once", "a:n- b:o- c:o", agents(), "-b-0o"},
		{"two at a time", "a:o b:o c:o", agents(rolling(0, 2)), "-a-0o -b-0o"},
		{"on delete", "a:o b:o", agents(byHand), ""},
		{"surge: the new one first", "a:o b:o", agents(rolling(1, 0)), "+a"},
		{"surge: waits", "a:on- b:o", agents(rolling(1, 0)), ""},
		{"surge: then the old one goes, and the next node begins", "a:on b:o", agents(rolling(1, 0)), "+b -a-0o"},
		{"surge: a broken one is replaced at once", "a:o- b:o", agents(rolling(1, 0)), "+a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := DecideDaemons(daemons(c.set, c.nodes)).String(); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func TestDaemonStatus(t *testing.T) {
	t.Parallel()
	s := DaemonStatus(daemons(agents(), "a:n b:o- c tainted:n"))
	got := []int32{s.DesiredNumberScheduled, s.CurrentNumberScheduled, s.NumberMisscheduled, s.NumberReady, s.UpdatedNumberScheduled, s.NumberAvailable, s.NumberUnavailable}
	if want := []int32{3, 2, 1, 1, 1, 1, 2}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestADaemonIsBoundToItsNode(t *testing.T) {
	t.Parallel()
	d := daemons(agents(), "a")
	p := &corev1.Pod{Spec: d.template("a").Spec}
	if nodeOf(p) != "a" || len(p.Spec.Tolerations) != len(tolerated) {
		t.Errorf("%+v", p.Spec)
	}
	p.Spec.NodeName = "b"
	if nodeOf(p) != "b" {
		t.Error(strconv.Quote(nodeOf(p)))
	}
}
