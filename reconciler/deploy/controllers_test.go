package deploy_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	appsv1 "github.com/openshift/api/apps/v1"
	imagev1 "github.com/openshift/api/image/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/reconciler/deploy"
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
	k.stop = statetest.Run(k.T, k.C, deploy.Controllers(deploy.Deps{Client: k.C, Events: event.New(k.C, "deploy", slog.New(slog.DiscardHandler)), Log: log})...)
}

// edit changes the config, trying again where a controller wrote in between.
func (k *cluster) edit(name string, change func(*appsv1.DeploymentConfig)) {
	k.T.Helper()
	k.Eventually("edit "+name, func() (bool, string) {
		dc := k.config(name)
		change(dc)
		err := k.C.Update(k.T.Context(), dc)
		return err == nil, fmt.Sprint(err)
	})
}

func (k *cluster) config(name string) *appsv1.DeploymentConfig {
	k.T.Helper()
	var dc appsv1.DeploymentConfig
	if err := k.C.Get(k.T.Context(), client.ObjectKey{Namespace: "shop", Name: name}, &dc); err != nil {
		k.T.Fatal(err)
	}
	return &dc
}

// versions reads `name phase replicas available`, one version a line, oldest first.
func (k *cluster) versions() string {
	k.T.Helper()
	var list corev1.ReplicationControllerList
	if err := k.C.List(k.T.Context(), &list, client.InNamespace("shop")); err != nil {
		k.T.Fatal(err)
	}
	var lines []string
	for _, rc := range list.Items {
		lines = append(lines, fmt.Sprintf("%s %s %d %d", rc.Name, rc.Annotations[appsv1.DeploymentStatusAnnotation], *rc.Spec.Replicas, rc.Status.AvailableReplicas))
	}
	return strings.Join(lines, "\n")
}

