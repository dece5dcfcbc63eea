package deploy_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	appsv1 "github.com/openshift/api/apps/v1"
	imagev1 "github.com/openshift/api/image/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/reconciler/deploy"
	"slipway.dev/slipway/state/statetest"
)

// ship is a config whose controllers die and are started again, while the node lives.
type ship struct {
	*testing.T
	c client.WithWatch
	// began is when the clock of the processes, now, stood at the real time.
	began, now time.Time
	// fails and held name pods of a rollout: one that fails, one that never starts.
	fails, held string
	// sick is an image whose pods do not become ready.
	sick string
	// wrote is how often the node wrote.
	wrote int
	// ran are the pods of rollouts in the order in which they ran to their end, with how many
	// pods of the config lived then.
	ran []string
}

func newShip(t *testing.T, dc *appsv1.DeploymentConfig) *ship {
	t.Helper()
	now := time.Now()
	s := &ship{T: t, c: statetest.New(t), began: now, now: now}
	s.must(s.c.Create(t.Context(), dc))
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
	all := deploy.Controllers(deploy.Deps{Client: m, Events: statetest.Silent{}, Clock: func() time.Time { return s.now }})
	for quiet := 0; quiet < 3; quiet++ {
		before, wrote := m.Left, s.wrote
		for i, list := range []client.ObjectList{&corev1.ReplicationControllerList{}, &appsv1.DeploymentConfigList{}} {
			for _, key := range s.keys(list) {
				if _, err := all[i].Reconcile(s.Context(), key); err != nil && !m.Dead {
					s.Fatal(err)
				}
			}
		}
		if m.Dead {
			return m
		}
		s.node()
		if m.Left != before || s.wrote != wrote {
			quiet = -1
		}
		s.now = s.now.Add(time.Second)
		if s.now.After(s.began.Add(5 * time.Minute)) {
			s.Fatal("it does not come to rest")
		}
	}
	return m
}

func (s *ship) keys(list client.ObjectList) (keys []types.NamespacedName) {
	s.must(s.c.List(s.Context(), list))
	switch l := list.(type) {
	case *corev1.ReplicationControllerList:
		for _, o := range l.Items {
			keys = append(keys, client.ObjectKeyFromObject(&o))
		}
	case *appsv1.DeploymentConfigList:
		for _, o := range l.Items {
			keys = append(keys, client.ObjectKeyFromObject(&o))
		}
	}
	return keys
}

func (s *ship) pods() []corev1.Pod {
	var list corev1.PodList
	s.must(s.c.List(s.Context(), &list))
	return list.Items
}

// node runs every pod: those of a rollout to their end, all others until they are deleted.
func (s *ship) node() {
	all := s.pods()
	lives := 0
	for _, p := range all {
		if p.Labels["app"] == "web" && p.DeletionTimestamp == nil {
			lives++
		}
	}
	for i := range all {
		p := &all[i]
		switch {
		case p.DeletionTimestamp != nil:
			s.must(client.IgnoreNotFound(s.c.Delete(s.Context(), p, client.GracePeriodSeconds(0))))
			s.wrote++
			continue
		case p.Status.Phase != "" && p.Status.Phase != corev1.PodPending, p.Name == s.held, p.Spec.Containers[0].Image == s.sick:
			continue
		case p.Labels[appsv1.DeployerPodForDeploymentLabel] == "":
			p.Status.Phase = corev1.PodRunning
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(s.now)}}
		case p.Name == s.fails:
			p.Status.Phase, p.Status.Message = corev1.PodFailed, "it is made to fail"
			s.ran = append(s.ran, p.Name)
		default:
			p.Status.Phase = corev1.PodSucceeded
			s.ran = append(s.ran, fmt.Sprintf("%s amid %d", p.Name, lives))
		}
		s.must(s.c.Status().Update(s.Context(), p))
		s.wrote++
	}
}

