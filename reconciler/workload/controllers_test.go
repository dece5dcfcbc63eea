package workload_test

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/reconciler/workload"
	"slipway.dev/slipway/state/event"
	"slipway.dev/slipway/state/statetest"
)

// cluster is one with the controllers running.
type cluster struct {
	*statetest.Cluster
	stop func()
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	k := &cluster{Cluster: statetest.NewCluster(t)}
	k.start()
	return k
}

// start runs the controllers under test, as a process of its own would.
func (k *cluster) start() {
	log := slog.New(slog.NewTextHandler(k.T.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	k.stop = statetest.Run(k.T, k.C, workload.Controllers(workload.Deps{Client: k.C, Events: event.New(k.C, "workload", slog.New(slog.DiscardHandler)), Log: log})...)
}

// edit changes an object, trying again where a controller wrote in between.
func edit[T client.Object](k *cluster, o T, change func(T)) {
	k.T.Helper()
	k.Eventually("edit "+o.GetName(), func() (bool, string) {
		if err := k.C.Get(k.T.Context(), client.ObjectKeyFromObject(o), o); err != nil {
			return false, err.Error()
		}
		change(o)
		err := k.C.Update(k.T.Context(), o)
		return err == nil, fmt.Sprint(err)
	})
}

func (k *cluster) read(o client.Object) {
	k.T.Helper()
	if err := k.C.Get(k.T.Context(), client.ObjectKeyFromObject(o), o); err != nil {
		k.T.Fatal(err)
	}
}

// sets reads `image revision replicas available` of each ReplicaSet, by revision.
func (k *cluster) sets() string {
	k.T.Helper()
	var list appsv1.ReplicaSetList
	if err := k.C.List(k.T.Context(), &list, client.InNamespace("shop")); err != nil {
		k.T.Fatal(err)
	}
	var lines []string
	for _, rs := range list.Items {
		lines = append(lines, fmt.Sprintf("%s %s %d %d", rs.Annotations["deployment.kubernetes.io/revision"], rs.Spec.Template.Spec.Containers[0].Image, *rs.Spec.Replicas, rs.Status.AvailableReplicas))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func (k *cluster) become(want string) {
	k.T.Helper()
	k.Eventually("sets", func() (bool, string) {
		got := k.sets()
		return got == want, fmt.Sprintf("got\n%s\nwant\n%s", got, want)
	})
}

// pods lists what pods there are, sorted, each as f says.
func (k *cluster) pods(f func(*corev1.Pod) string) []string {
	k.T.Helper()
	var list corev1.PodList
	if err := k.C.List(k.T.Context(), &list, client.InNamespace("shop")); err != nil {
		k.T.Fatal(err)
	}
	var out []string
	for i := range list.Items {
		out = append(out, f(&list.Items[i]))
	}
	slices.Sort(out)
	return out
}

func template(image string) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: image}}},
	}
}

func deployment(edits ...func(*appsv1.Deployment)) *appsv1.Deployment {
	three := int32(3)
	d := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"},
		Spec: appsv1.DeploymentSpec{
			Replicas: &three, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}, Template: template("web:1"),
		},
	}
	for _, e := range edits {
		e(d)
	}
	return d
}

func runs(image string) func(*appsv1.Deployment) {
	return func(d *appsv1.Deployment) { d.Spec.Template.Spec.Containers[0].Image = image }
}

func replicas(n int32) func(*appsv1.Deployment) {
	return func(d *appsv1.Deployment) { d.Spec.Replicas = &n }
}

func TestADeploymentRollsScalesAndGoesBack(t *testing.T) {
	t.Parallel()
	k := newCluster(t)
	d := deployment()
	k.Create(d)
	k.become("1 web:1 3 3")
	edit(k, d, runs("web:2"))
	k.become("1 web:1 0 0\n2 web:2 3 3")
	edit(k, d, replicas(5))
	k.become("1 web:1 0 0\n2 web:2 5 5")
	edit(k, d, runs("web:1"))
	k.become("2 web:2 0 0\n3 web:1 5 5")
	k.Eventually("status", func() (bool, string) {
		k.read(d)
		s := d.Status
		return s.ObservedGeneration == d.Generation && s.Replicas == 5 && s.UpdatedReplicas == 5 && s.ReadyReplicas == 5 && s.AvailableReplicas == 5 && s.UnavailableReplicas == 0 &&
			d.Annotations["deployment.kubernetes.io/revision"] == "3" && len(s.Conditions) == 2, fmt.Sprintf("%v %+v", d.Annotations, s)
	})
	for _, c := range d.Status.Conditions {
		if c.Status != corev1.ConditionTrue {
			t.Errorf("condition %+v", c)
		}
	}
	var list appsv1.ReplicaSetList
	if err := k.C.List(t.Context(), &list, client.InNamespace("shop")); err != nil {
		t.Fatal(err)
	}
	for _, rs := range list.Items {
		hash := rs.Labels["pod-template-hash"]
		if hash == "" || rs.Name != "web-"+hash || rs.Spec.Selector.MatchLabels["pod-template-hash"] != hash || rs.Spec.Template.Labels["pod-template-hash"] != hash {
			t.Errorf("hash %q of %s: %v", hash, rs.Name, rs.Spec.Selector)
		}
	}
}