func (k *cluster) becomes(want string) {
	k.T.Helper()
	k.Eventually("versions", func() (bool, string) {
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
	k.Create(webConfig(nil))
	k.becomes("web-1 Complete 3 3")

	k.edit("web", setImage("web:2"))
	k.becomes("web-1 Complete 0 0\nweb-2 Complete 3 3")

	k.edit("web", func(dc *appsv1.DeploymentConfig) { dc.Spec.Replicas = 5 })
	k.becomes("web-1 Complete 0 0\nweb-2 Complete 5 5")

	k.edit("web", func(dc *appsv1.DeploymentConfig) { dc.Spec.Replicas = 1 })
	k.becomes("web-1 Complete 0 0\nweb-2 Complete 1 1")
	k.Eventually("status", func() (bool, string) {
		dc := k.config("web")
		s := dc.Status
		return s.LatestVersion == 2 && s.ObservedGeneration == dc.Generation && s.Replicas == 1 && s.ReadyReplicas == 1 && s.AvailableReplicas == 1 && s.UpdatedReplicas == 1,
			fmt.Sprintf("generation %d, status %+v", dc.Generation, s)
	})
	k.Eventually("events", func() (bool, string) {
		var list corev1.EventList
		if err := k.C.List(t.Context(), &list, client.InNamespace("shop")); err != nil {
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
	k.Create(webConfig(nil))
	k.becomes("web-1 Complete 3 3")
	var pods corev1.PodList
	if err := k.C.List(t.Context(), &pods, client.InNamespace("shop")); err != nil {
		t.Fatal(err)
	}
	if err := k.C.Delete(t.Context(), &pods.Items[0], client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	k.Eventually("a pod's failure", func() (bool, string) {
		p := pods.Items[1].DeepCopy()
		if err := k.C.Get(t.Context(), client.ObjectKeyFromObject(p), p); err != nil {
			return false, err.Error()
		}
		p.Status.Phase = corev1.PodFailed
		p.Status.Conditions = nil
		err := k.C.Status().Update(t.Context(), p)
		return err == nil, fmt.Sprint(err)
	})
	k.Eventually("three live pods", func() (bool, string) {
		var now corev1.PodList
		if err := k.C.List(t.Context(), &now, client.InNamespace("shop")); err != nil {
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
	k.Sick.Store("web:bad")
	two := int64(2)
	k.Create(webConfig(func(dc *appsv1.DeploymentConfig) { dc.Spec.Strategy.RollingParams.TimeoutSeconds = &two }))
	k.becomes("web-1 Complete 3 3")
	k.edit("web", setImage("web:bad"))
	k.becomes("web-1 Complete 3 3\nweb-2 Failed 0 0")
	k.Eventually("condition", func() (bool, string) {
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
	k.Sick.Store("web:bad")
	k.Create(webConfig(nil))
	k.becomes("web-1 Complete 3 3")
	k.edit("web", setImage("web:bad"))
	k.becomes("web-1 Complete 3 3\nweb-2 Running 1 0")
	k.edit("web", setImage("web:3"))
	k.becomes("web-1 Complete 0 0\nweb-2 Failed 0 0\nweb-3 Complete 3 3")
	var rc corev1.ReplicationController
	if err := k.C.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "web-2"}, &rc); err != nil {
		t.Fatal(err)
	}
	if got := rc.Annotations[appsv1.DeploymentStatusReasonAnnotation]; got != "newer deployment was found running" {
		t.Errorf("reason %q", got)
	}
}

func TestARestartInTheMiddleGoesOn(t *testing.T) {
	t.Parallel()
	k := newCluster(t)
	k.Sick.Store("web:2")
	k.Create(webConfig(nil))
	k.becomes("web-1 Complete 3 3")
	k.edit("web", setImage("web:2"))
	k.becomes("web-1 Complete 3 3\nweb-2 Running 1 0")
	k.stop()
	k.Heal()
	k.start()
	// Its pods become ready as they come; the controllers that were started find the rollout where it was.
	k.becomes("web-1 Complete 0 0\nweb-2 Complete 3 3")
}

func TestHooksAndTags(t *testing.T) {
	t.Parallel()
	k := newCluster(t)
	k.Create(webConfig(func(dc *appsv1.DeploymentConfig) {
		p := dc.Spec.Strategy.RollingParams
		p.Pre = &appsv1.LifecycleHook{FailurePolicy: appsv1.LifecycleHookFailurePolicyAbort,
			ExecNewPod: &appsv1.ExecNewPodHook{Command: []string{"migrate"}, ContainerName: "web"}}
		p.Post = &appsv1.LifecycleHook{FailurePolicy: appsv1.LifecycleHookFailurePolicyAbort,
			TagImages: []appsv1.TagImageHook{{ContainerName: "web", To: corev1.ObjectReference{Kind: "ImageStreamTag", Name: "web:deployed"}}}}
	}))
	k.becomes("web-1 Complete 3 3")
	var is imagev1.ImageStream
	if err := k.C.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "web"}, &is); err != nil {
		t.Fatal(err)
	}
	if len(is.Spec.Tags) != 1 || is.Spec.Tags[0].Name != "deployed" || is.Spec.Tags[0].From.Name != "web:1" {
		t.Errorf("tags %+v", is.Spec.Tags)
	}
	k.Fails.Store(true)
	k.edit("web", setImage("web:2"))
	k.becomes("web-1 Complete 3 3\nweb-2 Failed 0 0")
	var rc corev1.ReplicationController
	if err := k.C.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "web-2"}, &rc); err != nil {
		t.Fatal(err)
	}
	if got := rc.Annotations[appsv1.DeploymentStatusReasonAnnotation]; !strings.Contains(got, "no such table") {
		t.Errorf("reason %q", got)
	}
}

func TestRecreateAndCustom(t *testing.T) {
	t.Parallel()
	k := newCluster(t)
	k.Create(webConfig(func(dc *appsv1.DeploymentConfig) {
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