func (s *ship) edit(change func(*appsv1.DeploymentConfig)) {
	var dc appsv1.DeploymentConfig
	s.must(s.c.Get(s.Context(), client.ObjectKey{Namespace: "shop", Name: "web"}, &dc))
	change(&dc)
	s.must(s.c.Update(s.Context(), &dc))
}

// story is a rollout that is looked at from its beginning to its end.
type story struct {
	dc *appsv1.DeploymentConfig
	// prepare brings about what the process that dies finds.
	prepare func(*ship)
	// versions are those at the end, as `name phase replicas`.
	versions []string
	// ran are the pods that have run by then, each once.
	ran []string
	// tag is what the tag web:live names at the end; empty: there is no stream.
	tag string
}

func (st story) begin(t *testing.T) *ship {
	s := newShip(t, st.dc.DeepCopy())
	st.prepare(s)
	return s
}

func (st story) check(s *ship, when string) {
	s.Helper()
	var rcs corev1.ReplicationControllerList
	s.must(s.c.List(s.Context(), &rcs))
	var got []string
	for _, rc := range rcs.Items {
		got = append(got, fmt.Sprintf("%s %s %d", rc.Name, rc.Annotations[appsv1.DeploymentStatusAnnotation], *rc.Spec.Replicas))
	}
	slices.Sort(got)
	if !slices.Equal(got, st.versions) {
		s.Fatalf("%s: %v, want %v", when, got, st.versions)
	}
	if !slices.Equal(s.ran, st.ran) {
		s.Fatalf("%s: there ran %q, want %q", when, s.ran, st.ran)
	}
	live := 0
	for _, p := range s.pods() {
		if p.Labels["app"] == "web" {
			live++
		} else if rc := p.Labels[appsv1.DeployerPodForDeploymentLabel]; !slices.Contains(st.versions, rc+" Failed 0") || p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed {
			// Of a rollout that failed there is something to read.
			s.Fatalf("%s: pod %s is left, %s", when, p.Name, p.Status.Phase)
		}
	}
	if live != 2 {
		s.Fatalf("%s: %d pods, want 2", when, live)
	}
	var is imagev1.ImageStream
	err := s.c.Get(s.Context(), client.ObjectKey{Namespace: "shop", Name: "web"}, &is)
	if st.tag == "" {
		s.must(client.IgnoreNotFound(err))
		return
	}
	if s.must(err); len(is.Spec.Tags) != 1 || is.Spec.Tags[0].Name != "live" || is.Spec.Tags[0].From.Name != st.tag {
		s.Fatalf("%s: tags %+v", when, is.Spec.Tags)
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
			if n < 10 {
				t.Fatalf("there were only %d writes", n-1)
			}
			st.check(s, "nobody died")
			break
		}
		s.life(immortal, false)
		st.check(s, fmt.Sprintf("died before write %d (%s)", n, m.Last))
	}
	s := st.begin(t)
	for s.life(1, true).Dead {
		s.node()
		s.now = s.now.Add(time.Second)
	}
	st.check(s, "one write a life")
}

// second is a change that the process which dies has to roll out.
func second(s *ship) {
	s.life(immortal, false)
	s.ran = nil
	s.edit(setImage("web:2"))
}

func hooked(strategy appsv1.DeploymentStrategy) *appsv1.DeploymentConfig {
	return webConfig(func(dc *appsv1.DeploymentConfig) { dc.Spec.Replicas, dc.Spec.Strategy = 2, strategy })
}

func aborting() *appsv1.LifecycleHook {
	return &appsv1.LifecycleHook{FailurePolicy: appsv1.LifecycleHookFailurePolicyAbort,
		ExecNewPod: &appsv1.ExecNewPodHook{Command: []string{"migrate"}, ContainerName: "web"}}
}

func tagging() *appsv1.LifecycleHook {
	return &appsv1.LifecycleHook{FailurePolicy: appsv1.LifecycleHookFailurePolicyAbort,
		TagImages: []appsv1.TagImageHook{{ContainerName: "web", To: corev1.ObjectReference{Kind: "ImageStreamTag", Name: "web:live"}}}}
}