func TestRecreateNeverRunsTwoVersions(t *testing.T) {
	t.Parallel()
	k := newCluster(t)
	d := deployment(func(d *appsv1.Deployment) { d.Spec.Strategy.Type = appsv1.RecreateDeploymentStrategyType })
	k.Create(d)
	k.become("1 web:1 3 3")
	edit(k, d, runs("web:2"))
	k.Eventually("the new version alone", func() (bool, string) {
		images := slices.Compact(k.pods(func(p *corev1.Pod) string { return p.Spec.Containers[0].Image }))
		if len(images) > 1 {
			t.Fatalf("side by side: %v", images)
		}
		return k.sets() == "1 web:1 0 0\n2 web:2 3 3", k.sets()
	})
}

func TestAStuckRolloutSaysSoAndTheNextOneGoesOn(t *testing.T) {
	t.Parallel()
	k := newCluster(t)
	k.Sick.Store("web:bad")
	d := deployment(func(d *appsv1.Deployment) {
		one := int32(1)
		d.Spec.ProgressDeadlineSeconds = &one
	})
	k.Create(d)
	k.become("1 web:1 3 3")
	edit(k, d, runs("web:bad"))
	k.become("1 web:1 3 3\n2 web:bad 1 0")
	k.Eventually("deadline", func() (bool, string) {
		k.read(d)
		for _, c := range d.Status.Conditions {
			if c.Type == appsv1.DeploymentProgressing && c.Status == corev1.ConditionFalse && c.Reason == "ProgressDeadlineExceeded" {
				return true, ""
			}
		}
		return false, fmt.Sprintf("%+v", d.Status.Conditions)
	})
	edit(k, d, runs("web:3"))
	k.become("1 web:1 0 0\n2 web:bad 0 0\n3 web:3 3 3")
}

func TestAPausedDeploymentOnlyScales(t *testing.T) {
	t.Parallel()
	k := newCluster(t)
	d := deployment()
	k.Create(d)
	k.become("1 web:1 3 3")
	edit(k, d, func(d *appsv1.Deployment) { d.Spec.Paused = true; runs("web:2")(d); replicas(4)(d) })
	k.become("1 web:1 4 4")
	k.Eventually("condition", func() (bool, string) {
		k.read(d)
		return slices.ContainsFunc(d.Status.Conditions, func(c appsv1.DeploymentCondition) bool { return c.Reason == "DeploymentPaused" }), fmt.Sprintf("%+v", d.Status.Conditions)
	})
	edit(k, d, func(d *appsv1.Deployment) { d.Spec.Paused = false })
	k.become("1 web:1 0 0\n2 web:2 4 4")
}

func TestADeploymentMayBeginPaused(t *testing.T) {
	t.Parallel()
	k := newCluster(t)
	d := deployment()
	d.Spec.Paused = true
	k.Create(d)
	k.Eventually("it is looked at", func() (bool, string) {
		k.read(d)
		return d.Status.ObservedGeneration == d.Generation && len(d.Status.Conditions) > 0, fmt.Sprintf("%+v", d.Status)
	})
	edit(k, d, func(d *appsv1.Deployment) { d.Spec.Paused = false })
	k.become("1 web:1 3 3")
}

func TestARestartInTheMiddleGoesOn(t *testing.T) {
	t.Parallel()
	k := newCluster(t)
	k.Sick.Store("web:2")
	d := deployment()
	k.Create(d)
	k.become("1 web:1 3 3")
	edit(k, d, runs("web:2"))
	k.become("1 web:1 3 3\n2 web:2 1 0")
	k.stop()
	k.Heal()
	k.start()
	k.become("1 web:1 0 0\n2 web:2 3 3")
}

