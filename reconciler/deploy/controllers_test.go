package deploy_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	appsv1 "github.com/openshift/api/apps/v1"
	imagev1 "github.com/openshift/api/image/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/reconciler/deploy"
	"slipway.dev/slipway/state/event"
	"slipway.dev/slipway/state/loop"
	"slipway.dev/slipway/state/statetest"
)

// cluster is live state with the controllers running, and a node that answers for pods
// by writing their status, as the runtime does.
type cluster struct {
	t    *testing.T
	c    client.WithWatch
	stop func()
	// sick holds an image whose pods never become ready; result ends a task's pod.
	sick   atomic.Value
	failed atomic.Bool
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	k := &cluster{t: t, c: statetest.New(t)}
	k.sick.Store("")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		loop.Run(ctx, k.c, slog.New(slog.NewTextHandler(k.t.Output(), nil)), loop.Controller{
			Name: "node", Watches: []loop.Watch{{List: &corev1.PodList{}}}, Reconcile: k.node,
		})
	}()
	t.Cleanup(func() { cancel(); <-done })
	k.start()
	t.Cleanup(func() { k.stop() })
	return k
}

// start runs the controllers under test, as a process of its own would.
func (k *cluster) start() {
	ctx, cancel := context.WithCancel(context.Background())
	log := slog.New(slog.NewTextHandler(k.t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	done := make(chan struct{})
	go func() {
		defer close(done)
		loop.Run(ctx, k.c, log, deploy.Controllers(deploy.Deps{Client: k.c, Events: event.New(k.c, "deploy", slog.New(slog.DiscardHandler)), Log: log})...)
	}()
	k.stop = func() { cancel(); <-done }
}

func (k *cluster) node(ctx context.Context, key loop.Key) (loop.Result, error) {
	var p corev1.Pod
	if err := k.c.Get(ctx, key, &p); err != nil {
		return loop.Result{}, client.IgnoreNotFound(err)
	}
	if p.DeletionTimestamp != nil {
		return loop.Result{}, client.IgnoreNotFound(k.c.Delete(ctx, &p, client.GracePeriodSeconds(0)))
	}
	if p.Status.Phase != "" && p.Status.Phase != corev1.PodPending || p.Spec.Containers[0].Image == k.sick.Load() {
		return loop.Result{}, nil
	}
	if p.Spec.RestartPolicy == corev1.RestartPolicyNever {
		p.Status.Phase = corev1.PodSucceeded
		if k.failed.Load() {
			p.Status.Phase, p.Status.Message = corev1.PodFailed, "no such table"
		}
	} else {
		p.Status.Phase = corev1.PodRunning
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now()}}
	}
	err := k.c.Status().Update(ctx, &p)
	if apierrors.IsConflict(err) {
		return loop.Result{After: time.Millisecond}, nil
	}
	return loop.Result{}, client.IgnoreNotFound(err)
}

func (k *cluster) eventually(what string, holds func() (bool, string)) {
	k.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		ok, detail := holds()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			k.t.Fatalf("%s: %s", what, detail)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (k *cluster) create(objs ...client.Object) {
	k.t.Helper()
	for _, o := range objs {
		if err := k.c.Create(k.t.Context(), o); err != nil {
			k.t.Fatal(err)
		}
	}
}

// edit changes the config, trying again where a controller wrote in between.
func (k *cluster) edit(name string, change func(*appsv1.DeploymentConfig)) {
	k.t.Helper()
	k.eventually("edit "+name, func() (bool, string) {
		dc := k.config(name)
		change(dc)
		err := k.c.Update(k.t.Context(), dc)
		return err == nil, fmt.Sprint(err)
	})
}

func (k *cluster) config(name string) *appsv1.DeploymentConfig {
	k.t.Helper()
	var dc appsv1.DeploymentConfig
	if err := k.c.Get(k.t.Context(), client.ObjectKey{Namespace: "shop", Name: name}, &dc); err != nil {
		k.t.Fatal(err)
	}
	return &dc
}

// versions reads `name phase replicas available`, one version a line, oldest first.
func (k *cluster) versions() string {
	k.t.Helper()
	var list corev1.ReplicationControllerList
	if err := k.c.List(k.t.Context(), &list, client.InNamespace("shop")); err != nil {
		k.t.Fatal(err)
	}
	var lines []string
	for _, rc := range list.Items {
		lines = append(lines, fmt.Sprintf("%s %s %d %d", rc.Name, rc.Annotations[appsv1.DeploymentStatusAnnotation], *rc.Spec.Replicas, rc.Status.AvailableReplicas))
	}
	return strings.Join(lines, "\n")
}

func (k *cluster) becomes(want string) {
	k.t.Helper()
	k.eventually("versions", func() (bool, string) {
		got := k.versions()
		return got == want, fmt.Sprintf("got\n%s\nwant\n%s", got, want)
	})
}

func webConfig(edit func(*appsv1.DeploymentConfig)) *appsv1.DeploymentConfig {
	second := int64(1)
	dc := &appsv1.DeploymentConfig{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"},
		Spec: appsv1.DeploymentConfigSpec{
			Replicas: 3, Selector: map[string]string{"app": "web"},
			Triggers: appsv1.DeploymentTriggerPolicies{{Type: appsv1.DeploymentTriggerOnConfigChange}},
			Strategy: appsv1.DeploymentStrategy{Type: appsv1.DeploymentStrategyTypeRolling,
				RollingParams: &appsv1.RollingDeploymentStrategyParams{UpdatePeriodSeconds: &second}},
			Template: &corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web"}},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "web:1"}}},
			},
		},
	}
	if edit != nil {
		edit(dc)
	}
	return dc
}

