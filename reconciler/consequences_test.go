package reconciler_test

import (
	"strings"
	"testing"

	routev1 "github.com/openshift/api/route/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// preview is what a branch with these files would do, as people read it.
func (w *world) preview(files map[string]string) string {
	w.Helper()
	w.repo.mu.Lock()
	head := w.repo.head
	w.repo.mu.Unlock()
	w.repo.commit("branch", files)
	w.repo.mu.Lock()
	w.repo.head = head
	w.repo.mu.Unlock()
	plans, err := w.r.Preview(w.Context(), types.NamespacedName{Namespace: "slipway", Name: "root"}, "branch")
	w.must(err)
	var text strings.Builder
	for _, p := range plans {
		text.WriteString(p.String())
	}
	return text.String()
}

const shop = `apiVersion: apps.openshift.io/v1
kind: DeploymentConfig
metadata: {name: web, namespace: pp}
spec:
  replicas: 2
  selector: {app: web}
  triggers: [{type: ConfigChange}]
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - {name: web, image: "example.com/web:1", resources: {requests: {cpu: 100m}, limits: {cpu: 200m}}, envFrom: [{configMapRef: {name: settings}}]}
`

const quota = `apiVersion: v1
kind: ResourceQuota
metadata: {name: small, namespace: pp}
spec: {hard: {pods: "%s", requests.cpu: 500m, configmaps: "5"}}
`

const address = `apiVersion: route.openshift.io/v1
kind: Route
metadata: {name: web, namespace: pp}
spec: {host: shop.example.com, to: {kind: Service, name: web}}
`

func TestThePlanSaysWhatFollows(t *testing.T) {
	small := strings.Replace(quota, "%s", "4", 1)
	files := map[string]string{"dc.yaml": shop, "cm.yaml": inProject(config("settings", "1")), "q.yaml": small, "pvc.yaml": inProject(claim)}
	w := newWorld(t, files)
	w.applied("root", "c1")
	w.must(w.client.Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "pp", Name: "web-1-a", Labels: map[string]string{"deploymentconfig": "web"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "ReplicationController", Name: "web-1", UID: "u", Controller: new(true)}}},
		Spec: corev1.PodSpec{NodeName: "dock-1", Containers: []corev1.Container{{Name: "web", Image: "example.com/web:1"}}},
	}))
	w.must(w.client.Create(t.Context(), &routev1.Route{ObjectMeta: metav1.ObjectMeta{Namespace: "other", Name: "old"},
		Spec: routev1.RouteSpec{Host: "shop.example.com", To: routev1.RouteTargetReference{Kind: "Service", Name: "x"}}}))

	text := w.preview(map[string]string{
		"dc.yaml": strings.Replace(strings.Replace(shop, "replicas: 2", "replicas: 3", 1), "web:1", "web:2", 1),
		"cm.yaml": files["cm.yaml"], "q.yaml": small, "route.yaml": address,
	})
	for _, want := range []string{
		"scales web from 2 to 3 pods",
		"runs image example.com/web:2 in web instead of example.com/web:1",
		"rolls out web: replaces 1 pod on dock-1",
		"shop.example.com is not served by route web: route other/old has it already",
		"releases volume claim data: its data may be lost",
		"uses pods of 3 in pp instead of 2, of 4 that quota small allows",
	} {
		if !strings.Contains(text, strings.Replace(want, "uses pods of 3", "uses 3 of pods", 1)) {
			t.Errorf("does not say %q:\n%s", want, text)
		}
	}

	text = w.preview(map[string]string{"dc.yaml": shop, "cm.yaml": inProject(config("settings", "2")), "q.yaml": small, "pvc.yaml": files["pvc.yaml"]})
	if want := "changes configmap settings; the pods of web keep the old value until they are restarted"; !strings.Contains(text, want) {
		t.Errorf("does not say %q:\n%s", want, text)
	}
	if strings.Contains(text, "quota") {
		t.Errorf("speaks of a quota that nothing changes for:\n%s", text)
	}
	both := map[string]string{"dc.yaml": strings.Replace(shop, "web:1", "web:2", 1), "cm.yaml": inProject(config("settings", "2")), "q.yaml": small, "pvc.yaml": files["pvc.yaml"]}
	if text = w.preview(both); strings.Contains(text, "keep the old value") {
		t.Errorf("the plan restarts them:\n%s", text)
	}
}