func TestHistoryIsCutAndNamesThatAreTakenAreLeft(t *testing.T) {
	t.Parallel()
	k := newCluster(t)
	d := deployment(func(d *appsv1.Deployment) {
		one := int32(1)
		d.Spec.RevisionHistoryLimit = &one
	})
	k.Create(d)
	k.become("1 web:1 3 3")
	for _, image := range []string{"web:2", "web:3"} {
		edit(k, d, runs(image))
		k.Eventually(image, func() (bool, string) { return strings.Contains(k.sets(), image+" 3 3"), k.sets() })
	}
	k.become("2 web:2 0 0\n3 web:3 3 3")

	// Somebody else's set has the very name that the next one would get.
	var rs appsv1.ReplicaSetList
	if err := k.C.List(t.Context(), &rs, client.InNamespace("shop")); err != nil {
		t.Fatal(err)
	}
	zero := int32(0)
	edit(k, d, func(d *appsv1.Deployment) { d.Spec.Paused = true; runs("web:1")(d) })
	for _, c := range rs.Items {
		if c.Spec.Template.Spec.Containers[0].Image != "web:3" {
			continue
		}
		stranger := &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: firstName(k, d)}, Spec: appsv1.ReplicaSetSpec{
			Replicas: &zero, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "other"}}, Template: template("other:1")}}
		stranger.Spec.Template.Labels = map[string]string{"app": "other"}
		k.Create(stranger)
	}
	edit(k, d, func(d *appsv1.Deployment) { d.Spec.Paused = false })
	k.Eventually("another name", func() (bool, string) {
		k.read(d)
		return strings.Contains(k.sets(), "4 web:1 3 3") && d.Status.CollisionCount != nil && *d.Status.CollisionCount == 1, fmt.Sprintf("%s\n%+v", k.sets(), d.Status)
	})
}

// firstName is the name that the set of a Deployment's template gets first.
func firstName(k *cluster, d *appsv1.Deployment) string {
	k.T.Helper()
	return workload.SetName(d)
}

func TestReplicaSetsTakeInAndLetGo(t *testing.T) {
	t.Parallel()
	k := newCluster(t)
	two := int32(2)
	stray := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "stray", Labels: map[string]string{"app": "web"}}, Spec: template("web:1").Spec}
	rs := &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}, Spec: appsv1.ReplicaSetSpec{
		Replicas: &two, Selector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "app", Operator: metav1.LabelSelectorOpIn, Values: []string{"web"}}}}, Template: template("web:1")}}
	k.Create(stray, rs)
	k.Eventually("adopted", func() (bool, string) {
		k.read(rs)
		k.read(stray)
		return metav1.GetControllerOf(stray) != nil && rs.Status.AvailableReplicas == 2, fmt.Sprintf("%v %+v", stray.OwnerReferences, rs.Status)
	})
	edit(k, stray, func(p *corev1.Pod) { p.Labels["app"] = "debug" })
	k.Eventually("let go and replaced", func() (bool, string) {
		k.read(rs)
		k.read(stray)
		all := k.pods(func(p *corev1.Pod) string { return p.Name })
		return metav1.GetControllerOf(stray) == nil && rs.Status.AvailableReplicas == 2 && len(all) == 3, fmt.Sprintf("%v %+v %v", stray.OwnerReferences, rs.Status, all)
	})
}

func TestAStatefulSetComesUpRollsAndKeepsItsClaims(t *testing.T) {
	t.Parallel()
	k := newCluster(t)
	three := int32(3)
	set := &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "db"}, Spec: appsv1.StatefulSetSpec{
		Replicas: &three, ServiceName: "db", Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}, Template: template("db:1"),
		VolumeClaimTemplates: []corev1.PersistentVolumeClaim{{ObjectMeta: metav1.ObjectMeta{Name: "data"}, Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		}}},
	}}
	k.Create(set)
	nameAndImage := func(p *corev1.Pod) string { return p.Name + " " + p.Spec.Containers[0].Image }
	settle := func(revision bool, want ...string) {
		t.Helper()
		k.Eventually("pods", func() (bool, string) {
			k.read(set)
			got := k.pods(nameAndImage)
			s := set.Status
			return slices.Equal(got, want) && s.ReadyReplicas == int32(len(want)) && (s.CurrentRevision == s.UpdateRevision) == revision && s.ObservedGeneration == set.Generation, fmt.Sprintf("%v %+v", got, s)
		})
	}
	settle(true, "db-0 db:1", "db-1 db:1", "db-2 db:1")
	first := set.Status.CurrentRevision
	image := func(name string, partition int32) func(*appsv1.StatefulSet) {
		return func(s *appsv1.StatefulSet) {
			s.Spec.Template.Spec.Containers[0].Image = name
			s.Spec.UpdateStrategy.RollingUpdate.Partition = &partition
		}
	}
	edit(k, set, image("db:2", 2))
	settle(false, "db-0 db:1", "db-1 db:1", "db-2 db:2")
	// Below the partition a pod comes again as it was.
	if err := k.C.Delete(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "db-0"}}, client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	settle(false, "db-0 db:1", "db-1 db:1", "db-2 db:2")
	edit(k, set, image("db:2", 0))
	settle(true, "db-0 db:2", "db-1 db:2", "db-2 db:2")
	edit(k, set, image("db:1", 0))
	settle(true, "db-0 db:1", "db-1 db:1", "db-2 db:1")
	if set.Status.CurrentRevision != first {
		t.Errorf("back at the first template it is revision %s, not %s", set.Status.CurrentRevision, first)
	}
	edit(k, set, func(s *appsv1.StatefulSet) {
		one := int32(1)
		s.Spec.Replicas = &one
	})
	settle(true, "db-0 db:1")
	var claims corev1.PersistentVolumeClaimList
	if err := k.C.List(t.Context(), &claims, client.InNamespace("shop")); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range claims.Items {
		names = append(names, c.Name)
	}
	if !slices.Equal(names, []string{"data-db-0", "data-db-1", "data-db-2"}) {
		t.Errorf("claims %v", names)
	}
}