func setImage(name string) func(*appsv1.DeploymentConfig) {
	return func(dc *appsv1.DeploymentConfig) { dc.Spec.Template.Spec.Containers[0].Image = name }
}

func TestRollOutChangeAndScale(t *testing.T) {
	t.Parallel()
	k := newCluster(t)
	k.create(webConfig(nil))
	k.becomes("web-1 Complete 3 3")

	k.edit("web", setImage("web:2"))
	k.becomes("web-1 Complete 0 0\nweb-2 Complete 3 3")

	k.edit("web", func(dc *appsv1.DeploymentConfig) { dc.Spec.Replicas = 5 })
	k.becomes("web-1 Complete 0 0\nweb-2 Complete 5 5")

	k.edit("web", func(dc *appsv1.DeploymentConfig) { dc.Spec.Replicas = 1 })
	k.becomes("web-1 Complete 0 0\nweb-2 Complete 1 1")
	k.eventually("status", func() (bool, string) {
		dc := k.config("web")
		s := dc.Status
		return s.LatestVersion == 2 && s.ObservedGeneration == dc.Generation && s.Replicas == 1 && s.ReadyReplicas == 1 && s.AvailableReplicas == 1 && s.UpdatedReplicas == 1,
			fmt.Sprintf("generation %d, status %+v", dc.Generation, s)
	})
	k.eventually("events", func() (bool, string) {
		var list corev1.EventList
		if err := k.c.List(t.Context(), &list, client.InNamespace("shop")); err != nil {
			return false, err.Error()
		}
		seen := map[string]bool{}
		for _, e := range list.Items {
			seen[e.Reason] = true
		}
		return seen["DeploymentCreated"] && seen["ReplicationControllerScaled"] && seen["SuccessfulCreate"] && seen["SuccessfulDelete"], fmt.Sprint(seen)
	})
}

func TestADeletedOrEndedPodIsReplaced(t *testing.T) {
	t.Parallel()
	k := newCluster(t)
	k.create(webConfig(nil))
	k.becomes("web-1 Complete 3 3")
	var pods corev1.PodList
	if err := k.c.List(t.Context(), &pods, client.InNamespace("shop")); err != nil {
		t.Fatal(err)
	}
	if err := k.c.Delete(t.Context(), &pods.Items[0], client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	k.eventually("a pod's failure", func() (bool, string) {
		p := pods.Items[1].DeepCopy()
		if err := k.c.Get(t.Context(), client.ObjectKeyFromObject(p), p); err != nil {
			return false, err.Error()
		}
		p.Status.Phase = corev1.PodFailed
		p.Status.Conditions = nil
		err := k.c.Status().Update(t.Context(), p)
		return err == nil, fmt.Sprint(err)
	})
	k.eventually("three live pods", func() (bool, string) {
		var now corev1.PodList
		if err := k.c.List(t.Context(), &now, client.InNamespace("shop")); err != nil {
			return false, err.Error()
		}
		running, dead := 0, 0
		for _, p := range now.Items {
			if p.Status.Phase == corev1.PodRunning {
				running++
			}
			if p.Status.Phase == corev1.PodFailed {
				dead++
			}
		}
		return running == 3 && dead == 1, fmt.Sprintf("%d running, %d failed", running, dead)
	})
	k.becomes("web-1 Complete 3 3")
}

func TestAFailedRolloutIsRolledBack(t *testing.T) {
	t.Parallel()
	k := newCluster(t)
	k.sick.Store("web:bad")
	two := int64(2)
	k.create(webConfig(func(dc *appsv1.DeploymentConfig) { dc.Spec.Strategy.RollingParams.TimeoutSeconds = &two }))
	k.becomes("web-1 Complete 3 3")
	k.edit("web", setImage("web:bad"))
	k.becomes("web-1 Complete 3 3\nweb-2 Failed 0 0")
	k.eventually("condition", func() (bool, string) {
		for _, c := range k.config("web").Status.Conditions {
			if c.Type == appsv1.DeploymentProgressing && c.Reason == "ProgressDeadlineExceeded" && strings.Contains(c.Message, "timed out") {
				return true, ""
			}
		}
		return false, fmt.Sprintf("%+v", k.config("web").Status.Conditions)
	})
}

func TestANewerVersionCancelsTheRunningRollout(t *testing.T) {
	t.Parallel()
	k := newCluster(t)
	k.sick.Store("web:bad")
	k.create(webConfig(nil))
	k.becomes("web-1 Complete 3 3")
	k.edit("web", setImage("web:bad"))
	k.becomes("web-1 Complete 3 3\nweb-2 Running 1 0")
	k.edit("web", setImage("web:3"))
	k.becomes("web-1 Complete 0 0\nweb-2 Failed 0 0\nweb-3 Complete 3 3")
	var rc corev1.ReplicationController
	if err := k.c.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "web-2"}, &rc); err != nil {
		t.Fatal(err)
	}
	if got := rc.Annotations[appsv1.DeploymentStatusReasonAnnotation]; got != "newer deployment was found running" {
		t.Errorf("reason %q", got)
	}
}