func TestNothingIsAppliedOverAQuota(t *testing.T) {
	w := newWorld(t, map[string]string{"dc.yaml": shop, "q.yaml": strings.Replace(quota, "%s", "4", 1)})
	w.applied("root", "c1")
	w.push("c2", map[string]string{"dc.yaml": strings.Replace(shop, "replicas: 2", "replicas: 6", 1), "q.yaml": strings.Replace(quota, "%s", "4", 1), "cm.yaml": inProject(config("a", "1"))})
	app := w.says("root", "Ready", metav1.ConditionFalse, "dc.yaml:1: pp/deploymentconfig/web: quota small: would use 6 of pods, and 4 is allowed (now: 2)")
	if len(app.Status.Problems) != 2 || !strings.Contains(app.Status.Problems[1].Message, "would use 600m of requests.cpu, and 500m is allowed") {
		t.Errorf("problems: %+v", app.Status.Problems)
	}
	w.gone("pp", "a")
	if dc, err := w.dc("web"); err != nil || dc.Spec.Replicas != 2 {
		t.Errorf("it has %d, %v", dc.Spec.Replicas, err)
	}
	// A larger quota in the same commit is counted.
	w.push("c3", map[string]string{"dc.yaml": strings.Replace(shop, "replicas: 2", "replicas: 5", 1), "q.yaml": strings.Replace(quota, "%s", "10", 1)})
	w.applied("root", "c3")
}

const frontend = `apiVersion: apps/v1
kind: Deployment
metadata: {name: front, namespace: pp}
spec:
  replicas: 2
  selector: {matchLabels: {app: front}}
  template:
    metadata: {labels: {app: front}}
    spec:
      containers:
        - {name: web, image: "example.com/web:1", envFrom: [{configMapRef: {name: settings}}]}
`

func TestThePlanSaysWhatADeploymentDoes(t *testing.T) {
	files := map[string]string{"d.yaml": frontend, "cm.yaml": inProject(config("settings", "1"))}
	w := newWorld(t, files)
	w.applied("root", "c1")
	w.must(w.client.Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "pp", Name: "front-abc-x", Labels: map[string]string{"app": "front", "pod-template-hash": "abc"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "front-abc", UID: "u", Controller: new(true)}}},
		Spec: corev1.PodSpec{NodeName: "dock-1", Containers: []corev1.Container{{Name: "web", Image: "example.com/web:1"}}},
	}))
	changed := strings.Replace(strings.Replace(frontend, "replicas: 2", "replicas: 3", 1), "web:1", "web:2", 1)
	for _, c := range []struct {
		files    map[string]string
		say, not string
	}{
		{map[string]string{"d.yaml": changed, "cm.yaml": files["cm.yaml"]}, "rolls out front: replaces 1 pod on dock-1", "keep the old value"},
		{map[string]string{"d.yaml": changed, "cm.yaml": files["cm.yaml"]}, "scales front from 2 to 3 pods", ""},
		{map[string]string{"d.yaml": strings.Replace(changed, "spec:", "spec:\n  paused: true", 1), "cm.yaml": files["cm.yaml"]}, "scales front", "rolls out front"},
		{map[string]string{"d.yaml": frontend, "cm.yaml": inProject(config("settings", "2"))}, "the pods of front keep the old value", ""},
		{map[string]string{"cm.yaml": files["cm.yaml"]}, "stops 1 pod of front on dock-1", ""},
	} {
		text := w.preview(c.files)
		if !strings.Contains(text, c.say) || c.not != "" && strings.Contains(text, c.not) {
			t.Errorf("does not say %q, or says %q:\n%s", c.say, c.not, text)
		}
	}
}
