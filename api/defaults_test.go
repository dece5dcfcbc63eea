package api

import (
	"strings"
	"testing"

	appsv1 "github.com/openshift/api/apps/v1"
	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func TestPullPolicy(t *testing.T) {
	t.Parallel()
	for image, want := range map[string]corev1.PullPolicy{
		"busybox": corev1.PullAlways, "busybox:latest": corev1.PullAlways, "h:5000/busybox": corev1.PullAlways,
		"busybox:1": corev1.PullIfNotPresent, "h:5000/busybox:1": corev1.PullIfNotPresent,
		"busybox@sha256:" + zeros: corev1.PullIfNotPresent, "": corev1.PullIfNotPresent, " ": corev1.PullIfNotPresent,
	} {
		if got := PullPolicy(image); got != want {
			t.Errorf("%q: got %s, want %s", image, got, want)
		}
	}
}

func TestSurgeDefaults(t *testing.T) {
	t.Parallel()
	n, pct := func(i int32) *intstr.IntOrString { v := intstr.FromInt32(i); return &v }, func(s string) *intstr.IntOrString { v := intstr.FromString(s); return &v }
	for _, c := range []struct {
		surge, unavailable         *intstr.IntOrString
		wantSurge, wantUnavailable string
	}{
		{nil, nil, "25%", "25%"}, {n(0), nil, "0", "25%"}, {nil, n(0), "25%", "0"}, {pct("0%"), nil, "0%", "25%"},
		{n(1), nil, "1", "0"}, {nil, pct("10%"), "0", "10%"}, {n(2), n(3), "2", "3"},
	} {
		dc := &appsv1.DeploymentConfig{Spec: appsv1.DeploymentConfigSpec{Strategy: appsv1.DeploymentStrategy{
			RollingParams: &appsv1.RollingDeploymentStrategyParams{MaxSurge: c.surge, MaxUnavailable: c.unavailable}}}}
		Default(dc)
		r := dc.Spec.Strategy.RollingParams
		if r.MaxSurge.String() != c.wantSurge || r.MaxUnavailable.String() != c.wantUnavailable {
			t.Errorf("%v %v: got %s %s, want %s %s", c.surge, c.unavailable, r.MaxSurge, r.MaxUnavailable, c.wantSurge, c.wantUnavailable)
		}
	}
}

func TestDeploymentConfigDefaults(t *testing.T) {
	t.Parallel()
	obj, errs := check(object(t, goodDC))
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	dc := obj.(*appsv1.DeploymentConfig)
	s := dc.Spec
	pod := s.Template.Spec
	c := pod.Containers[0]
	for name, ok := range map[string]bool{
		"selector": s.Selector["app"] == "frontend", "strategy": s.Strategy.Type == appsv1.DeploymentStrategyTypeRolling,
		"timeout": *s.Strategy.RollingParams.TimeoutSeconds == 600, "deadline": *s.Strategy.ActiveDeadlineSeconds == 21600,
		"interval": *s.Strategy.RollingParams.IntervalSeconds == 1, "history": *s.RevisionHistoryLimit == 10,
		"hook": s.Strategy.RollingParams.Pre.ExecNewPod.ContainerName == "web", "trigger": s.Triggers[1].ImageChangeParams.From.Kind == "ImageStreamTag",
		"restart": pod.RestartPolicy == corev1.RestartPolicyAlways, "grace": *pod.TerminationGracePeriodSeconds == 30, "dns": pod.DNSPolicy == corev1.DNSClusterFirst,
		"volume": pod.Volumes[0].EmptyDir != nil, "protocol": c.Ports[0].Protocol == corev1.ProtocolTCP, "probe": c.ReadinessProbe.PeriodSeconds == 10,
		"scheme": c.ReadinessProbe.HTTPGet.Scheme == corev1.URISchemeHTTP, "request": c.Resources.Requests.Cpu().String() == "500m",
	} {
		if !ok {
			t.Errorf("%s is not defaulted as it should be", name)
		}
	}
	none := &appsv1.DeploymentConfig{Spec: appsv1.DeploymentConfigSpec{Triggers: appsv1.DeploymentTriggerPolicies{}}}
	Default(none)
	if len(none.Spec.Triggers) != 0 {
		t.Error("an explicit [] of triggers means none")
	}
	missing := &appsv1.DeploymentConfig{}
	Default(missing)
	if len(missing.Spec.Triggers) != 1 || missing.Spec.Triggers[0].Type != appsv1.DeploymentTriggerOnConfigChange {
		t.Error("missing triggers mean ConfigChange")
	}
}

func TestSecretFoldsStringData(t *testing.T) {
	t.Parallel()
	s := &corev1.Secret{Data: map[string][]byte{"a": []byte("1")}, StringData: map[string]string{"a": "2"}}
	Default(s)
	if string(s.Data["a"]) != "2" || s.StringData != nil || s.Type != corev1.SecretTypeOpaque {
		t.Fatalf("got %+v", s)
	}
}

func TestUpdates(t *testing.T) {
	t.Parallel()
	now := metav1.Now()
	build := func(p buildv1.BuildPhase, ref string) *buildv1.Build {
		return &buildv1.Build{Spec: buildv1.BuildSpec{CommonSpec: buildv1.CommonSpec{ServiceAccount: ref}}, Status: buildv1.BuildStatus{Phase: p}}
	}
	pod := func(node, image string) *corev1.Pod {
		return &corev1.Pod{Spec: corev1.PodSpec{NodeName: node, Containers: []corev1.Container{{Name: "c", Image: image}}}}
	}
	svc := func(ip string) *corev1.Service {
		return &corev1.Service{Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeClusterIP, ClusterIP: ip}}
	}
	dying := pod("", "a")
	dying.DeletionTimestamp = &now
	held := dying.DeepCopy()
	held.Finalizers = []string{"example.com/late"}
	for _, c := range []struct {
		name string
		ok   bool
		errs int
	}{
		{"build goes on", true, len(ValidateUpdate(build("Running", "a"), build("Pending", "a")))},
		{"build goes back", false, len(ValidateUpdate(build("Pending", "a"), build("Running", "a")))},
		{"build fails after its end", false, len(ValidateUpdate(build("Failed", "a"), build("Complete", "a")))},
		{"new build is resolved", true, len(ValidateUpdate(build("New", "b"), build("New", "a")))},
		{"running build changes", false, len(ValidateUpdate(build("Running", "b"), build("Running", "a")))},
		{"pod is bound", true, len(ValidateUpdate(pod("n1", "a"), pod("", "a")))},
		{"pod is moved", false, len(ValidateUpdate(pod("n2", "a"), pod("n1", "a")))},
		{"pod's image changes", true, len(ValidateUpdate(pod("n1", "b"), pod("n1", "a")))},
		{"finalizer comes too late", false, len(ValidateUpdate(held, dying))},
		{"service gets its address", true, len(ValidateUpdate(svc("172.30.0.2"), svc("")))},
		{"service changes its address", false, len(ValidateUpdate(svc("172.30.0.3"), svc("172.30.0.2")))},
		{"another kind", false, len(ValidateUpdate(svc(""), pod("", "")))},
	} {
		if c.ok != (c.errs == 0) {
			t.Errorf("%s: %d errors", c.name, c.errs)
		}
	}
}

func TestStreamTags(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"frontend:live": "shop/frontend:live", "other/frontend:1.0": "other/frontend:1.0",
		"frontend": "", "a/b/c:d": "", "frontend:": "", ":live": "", "/frontend:live": "", "Front:live": "", "frontend:li ve": "",
	} {
		got, err := ParseStreamTag(in, "shop")
		if (err != nil) != (want == "") || err == nil && got.String() != want {
			t.Errorf("%q: got %v, %v; want %q", in, got, err, want)
		}
	}
	if _, _, err := ParseImageStreamImage("frontend@sha256:" + strings.Repeat("a", 64)); err != nil {
		t.Error(err)
	}
	if _, _, err := ParseImageStreamImage("frontend@sha256:short"); err == nil {
		t.Error("a short digest passes")
	}
}
