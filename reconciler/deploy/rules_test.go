package deploy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "github.com/openshift/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// observed waits until the controllers have said that they took a config's spec into
// account, and nothing of it is left to do.
func (k *cluster) observed(name string) {
	k.T.Helper()
	k.Eventually(name+" is observed", func() (bool, string) {
		dc := k.config(name)
		return dc.Status.ObservedGeneration == dc.Generation, fmt.Sprintf("generation %d, status %+v", dc.Generation, dc.Status)
	})
}

// told waits for an event whose message contains a text.
func (k *cluster) told(text string) {
	k.T.Helper()
	k.Eventually(text, func() (bool, string) {
		var list corev1.EventList
		if err := k.C.List(k.T.Context(), &list, client.InNamespace("shop")); err != nil {
			return false, err.Error()
		}
		var said []string
		for _, e := range list.Items {
			if strings.Contains(e.Message, text) {
				return true, ""
			}
			said = append(said, e.Message)
		}
		return false, strings.Join(said, "\n")
	})
}

func progressOf(dc *appsv1.DeploymentConfig) (reason string) {
	for _, c := range dc.Status.Conditions {
		if c.Type == appsv1.DeploymentProgressing {
			reason = c.Reason
		}
	}
	return reason
}

func TestAConfigWithoutTriggersIsLeftAlone(t *testing.T) {
	t.Parallel()
	k := newCluster(t)
	k.Create(webConfig(func(dc *appsv1.DeploymentConfig) { dc.Spec.Triggers = appsv1.DeploymentTriggerPolicies{} }))
	k.observed("web")
	if got := k.versions(); got != "" {
		t.Errorf("there is\n%s", got)
	}
}

func TestAPausedConfigStartsNothing(t *testing.T) {
	t.Parallel()
	k := newCluster(t)
	k.Create(webConfig(nil))
	k.becomes("web-1 Complete 3 3")
	k.edit("web", func(dc *appsv1.DeploymentConfig) {
		dc.Spec.Paused = true
		setImage("web:2")(dc)
	})
	k.observed("web")
	k.becomes("web-1 Complete 3 3")
	k.edit("web", func(dc *appsv1.DeploymentConfig) { dc.Spec.Paused = false })
	k.becomes("web-1 Complete 0 0\nweb-2 Complete 3 3")
}

func TestATestConfigRunsOnlyWhileItRollsOut(t *testing.T) {
	t.Parallel()
	k := newCluster(t)
	k.Create(webConfig(func(dc *appsv1.DeploymentConfig) { dc.Spec.Test = true }))
	k.told(`"web-1" from 0 to 3`)
	k.becomes("web-1 Complete 0 0")
	k.observed("web")
}

func TestHistoryIsCut(t *testing.T) {
	t.Parallel()
	k := newCluster(t)
	one := int32(1)
	k.Create(webConfig(func(dc *appsv1.DeploymentConfig) { dc.Spec.RevisionHistoryLimit, dc.Spec.Replicas = &one, 1 }))
	k.becomes("web-1 Complete 1 1")
	k.edit("web", setImage("web:2"))
	k.becomes("web-1 Complete 0 0\nweb-2 Complete 1 1")
	k.edit("web", setImage("web:3"))
	k.becomes("web-2 Complete 0 0\nweb-3 Complete 1 1")
}

// An image trigger has written what is edited here: TestImageTriggersReachConfigs.
func TestImageTriggersRollOut(t *testing.T) {
	t.Parallel()
	k := newCluster(t)
	const first, second = "web@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "web@sha256:60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752"
	arrives := func(image string) func(*appsv1.DeploymentConfig) {
		return func(dc *appsv1.DeploymentConfig) {
			setImage(image)(dc)
			dc.Spec.Triggers[0].ImageChangeParams.LastTriggeredImage = image
		}
	}
	k.Create(webConfig(func(dc *appsv1.DeploymentConfig) {
		dc.Spec.Triggers = appsv1.DeploymentTriggerPolicies{{Type: appsv1.DeploymentTriggerOnImageChange, ImageChangeParams: &appsv1.DeploymentTriggerImageChangeParams{
			Automatic: true, ContainerNames: []string{"web"}, From: corev1.ObjectReference{Kind: "ImageStreamTag", Name: "web:latest"}}}}
		setImage(" ")(dc)
	}))
	k.observed("web")
	if got := k.versions(); got != "" {
		t.Fatalf("without its image there is\n%s", got)
	}
	k.edit("web", arrives(first))
	k.becomes("web-1 Complete 3 3")
	// Without a trigger for it, a changed template waits for the next image.
	k.edit("web", func(dc *appsv1.DeploymentConfig) {
		dc.Spec.Template.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "COLOR", Value: "blue"}}
	})
	k.observed("web")
	k.becomes("web-1 Complete 3 3")
	k.edit("web", arrives(second))
	k.becomes("web-1 Complete 0 0\nweb-2 Complete 3 3")
	details := k.config("web").Status.Details
	if details == nil || details.Message != "image change" || len(details.Causes) != 1 || details.Causes[0].ImageTrigger == nil || details.Causes[0].ImageTrigger.From.Name != "web:latest" {
		t.Errorf("details %+v", details)
	}
	var rc corev1.ReplicationController
	if err := k.C.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "web-2"}, &rc); err != nil {
		t.Fatal(err)
	}
	if env := rc.Spec.Template.Spec.Containers[0].Env; len(env) != 1 {
		t.Errorf("the change that waited is not there: %v", env)
	}
}