func TestARestartInTheMiddleGoesOn(t *testing.T) {
	t.Parallel()
	k := newCluster(t)
	k.sick.Store("web:2")
	k.create(webConfig(nil))
	k.becomes("web-1 Complete 3 3")
	k.edit("web", setImage("web:2"))
	k.becomes("web-1 Complete 3 3\nweb-2 Running 1 0")
	k.stop()
	k.sick.Store("")
	// Wake the node for the pod it left alone.
	var pods corev1.PodList
	if err := k.c.List(t.Context(), &pods, client.InNamespace("shop")); err != nil {
		t.Fatal(err)
	}
	for i := range pods.Items {
		if p := &pods.Items[i]; p.Spec.Containers[0].Image == "web:2" {
			if _, err := k.node(t.Context(), client.ObjectKeyFromObject(p)); err != nil {
				t.Fatal(err)
			}
		}
	}
	k.start()
	// Its pods become ready as they come; the controllers that were started find the rollout where it was.
	k.becomes("web-1 Complete 0 0\nweb-2 Complete 3 3")
}

func TestHooksAndTags(t *testing.T) {
	t.Parallel()
	k := newCluster(t)
	k.create(webConfig(func(dc *appsv1.DeploymentConfig) {
		p := dc.Spec.Strategy.RollingParams
		p.Pre = &appsv1.LifecycleHook{FailurePolicy: appsv1.LifecycleHookFailurePolicyAbort,
			ExecNewPod: &appsv1.ExecNewPodHook{Command: []string{"migrate"}, ContainerName: "web"}}
		p.Post = &appsv1.LifecycleHook{FailurePolicy: appsv1.LifecycleHookFailurePolicyAbort,
			TagImages: []appsv1.TagImageHook{{ContainerName: "web", To: corev1.ObjectReference{Kind: "ImageStreamTag", Name: "web:deployed"}}}}
	}))
	k.becomes("web-1 Complete 3 3")
	var is imagev1.ImageStream
	if err := k.c.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "web"}, &is); err != nil {
		t.Fatal(err)
	}
	if len(is.Spec.Tags) != 1 || is.Spec.Tags[0].Name != "deployed" || is.Spec.Tags[0].From.Name != "web:1" {
		t.Errorf("tags %+v", is.Spec.Tags)
	}
	k.failed.Store(true)
	k.edit("web", setImage("web:2"))
	k.becomes("web-1 Complete 3 3\nweb-2 Failed 0 0")
	var rc corev1.ReplicationController
	if err := k.c.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "web-2"}, &rc); err != nil {
		t.Fatal(err)
	}
	if got := rc.Annotations[appsv1.DeploymentStatusReasonAnnotation]; !strings.Contains(got, "no such table") {
		t.Errorf("reason %q", got)
	}
}

func TestRecreateAndCustom(t *testing.T) {
	t.Parallel()
	k := newCluster(t)
	k.create(webConfig(func(dc *appsv1.DeploymentConfig) {
		dc.Spec.Strategy = appsv1.DeploymentStrategy{Type: appsv1.DeploymentStrategyTypeRecreate}
	}))
	k.becomes("web-1 Complete 3 3")
	k.edit("web", setImage("web:2"))
	k.becomes("web-1 Complete 0 0\nweb-2 Complete 3 3")
	k.edit("web", func(dc *appsv1.DeploymentConfig) {
		dc.Spec.Strategy = appsv1.DeploymentStrategy{Type: appsv1.DeploymentStrategyTypeCustom,
			CustomParams: &appsv1.CustomDeploymentStrategyParams{Image: "deployer:1"}}
		setImage("web:3")(dc)
	})
	k.becomes("web-1 Complete 0 0\nweb-2 Complete 0 0\nweb-3 Complete 3 3")
}
