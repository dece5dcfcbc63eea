package deploy

import (
	"reflect"
	"strings"
	"testing"
	"time"

	appsv1 "github.com/openshift/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

var (
	phaseNew      = appsv1.DeploymentStatusNew
	phaseRunning  = appsv1.DeploymentStatusRunning
	phaseComplete = appsv1.DeploymentStatusComplete
	phaseFailed   = appsv1.DeploymentStatusFailed
)

func config(edit ...func(*appsv1.DeploymentConfig)) *appsv1.DeploymentConfig {
	limit := int32(10)
	dc := &appsv1.DeploymentConfig{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "dc", Generation: 4},
		Spec: appsv1.DeploymentConfigSpec{
			Replicas: 3, RevisionHistoryLimit: &limit, Selector: map[string]string{"app": "web"},
			Triggers: appsv1.DeploymentTriggerPolicies{{Type: appsv1.DeploymentTriggerOnConfigChange}},
			Strategy: appsv1.DeploymentStrategy{Type: appsv1.DeploymentStrategyTypeRolling},
			Template: &corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web"}},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "web:1"}}},
			},
		},
	}
	for _, e := range edit {
		e(dc)
	}
	return dc
}

func imageTrigger(last string) func(*appsv1.DeploymentConfig) {
	return func(dc *appsv1.DeploymentConfig) {
		dc.Spec.Triggers = append(dc.Spec.Triggers, appsv1.DeploymentTriggerPolicy{
			Type: appsv1.DeploymentTriggerOnImageChange,
			ImageChangeParams: &appsv1.DeploymentTriggerImageChangeParams{
				Automatic: true, ContainerNames: []string{"web"}, LastTriggeredImage: last,
				From: corev1.ObjectReference{Kind: "ImageStreamTag", Name: "web:latest"},
			},
		})
	}
}

func at(version int64) func(*appsv1.DeploymentConfig) {
	return func(dc *appsv1.DeploymentConfig) { dc.Status.LatestVersion = version }
}

func image(name string) func(*appsv1.DeploymentConfig) {
	return func(dc *appsv1.DeploymentConfig) { dc.Spec.Template.Spec.Containers[0].Image = name }
}

func version(t testing.TB, n int64, phase appsv1.DeploymentStatus, size int32, edit ...func(*appsv1.DeploymentConfig)) *corev1.ReplicationController {
	t.Helper()
	rc, err := MakeVersion(config(append(edit, at(n))...))
	if err != nil {
		t.Fatal(err)
	}
	rc.UID = types.UID(rc.Name)
	rc.Annotations[appsv1.DeploymentStatusAnnotation] = string(phase)
	rc.Annotations[annotationStarted] = noon.Format(time.RFC3339Nano)
	rc.Spec.Replicas = &size
	rc.CreationTimestamp = metav1.NewTime(noon)
	return rc
}

