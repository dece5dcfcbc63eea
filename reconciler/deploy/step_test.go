package deploy

import (
	"reflect"
	"strings"
	"testing"
	"time"

	appsv1 "github.com/openshift/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"slipway.dev/slipway/reconciler/pods"
)

func TestFenceposts(t *testing.T) {
	t.Parallel()
	v := func(s string) *intstr.IntOrString { p := intstr.Parse(s); return &p }
	for _, c := range []struct {
		surge, unavailable         *intstr.IntOrString
		desired                    int32
		wantSurge, wantUnavailable int32
	}{
		{nil, nil, 4, 1, 1},
		{nil, nil, 3, 1, 0},
		{nil, nil, 10, 3, 2},
		{v("0"), nil, 8, 0, 2},
		{nil, v("0"), 8, 2, 0},
		{v("0"), v("0"), 8, 0, 1},
		{v("0%"), v("10%"), 3, 0, 1},
		{v("2"), v("1"), 3, 2, 1},
		{v("150%"), v("100%"), 2, 3, 2},
		{v("2"), nil, 8, 2, 0},
		{nil, nil, 0, 0, 1},
	} {
		surge, unavailable := fenceposts(&appsv1.RollingDeploymentStrategyParams{MaxSurge: c.surge, MaxUnavailable: c.unavailable}, c.desired)
		if surge != c.wantSurge || unavailable != c.wantUnavailable {
			t.Errorf("surge %v unavailable %v of %d: got %d, %d, want %d, %d", c.surge, c.unavailable, c.desired, surge, unavailable, c.wantSurge, c.wantUnavailable)
		}
	}
}

func exec(policy appsv1.LifecycleHookFailurePolicy) *appsv1.LifecycleHook {
	return &appsv1.LifecycleHook{FailurePolicy: policy, ExecNewPod: &appsv1.ExecNewPodHook{Command: []string{"migrate"}, ContainerName: "web"}}
}