func TestDeathAtEveryWriteOfARollingRollout(t *testing.T) {
	story{
		dc: hooked(appsv1.DeploymentStrategy{Type: appsv1.DeploymentStrategyTypeRolling,
			RollingParams: &appsv1.RollingDeploymentStrategyParams{Pre: aborting(), Post: aborting()}}),
		prepare: second, versions: []string{"web-1 Complete 0", "web-2 Complete 2"},
		ran: []string{"web-2-hook-pre amid 2", "web-2-hook-post amid 2"},
	}.everywhere(t)
}

func TestDeathAtEveryWriteOfARecreateRollout(t *testing.T) {
	story{
		dc: hooked(appsv1.DeploymentStrategy{Type: appsv1.DeploymentStrategyTypeRecreate,
			RecreateParams: &appsv1.RecreateDeploymentStrategyParams{Pre: aborting(), Mid: aborting(), Post: tagging()}}),
		prepare: second, versions: []string{"web-1 Complete 0", "web-2 Complete 2"},
		ran: []string{"web-2-hook-pre amid 2", "web-2-hook-mid amid 0"}, tag: "web:2",
	}.everywhere(t)
}

func TestDeathAtEveryWriteOfACustomRollout(t *testing.T) {
	story{
		dc: hooked(appsv1.DeploymentStrategy{Type: appsv1.DeploymentStrategyTypeCustom,
			CustomParams: &appsv1.CustomDeploymentStrategyParams{Image: "deployer:1"}}),
		prepare: second, versions: []string{"web-1 Complete 0", "web-2 Complete 2"},
		ran: []string{"web-2-deploy amid 2"},
	}.everywhere(t)
}

func TestDeathAtEveryWriteOfARollback(t *testing.T) {
	story{
		dc: hooked(appsv1.DeploymentStrategy{Type: appsv1.DeploymentStrategyTypeRolling,
			RollingParams: &appsv1.RollingDeploymentStrategyParams{Pre: aborting(), Post: aborting()}}),
		prepare:  func(s *ship) { second(s); s.fails = "web-2-hook-post" },
		versions: []string{"web-1 Complete 2", "web-2 Failed 0"},
		ran:      []string{"web-2-hook-pre amid 2", "web-2-hook-post"},
	}.everywhere(t)
}

// The rollout that a newer one overtakes waits for its pre hook.
func TestDeathAtEveryWriteOfAnOvertaking(t *testing.T) {
	story{
		dc: hooked(appsv1.DeploymentStrategy{Type: appsv1.DeploymentStrategyTypeRecreate,
			RecreateParams: &appsv1.RecreateDeploymentStrategyParams{Pre: aborting()}}),
		prepare: func(s *ship) {
			second(s)
			s.held = "web-2-hook-pre"
			s.life(immortal, false)
			s.edit(setImage("web:3"))
		},
		versions: []string{"web-1 Complete 0", "web-2 Failed 0", "web-3 Complete 2"},
		ran:      []string{"web-3-hook-pre amid 2"},
	}.everywhere(t)
}

// A server that was away for long finds a rollout as it was, and takes its time for it.
func TestAnOutageIsNoTimeout(t *testing.T) {
	t.Parallel()
	st := story{
		dc:      hooked(appsv1.DeploymentStrategy{Type: appsv1.DeploymentStrategyTypeRolling}),
		prepare: second, versions: []string{"web-1 Complete 0", "web-2 Complete 2"},
	}
	s := st.begin(t)
	s.sick = "web:2"
	s.life(immortal, false)
	s.now, s.began = s.now.Add(24*time.Hour), s.began.Add(24*time.Hour)
	s.life(immortal, false)
	s.sick = ""
	s.life(immortal, false)
	st.check(s, "after a day")
}