func TestDecideConfig(t *testing.T) {
	t.Parallel()
	versions := func(rcs ...*corev1.ReplicationController) []*corev1.ReplicationController { return rcs }
	cancelledRC := version(t, 1, phaseRunning, 1)
	cancelledRC.Annotations[appsv1.DeploymentCancelledAnnotation] = "true"
	one := int32(1)
	limitOne := func(dc *appsv1.DeploymentConfig) { dc.Spec.RevisionHistoryLimit = &one }
	none := func(dc *appsv1.DeploymentConfig) { dc.Spec.Triggers = nil }
	paused := func(dc *appsv1.DeploymentConfig) { dc.Spec.Paused = true }
	manual := func(dc *appsv1.DeploymentConfig) {
		imageTrigger("")(dc)
		dc.Spec.Triggers = dc.Spec.Triggers[1:]
		dc.Spec.Triggers[0].ImageChangeParams.Automatic = false
	}

	for name, c := range map[string]struct {
		dc   *appsv1.DeploymentConfig
		rcs  []*corev1.ReplicationController
		want Decision
	}{
		"no trigger, never rolled out: nothing":                   {dc: config(none), want: Decision{Observed: true}},
		"config trigger starts version 1":                         {dc: config(), want: Decision{Next: configCause()}},
		"the first rollout waits for its image":                   {dc: config(imageTrigger("")), want: Decision{Observed: true}},
		"the image is there":                                      {dc: config(imageTrigger("web@sha256:1")), want: Decision{Next: configCause()}},
		"a trigger that is not automatic starts with git's image": {dc: config(manual), want: Decision{Next: configCause()}},
		"or waits where git has none":                             {dc: config(manual, image(" ")), want: Decision{Observed: true}},
		"git's next image is an image change": {
			dc: config(at(1), manual, image("web:2")), rcs: versions(version(t, 1, phaseComplete, 3, manual)),
			want: Decision{Next: configCause()},
		},
		"the version is made": {dc: config(at(1)), want: Decision{Create: true}},
		"a running rollout is stepped and nothing else": {
			dc: config(at(1)), rcs: versions(version(t, 1, phaseRunning, 1)), want: Decision{Roll: []string{"web-1"}},
		},
		"after the rollout replicas follow the config": {
			dc: config(at(1)), rcs: versions(version(t, 1, phaseComplete, 1)),
			want: Decision{Scale: []Scale{{"web-1", 3}}, Observed: true},
		},
		"a test config runs nothing between rollouts": {
			dc: config(at(1), func(dc *appsv1.DeploymentConfig) { dc.Spec.Test = true }), rcs: versions(version(t, 1, phaseComplete, 3)),
			want: Decision{Scale: []Scale{{"web-1", 0}}, Observed: true},
		},
		"a changed template is a config cause": {
			dc: config(at(1), image("web:2")), rcs: versions(version(t, 1, phaseComplete, 3)), want: Decision{Next: configCause()},
		},
		"a changed image is an image cause": {
			dc: config(at(1), imageTrigger("web:2"), image("web:2")), rcs: versions(version(t, 1, phaseComplete, 3, imageTrigger("web:1"))),
			want: Decision{Next: imageCause(imageTriggers(config(imageTrigger("web:2"))), []string{"web:2"})},
		},
		"spaces around an image are no change": {
			dc: config(at(1), imageTrigger(" web:1"), image(" web:1")), rcs: versions(version(t, 1, phaseComplete, 3, imageTrigger(" web:1"), image(" web:1"))),
			want: Decision{Observed: true},
		},
		"without a config trigger a changed template waits": {
			dc:  config(at(1), none, func(dc *appsv1.DeploymentConfig) { dc.Spec.Template.Labels["x"] = "y" }),
			rcs: versions(version(t, 1, phaseComplete, 3)), want: Decision{Observed: true},
		},
		"a paused config starts nothing, a running rollout goes on": {
			dc: config(at(1), image("web:2"), paused), rcs: versions(version(t, 1, phaseRunning, 3)),
			want: Decision{Roll: []string{"web-1"}, Observed: true},
		},
		"a newer version cancels the running rollout": {
			dc: config(at(2)), rcs: versions(version(t, 1, phaseRunning, 1)),
			want: Decision{Cancel: []string{"web-1"}, Roll: []string{"web-1"}},
		},
		"and is made only after that one ended": {
			dc: config(at(2)), rcs: versions(cancelledRC), want: Decision{Roll: []string{"web-1"}},
		},
		"a failed rollout is rolled back": {
			dc: config(at(2)), rcs: versions(version(t, 1, phaseComplete, 0), version(t, 2, phaseFailed, 2)),
			want: Decision{Scale: []Scale{{"web-1", 3}, {"web-2", 0}}, Observed: true},
		},
		"a failed first rollout leaves nothing": {
			dc: config(at(1)), rcs: versions(version(t, 1, phaseFailed, 2)),
			want: Decision{Scale: []Scale{{"web-1", 0}}, Observed: true},
		},
		"history below the active version, oldest first, only without pods": {
			dc: config(at(5), limitOne),
			rcs: versions(version(t, 1, phaseComplete, 0), version(t, 2, phaseFailed, 0), version(t, 3, phaseComplete, 0),
				version(t, 4, phaseComplete, 3), version(t, 5, phaseFailed, 0)),
			want: Decision{Delete: []string{"web-1", "web-2"}, Observed: true},
		},
		"history is cleaned up while paused": {
			dc: config(at(3), limitOne, paused), rcs: versions(version(t, 1, phaseComplete, 0), version(t, 2, phaseComplete, 0), version(t, 3, phaseComplete, 3)),
			want: Decision{Delete: []string{"web-1"}, Observed: true},
		},
		"the order in which versions are read does not matter": {
			dc: config(at(2)), rcs: versions(version(t, 2, phaseComplete, 3), version(t, 1, phaseComplete, 1)),
			want: Decision{Scale: []Scale{{"web-1", 0}}, Observed: true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := DecideConfig(c.dc, c.rcs); !reflect.DeepEqual(got, c.want) {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
		})
	}
}

func TestMakeVersion(t *testing.T) {
	t.Parallel()
	dc := config(at(7), func(dc *appsv1.DeploymentConfig) {
		dc.Labels = map[string]string{"team": "a"}
		dc.Status.Details = &appsv1.DeploymentDetails{Message: "image change"}
		dc.Spec.MinReadySeconds = 5
	})
	rc, err := MakeVersion(dc)
	if err != nil {
		t.Fatal(err)
	}
	if rc.Name != "web-7" || replicas(rc) != 0 || PhaseOf(rc) != phaseNew || VersionOf(rc) != 7 || desiredReplicas(rc) != 3 || rc.Spec.MinReadySeconds != 5 {
		t.Errorf("version is %+v", rc)
	}
	want := map[string]string{"app": "web", "deployment": "web-7", "deploymentconfig": "web"}
	if !reflect.DeepEqual(rc.Spec.Selector, want) || !reflect.DeepEqual(rc.Spec.Template.Labels, want) {
		t.Errorf("selector %v, pod labels %v, want %v", rc.Spec.Selector, rc.Spec.Template.Labels, want)
	}
	if rc.Labels["team"] != "a" || rc.Labels["openshift.io/deployment-config.name"] != "web" {
		t.Errorf("labels %v", rc.Labels)
	}
	encoded := rc.Annotations["openshift.io/encoded-deployment-config"]
	if !strings.Contains(encoded, `"kind":"DeploymentConfig"`) {
		t.Errorf("the config is encoded as %s", encoded)
	}
	delete(rc.Annotations, "openshift.io/encoded-deployment-config")
	if want := map[string]string{
		"openshift.io/deployment-config.name": "web", "openshift.io/deployment-config.latest-version": "7", "openshift.io/deployment.phase": "New",
		"openshift.io/deployment.replicas": "0", "openshift.io/deployment.status-reason": "image change", "kubectl.kubernetes.io/desired-replicas": "3",
	}; !reflect.DeepEqual(rc.Annotations, want) {
		t.Errorf("annotations %v, want %v", rc.Annotations, want)
	}
	if rc.Spec.Template.Annotations["openshift.io/deployment.name"] != "web-7" {
		t.Errorf("annotations of pods %v", rc.Spec.Template.Annotations)
	}
	rc.Annotations["openshift.io/encoded-deployment-config"] = encoded
	if !ownedBy(rc, dc) || !sameTemplate(dc, rc) {
		t.Error("the version does not belong to its config, or was not made from it")
	}
}

func TestConfigStatus(t *testing.T) {
	t.Parallel()
	old, latest := version(t, 1, phaseComplete, 2), version(t, 2, phaseRunning, 2)
	old.Status = corev1.ReplicationControllerStatus{Replicas: 2, ReadyReplicas: 2, AvailableReplicas: 2}
	latest.Status = corev1.ReplicationControllerStatus{Replicas: 2, ReadyReplicas: 1}
	dc := config(at(2))
	s := ConfigStatus(dc, []*corev1.ReplicationController{old, latest}, false, noon)
	if s.Replicas != 4 || s.UpdatedReplicas != 2 || s.AvailableReplicas != 2 || s.UnavailableReplicas != 2 || s.ReadyReplicas != 3 || s.ObservedGeneration != 0 {
		t.Errorf("status %+v", s)
	}
	if c := s.Conditions[0]; c.Type != appsv1.DeploymentAvailable || c.Status != corev1.ConditionFalse {
		t.Errorf("with 2 of 3 available, 25%% of 3 rounded down being 0: %+v", c)
	}
	if c := s.Conditions[1]; c.Reason != "ReplicationControllerUpdated" || c.Status != corev1.ConditionTrue {
		t.Errorf("progress %+v", c)
	}
	dc.Status = s
	if again := ConfigStatus(dc, []*corev1.ReplicationController{old, latest}, false, noon.Add(time.Hour)); !reflect.DeepEqual(again, s) {
		t.Error("a status that says the same is written again")
	}
	for phase, reason := range map[appsv1.DeploymentStatus]string{
		phaseNew: "NewReplicationControllerCreated", phaseComplete: "NewReplicationControllerAvailable", phaseFailed: "ProgressDeadlineExceeded",
	} {
		latest.Annotations[appsv1.DeploymentStatusAnnotation] = string(phase)
		if got := progress(latest); got.Reason != reason {
			t.Errorf("%s: reason %s, want %s", phase, got.Reason, reason)
		}
	}
	latest.Annotations[appsv1.DeploymentStatusAnnotation] = string(phaseFailed)
	latest.Annotations[appsv1.DeploymentCancelledAnnotation] = "true"
	if got := progress(latest); got.Reason != "RolloutCancelled" {
		t.Errorf("cancelled: reason %s", got.Reason)
	}
}