func TestStep(t *testing.T) {
	t.Parallel()
	rollingWith := func(p appsv1.RollingDeploymentStrategyParams) appsv1.DeploymentStrategy {
		return appsv1.DeploymentStrategy{Type: appsv1.DeploymentStrategyTypeRolling, RollingParams: &p}
	}
	recreateWith := func(p appsv1.RecreateDeploymentStrategyParams) appsv1.DeploymentStrategy {
		return appsv1.DeploymentStrategy{Type: appsv1.DeploymentStrategyTypeRecreate, RecreateParams: &p}
	}
	custom := appsv1.DeploymentStrategy{Type: appsv1.DeploymentStrategyTypeCustom}
	noted := func(rc *corev1.ReplicationController, annotation string, ago time.Duration) *corev1.ReplicationController {
		rc.Annotations[annotation] = noon.Add(-ago).Format(time.RFC3339Nano)
		return rc
	}
	counts := func(pairs ...pods.Count) map[string]pods.Count {
		m := map[string]pods.Count{}
		for i, p := range pairs {
			m[VersionName("web", int64(i+1))] = p
		}
		return m
	}
	full := pods.Count{Live: 3, Available: 3}
	is := func(m Move) func(Move) bool { return func(got Move) bool { return reflect.DeepEqual(got, m) } }
	waits := func(got Move) bool { return got.waiting() && got.After > 0 }
	fails := func(text string) func(Move) bool {
		return func(got Move) bool { return got.Phase == phaseFailed && strings.Contains(got.Reason, text) }
	}
	hookAt := func(at Moment, h *appsv1.LifecycleHook, retry bool) func(Move) bool {
		return is(Move{Hook: h, Moment: at, Retry: retry})
	}
	pre, ignore, retry := exec("Abort"), exec("Ignore"), exec("Retry")
	cancelledRC := version(t, 2, phaseNew, 0)
	cancelledRC.Annotations[appsv1.DeploymentCancelledAnnotation] = "true"

	for name, c := range map[string]struct {
		r    Rollout
		want func(Move) bool
	}{
		"new is taken up":         {Rollout{To: version(t, 1, phaseNew, 0)}, is(Move{Phase: appsv1.DeploymentStatusPending})},
		"pending begins":          {Rollout{To: version(t, 1, appsv1.DeploymentStatusPending, 0)}, is(Move{Phase: phaseRunning})},
		"what is over stays over": {Rollout{To: version(t, 1, phaseComplete, 0)}, is(Move{})},
		"a cancelled one fails":   {Rollout{To: cancelledRC}, fails("cancelled")},
		"the first one goes straight to full size": {
			Rollout{To: version(t, 1, phaseRunning, 0)}, is(Move{Scale: []Scale{{"web-1", 3}}})},
		"and waits for its pods": {
			Rollout{To: version(t, 1, phaseRunning, 3), Pods: counts(pods.Count{Live: 3, Available: 2})}, waits},
		"and is complete with them": {
			Rollout{To: version(t, 1, phaseRunning, 3), Pods: counts(full)}, is(Move{Phase: phaseComplete})},
		"no progress within the timeout fails": {
			Rollout{To: version(t, 1, phaseRunning, 3), Pods: counts(pods.Count{Live: 3}), Now: noon.Add(601 * time.Second)}, fails("timed out")},
		"unless nobody looked meanwhile": {
			Rollout{To: version(t, 1, phaseRunning, 3), Pods: counts(pods.Count{Live: 3}), Now: noon.Add(2 * time.Hour), Watched: noon.Add(2*time.Hour - 500*time.Second)}, is(Move{After: 100 * time.Second})},
		"nor does the deadline run": {
			Rollout{To: version(t, 1, phaseRunning, 3), Pods: counts(full), Now: noon.Add(12 * time.Hour), Watched: noon.Add(12 * time.Hour)}, is(Move{Phase: phaseComplete})},
		"rolling scales up by the surge": {
			Rollout{To: version(t, 2, phaseRunning, 0), From: version(t, 1, phaseComplete, 3), Pods: counts(full)}, is(Move{Scale: []Scale{{"web-2", 1}}})},
		"rolling lets things settle": {
			Rollout{To: noted(version(t, 2, phaseRunning, 1), annotationScaled, 0), From: version(t, 1, phaseComplete, 3), Pods: counts(full, pods.Count{Live: 1, Available: 1})},
			is(Move{After: time.Second})},
		"rolling waits for the new pod": {
			Rollout{To: noted(version(t, 2, phaseRunning, 1), annotationScaled, 2*time.Second), From: version(t, 1, phaseComplete, 3), Pods: counts(full, pods.Count{Live: 1})}, waits},
		"rolling wakes when minReadySeconds are over": {
			Rollout{To: noted(version(t, 2, phaseRunning, 1), annotationScaled, 2*time.Second), From: version(t, 1, phaseComplete, 3), Pods: counts(full, pods.Count{Live: 1, Next: 4 * time.Second})},
			is(Move{After: 4 * time.Second})},
		"rolling takes an old one for it": {
			Rollout{To: noted(version(t, 2, phaseRunning, 1), annotationScaled, 2*time.Second), From: version(t, 1, phaseComplete, 3), Pods: counts(full, pods.Count{Live: 1, Available: 1})},
			is(Move{Scale: []Scale{{"web-1", 2}}})},
		"an old pod that is not gone yet takes up room": {
			Rollout{To: version(t, 2, phaseRunning, 1), From: version(t, 1, phaseComplete, 2), Pods: counts(full, pods.Count{Live: 1, Available: 1})}, waits},
		"old pods that are not available go first": {
			Rollout{To: noted(version(t, 2, phaseRunning, 1), annotationScaled, 2*time.Second), From: version(t, 1, phaseComplete, 3),
				Pods: counts(pods.Count{Live: 3, Available: 2}, pods.Count{Live: 1, Available: 1})},
			is(Move{Scale: []Scale{{"web-1", 2}}})},
		"what a cancelled rollout left serves until it is replaced": {
			Rollout{Strategy: rollingWith(appsv1.RollingDeploymentStrategyParams{MaxSurge: ptr("1"), MaxUnavailable: ptr("0")}),
				To: version(t, 3, phaseRunning, 0), From: version(t, 1, phaseComplete, 1), Others: []*corev1.ReplicationController{version(t, 2, phaseFailed, 2)},
				Pods: counts(pods.Count{Live: 1, Available: 1}, pods.Count{Live: 2, Available: 2}, pods.Count{})},
			is(Move{Scale: []Scale{{"web-3", 1}}})},
		"rolling waits until the last old one is deleted": {
			Rollout{To: version(t, 2, phaseRunning, 3), From: version(t, 1, phaseComplete, 0), Pods: counts(pods.Count{Live: 1}, full)}, waits},
		"rolling is complete when all is new": {
			Rollout{To: version(t, 2, phaseRunning, 3), From: version(t, 1, phaseComplete, 0), Pods: counts(pods.Count{}, full)}, is(Move{Phase: phaseComplete})},
		"recreate ends the old": {
			Rollout{Strategy: recreateWith(appsv1.RecreateDeploymentStrategyParams{}), To: version(t, 2, phaseRunning, 0), From: version(t, 1, phaseComplete, 3), Pods: counts(full)},
			is(Move{Scale: []Scale{{"web-1", 0}}})},
		"recreate waits for the old to be gone": {
			Rollout{Strategy: recreateWith(appsv1.RecreateDeploymentStrategyParams{}), To: version(t, 2, phaseRunning, 0), From: version(t, 1, phaseComplete, 0), Pods: counts(pods.Count{Leaving: 1})}, waits},
		"recreate runs the mid hook between": {
			Rollout{Strategy: recreateWith(appsv1.RecreateDeploymentStrategyParams{Mid: pre}), To: version(t, 2, phaseRunning, 0), From: version(t, 1, phaseComplete, 0)},
			hookAt(Mid, pre, false)},
		"recreate tries one": {
			Rollout{Strategy: recreateWith(appsv1.RecreateDeploymentStrategyParams{}), To: version(t, 2, phaseRunning, 0), From: version(t, 1, phaseComplete, 0)},
			is(Move{Scale: []Scale{{"web-2", 1}}})},
		"recreate accepts it": {
			Rollout{Strategy: recreateWith(appsv1.RecreateDeploymentStrategyParams{}), To: version(t, 2, phaseRunning, 1), From: version(t, 1, phaseComplete, 0), Pods: counts(pods.Count{}, pods.Count{Live: 1, Available: 1})},
			is(Move{Scale: []Scale{{"web-2", 3}}})},
		"recreate is complete with all": {
			Rollout{Strategy: recreateWith(appsv1.RecreateDeploymentStrategyParams{}), To: version(t, 2, phaseRunning, 3), From: version(t, 1, phaseComplete, 0), Pods: counts(pods.Count{}, full)},
			is(Move{Phase: phaseComplete})},
		"the pre hook comes before all": {
			Rollout{Strategy: rollingWith(appsv1.RollingDeploymentStrategyParams{Pre: pre}), To: version(t, 1, phaseRunning, 0)}, hookAt(Pre, pre, false)},
		"its pod is waited for": {
			Rollout{Strategy: rollingWith(appsv1.RollingDeploymentStrategyParams{Pre: pre}), To: version(t, 1, phaseRunning, 0), Hooks: map[Moment]PodResult{Pre: {Phase: corev1.PodRunning}}}, waits},
		"its success is noted": {
			Rollout{Strategy: rollingWith(appsv1.RollingDeploymentStrategyParams{Pre: pre}), To: version(t, 1, phaseRunning, 0), Hooks: map[Moment]PodResult{Pre: {Phase: corev1.PodSucceeded}}},
			is(Move{Moment: Pre, Over: true})},
		"once noted it is not run again": {
			Rollout{Strategy: rollingWith(appsv1.RollingDeploymentStrategyParams{Pre: pre}), To: noted(version(t, 1, phaseRunning, 0), Pre.annotation(), 0)}, is(Move{Scale: []Scale{{"web-1", 3}}})},
		"Abort fails": {
			Rollout{Strategy: rollingWith(appsv1.RollingDeploymentStrategyParams{Pre: pre}), To: version(t, 1, phaseRunning, 0), Hooks: map[Moment]PodResult{Pre: {Phase: corev1.PodFailed, Message: "boom"}}}, fails("pre hook failed: boom")},
		"Ignore goes on": {
			Rollout{Strategy: rollingWith(appsv1.RollingDeploymentStrategyParams{Pre: ignore}), To: version(t, 1, phaseRunning, 0), Hooks: map[Moment]PodResult{Pre: {Phase: corev1.PodFailed}}}, is(Move{Moment: Pre, Over: true})},
		"Retry tries again": {
			Rollout{Strategy: rollingWith(appsv1.RollingDeploymentStrategyParams{Pre: retry}), To: version(t, 1, phaseRunning, 0), Hooks: map[Moment]PodResult{Pre: {Phase: corev1.PodFailed}}}, hookAt(Pre, retry, true)},
		"until the deadline": {
			Rollout{Strategy: rollingWith(appsv1.RollingDeploymentStrategyParams{Pre: retry}), To: version(t, 1, phaseRunning, 0), Hooks: map[Moment]PodResult{Pre: {Phase: corev1.PodFailed}}, Now: noon.Add(7 * time.Hour)}, fails("deadline")},
		"a failed post hook fails the rollout": {
			Rollout{Strategy: rollingWith(appsv1.RollingDeploymentStrategyParams{Post: pre}), To: version(t, 1, phaseRunning, 3), Pods: counts(full), Hooks: map[Moment]PodResult{Post: {Phase: corev1.PodFailed}}}, fails("post hook")},
		"while the post hook runs the middle is not looked at": {
			Rollout{Strategy: rollingWith(appsv1.RollingDeploymentStrategyParams{Post: pre}), To: version(t, 1, phaseRunning, 3), Pods: counts(pods.Count{}), Hooks: map[Moment]PodResult{Post: {Phase: corev1.PodSucceeded}}}, is(Move{Moment: Post, Over: true})},
		"custom starts its pod":    {Rollout{Strategy: custom, To: version(t, 1, phaseNew, 0)}, is(Move{Deploy: true})},
		"custom hands over":        {Rollout{Strategy: custom, To: version(t, 1, phaseNew, 0), Deployer: PodResult{Phase: corev1.PodPending}}, is(Move{Phase: appsv1.DeploymentStatusPending})},
		"custom runs":              {Rollout{Strategy: custom, To: version(t, 1, appsv1.DeploymentStatusPending, 0), Deployer: PodResult{Phase: corev1.PodRunning}}, is(Move{Phase: phaseRunning})},
		"custom notes success":     {Rollout{Strategy: custom, To: version(t, 1, phaseRunning, 0), Deployer: PodResult{Phase: corev1.PodSucceeded}}, is(Move{Moment: deployed, Over: true})},
		"custom is quick":          {Rollout{Strategy: custom, To: version(t, 1, appsv1.DeploymentStatusPending, 0), Deployer: PodResult{Phase: corev1.PodSucceeded}}, is(Move{Phase: phaseRunning})},
		"custom waits for its pod": {Rollout{Strategy: custom, To: version(t, 1, appsv1.DeploymentStatusPending, 0), Deployer: PodResult{Phase: corev1.PodPending}}, is(Move{After: 6 * time.Hour})},
		"custom has a deadline even before it runs": {
			Rollout{Strategy: custom, To: version(t, 1, appsv1.DeploymentStatusPending, 0), Deployer: PodResult{Phase: corev1.PodPending}, Now: noon.Add(6 * time.Hour)}, fails("deadline")},
		"custom brings the new up beside the old": {
			Rollout{Strategy: custom, To: noted(version(t, 2, phaseRunning, 0), deployed.annotation(), 0), From: version(t, 1, phaseComplete, 3), Pods: counts(full)}, is(Move{Scale: []Scale{{"web-2", 3}}})},
		"custom waits until it is available": {
			Rollout{Strategy: custom, To: noted(version(t, 2, phaseRunning, 3), deployed.annotation(), 0), From: version(t, 1, phaseComplete, 3), Pods: counts(full, pods.Count{Live: 3, Available: 2})}, waits},
		"custom completes, whatever became of its pod": {
			Rollout{Strategy: custom, To: noted(version(t, 2, phaseRunning, 3), deployed.annotation(), 0), From: version(t, 1, phaseComplete, 3), Pods: counts(full, full)}, is(Move{Phase: phaseComplete})},
		"custom fails":           {Rollout{Strategy: custom, To: version(t, 1, phaseRunning, 0), Deployer: PodResult{Phase: corev1.PodFailed}}, fails("web-1-deploy failed")},
		"custom without its pod": {Rollout{Strategy: custom, To: version(t, 1, phaseRunning, 0)}, fails("disappeared")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.r.Now.IsZero() {
				c.r.Now = noon
			}
			if got := Step(c.r); !c.want(got) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func ptr(s string) *intstr.IntOrString { v := intstr.Parse(s); return &v }

func TestHookPod(t *testing.T) {
	t.Parallel()
	rc := version(t, 1, phaseRunning, 0, func(dc *appsv1.DeploymentConfig) {
		s := &dc.Spec.Template.Spec
		s.Volumes = []corev1.Volume{{Name: "data"}, {Name: "cache"}}
		c := &s.Containers[0]
		c.WorkingDir = "/srv"
		c.Env = []corev1.EnvVar{{Name: "A", Value: "base"}, {Name: "B", Value: "base"}}
		c.VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/d"}, {Name: "cache", MountPath: "/c"}}
	})
	h := exec("Retry")
	h.ExecNewPod.Env = []corev1.EnvVar{{Name: "B", Value: "hook"}}
	h.ExecNewPod.Volumes = []string{"data"}
	pod, err := HookPod(rc, appsv1.DeploymentStrategy{}, Pre, h, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	c := pod.Spec.Containers[0]
	wantEnv := []corev1.EnvVar{{Name: "A", Value: "base"}, {Name: "B", Value: "hook"},
		{Name: "OPENSHIFT_DEPLOYMENT_NAME", Value: "web-1"}, {Name: "OPENSHIFT_DEPLOYMENT_NAMESPACE", Value: "shop"}}
	if !reflect.DeepEqual(c.Env, wantEnv) {
		t.Errorf("environment %v, want %v", c.Env, wantEnv)
	}
	if pod.Name != "web-1-hook-pre" || c.Image != "web:1" || c.WorkingDir != "/srv" || len(c.VolumeMounts) != 1 || len(pod.Spec.Volumes) != 1 ||
		pod.Spec.RestartPolicy != corev1.RestartPolicyOnFailure || *pod.Spec.ActiveDeadlineSeconds != 60 {
		t.Errorf("pod %+v", pod)
	}
	for k := range rc.Spec.Selector {
		if _, ok := pod.Labels[k]; ok {
			t.Errorf("the hook's pod carries label %s of the version's selector", k)
		}
	}
	h.ExecNewPod.ContainerName = "nobody"
	if _, err := HookPod(rc, appsv1.DeploymentStrategy{}, Pre, h, time.Minute); err == nil || !strings.Contains(err.Error(), `"nobody"`) {
		t.Errorf("a container that is not there: %v", err)
	}
	long := strings.Repeat("x", 250)
	if n := HookPodName(long, Pre); len(n) > 253 || n == HookPodName(long+"y", Pre) {
		t.Errorf("name %q", n)
	}
}