// TestAStatefulSetIsMendedByACommit: where git is the only way in, nobody deletes the pod
// that cannot start.
func TestAStatefulSetIsMendedByACommit(t *testing.T) {
	t.Parallel()
	k := newCluster(t)
	k.Sick.Store("db:bad")
	two := int32(2)
	set := &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "db"}, Spec: appsv1.StatefulSetSpec{
		Replicas: &two, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}, Template: template("db:bad")}}
	k.Create(set)
	k.Eventually("the first pod fails to start", func() (bool, string) {
		var p corev1.Pod
		if err := k.C.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "db-0"}, &p); err != nil {
			return false, err.Error()
		}
		p.Status.Phase = corev1.PodPending
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "web", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff"}}}}
		err := k.C.Status().Update(t.Context(), &p)
		return err == nil, fmt.Sprint(err)
	})
	edit(k, set, func(s *appsv1.StatefulSet) { s.Spec.Template.Spec.Containers[0].Image = "db:1" })
	k.Eventually("both run", func() (bool, string) {
		got := k.pods(func(p *corev1.Pod) string { return p.Name + " " + p.Spec.Containers[0].Image })
		k.read(set)
		return slices.Equal(got, []string{"db-0 db:1", "db-1 db:1"}) && set.Status.ReadyReplicas == 2, fmt.Sprintf("%v %+v", got, set.Status)
	})
}

func TestADaemonSetFollowsTheNodes(t *testing.T) {
	t.Parallel()
	k := newCluster(t)
	node := func(name string) *corev1.Node {
		return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"disk": "ssd"}}}
	}
	a, b := node("a"), node("b")
	k.Create(a, b)
	set := &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "agent"}, Spec: appsv1.DaemonSetSpec{
		Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}, Template: template("agent:1")}}
	set.Spec.Template.Spec.NodeSelector = map[string]string{"disk": "ssd"}
	k.Create(set)
	settle := func(want ...string) {
		t.Helper()
		k.Eventually("pods", func() (bool, string) {
			got := k.pods(func(p *corev1.Pod) string {
				return p.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms[0].MatchFields[0].Values[0] + " " + p.Spec.Containers[0].Image
			})
			k.read(set)
			s, n := set.Status, int32(len(want))
			return slices.Equal(got, want) && s.DesiredNumberScheduled == n && s.NumberAvailable == n && s.UpdatedNumberScheduled == n && s.ObservedGeneration == set.Generation, fmt.Sprintf("%v %+v", got, s)
		})
	}
	settle("a agent:1", "b agent:1")
	k.Create(node("c"))
	settle("a agent:1", "b agent:1", "c agent:1")
	edit(k, set, func(d *appsv1.DaemonSet) { d.Spec.Template.Spec.Containers[0].Image = "agent:2" })
	settle("a agent:2", "b agent:2", "c agent:2")
	edit(k, b, func(n *corev1.Node) { n.Labels["disk"] = "hdd" })
	settle("a agent:2", "c agent:2")
	edit(k, a, func(n *corev1.Node) {
		n.Spec.Taints = []corev1.Taint{{Key: "only", Value: "db", Effect: corev1.TaintEffectNoExecute}}
	})
	settle("c agent:2")
}