func TestFailurePoliciesOfHooks(t *testing.T) {
	t.Parallel()
	for policy, want := range map[appsv1.LifecycleHookFailurePolicy]string{
		appsv1.LifecycleHookFailurePolicyAbort:  "web-1 Failed 0 0",
		appsv1.LifecycleHookFailurePolicyIgnore: "web-1 Complete 3 3",
	} {
		for at, hook := range map[string]func(*appsv1.RecreateDeploymentStrategyParams, *appsv1.LifecycleHook){
			"pre":  func(p *appsv1.RecreateDeploymentStrategyParams, h *appsv1.LifecycleHook) { p.Pre = h },
			"mid":  func(p *appsv1.RecreateDeploymentStrategyParams, h *appsv1.LifecycleHook) { p.Mid = h },
			"post": func(p *appsv1.RecreateDeploymentStrategyParams, h *appsv1.LifecycleHook) { p.Post = h },
		} {
			t.Run(fmt.Sprint(policy, " ", at), func(t *testing.T) {
				t.Parallel()
				k := newCluster(t)
				k.Fails.Store(true)
				h := aborting()
				h.FailurePolicy = policy
				p := &appsv1.RecreateDeploymentStrategyParams{}
				hook(p, h)
				k.Create(webConfig(func(dc *appsv1.DeploymentConfig) {
					dc.Spec.Strategy = appsv1.DeploymentStrategy{Type: appsv1.DeploymentStrategyTypeRecreate, RecreateParams: p}
				}))
				k.becomes(want)
				if policy == appsv1.LifecycleHookFailurePolicyIgnore {
					k.told("The " + at + " hook of web-1 failed, which is ignored")
				}
				var pod corev1.Pod
				if err := k.C.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "web-1-hook-" + at}, &pod); err != nil {
					t.Errorf("the hook's pod does not stay to be read: %v", err)
				}
			})
		}
	}
}

// A hook that may be tried again gets a new pod when its pod is lost: evicted, or ended by
// its node. Failures of its container are its pod's own to repeat.
func TestRetryGivesAHookAnotherPod(t *testing.T) {
	t.Parallel()
	k := newCluster(t)
	h := aborting()
	h.FailurePolicy = appsv1.LifecycleHookFailurePolicyRetry
	k.Sick.Store("web:1")
	k.Create(webConfig(func(dc *appsv1.DeploymentConfig) { dc.Spec.Strategy.RollingParams.Pre = h }))
	key := client.ObjectKey{Namespace: "shop", Name: "web-1-hook-pre"}
	var first, next corev1.Pod
	k.Eventually("the hook fails", func() (bool, string) {
		if err := k.C.Get(t.Context(), key, &first); err != nil {
			return false, err.Error()
		}
		first.Status.Phase, first.Status.Message = corev1.PodFailed, "evicted"
		err := k.C.Status().Update(t.Context(), &first)
		return err == nil, fmt.Sprint(err)
	})
	k.Eventually("another pod of the hook succeeds", func() (bool, string) {
		if err := k.C.Get(t.Context(), key, &next); err != nil || next.UID == first.UID {
			return false, fmt.Sprintf("the first pod, or %v", err)
		}
		next.Status.Phase = corev1.PodSucceeded
		err := k.C.Status().Update(t.Context(), &next)
		return err == nil, fmt.Sprint(err)
	})
	k.told(`"web-1" from 0 to 3`)
}

// A failed rollout says why, and what was asked of it and when is there to be read.
func TestWhatARolloutLeavesToRead(t *testing.T) {
	t.Parallel()
	k := newCluster(t)
	k.Sick.Store("web:1")
	k.Create(webConfig(nil))
	k.Eventually("it is under way", func() (bool, string) {
		got := progressOf(k.config("web"))
		return got == "ReplicationControllerUpdated", got
	})
	var rc corev1.ReplicationController
	k.Eventually("its version", func() (bool, string) {
		err := k.C.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "web-1"}, &rc)
		return err == nil && *rc.Spec.Replicas == 3, fmt.Sprint(err)
	})
	if rc.Annotations["openshift.io/deployment.replicas"] != "3" || rc.Annotations["openshift.io/deployment.phase"] != "Running" {
		t.Errorf("annotations %v", rc.Annotations)
	}
	if at, err := time.Parse(time.RFC3339Nano, rc.Annotations["slipway.dev/rollout-scaled"]); err != nil || time.Since(at) > time.Hour {
		t.Errorf("scaled at %v: %v", at, err)
	}
	k.edit("web", setImage("web:2"))
	k.becomes("web-1 Failed 0 0\nweb-2 Complete 3 3")
	if err := k.C.Get(t.Context(), client.ObjectKeyFromObject(&rc), &rc); err != nil {
		t.Fatal(err)
	}
	if _, said := rc.Annotations["openshift.io/deployment.cancelled"]; !said {
		t.Errorf("annotations of the cancelled version %v", rc.Annotations)
	}
	k.Eventually("the newest is available", func() (bool, string) {
		got := progressOf(k.config("web"))
		return got == "NewReplicationControllerAvailable", got
	})
	var pods corev1.PodList
	if err := k.C.List(t.Context(), &pods, client.InNamespace("shop"), client.MatchingLabels{"deploymentconfig": "web", "deployment": "web-2"}); err != nil {
		t.Fatal(err)
	}
	if len(pods.Items) != 3 || slices.ContainsFunc(pods.Items, func(p corev1.Pod) bool { return p.Annotations["openshift.io/deployment.name"] != "web-2" }) {
		t.Errorf("%d pods carry the labels of their version", len(pods.Items))
	}
}
