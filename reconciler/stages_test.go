package reconciler_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "github.com/openshift/api/apps/v1"
	imagev1 "github.com/openshift/api/image/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/reconciler"
)

const stream = `apiVersion: image.openshift.io/v1
kind: ImageStream
metadata: {name: base, namespace: pp}
spec: {tags: [{name: latest, from: {kind: DockerImage, name: registry.example.com/base}}]}
`

func plainDC(name string, annotations ...string) string {
	return fmt.Sprintf(`apiVersion: apps.openshift.io/v1
kind: DeploymentConfig
metadata: {name: %s, namespace: pp, annotations: {%s}}
spec:
  replicas: 1
  selector: {app: %s}
  triggers: [{type: ConfigChange}]
  template:
    metadata: {labels: {app: %s}}
    spec: {containers: [{name: web, image: registry.example.com/web}]}
`, name, strings.Join(annotations, ", "), name, name)
}

func inProject(text string) string {
	return strings.Replace(text, "metadata:", "metadata:\n  namespace: pp", 1)
}

func (w *world) dc(name string) (*appsv1.DeploymentConfig, error) {
	dc := &appsv1.DeploymentConfig{}
	return dc, w.client.Get(w.Context(), client.ObjectKey{Namespace: "pp", Name: name}, dc)
}

// absent checks that a DeploymentConfig was not made, after the application said what it waits for.
func (w *world) absent(name string) {
	w.Helper()
	if _, err := w.dc(name); client.IgnoreNotFound(err) != nil || err == nil {
		w.Errorf("deploymentconfig %s is there already: %v", name, err)
	}
}

// rolledOut does what the deployment controller does in the end.
func (w *world) rolledOut(name string) {
	w.Helper()
	w.eventually(name+" is rolled out", func() error {
		dc, err := w.dc(name)
		if err != nil {
			return err
		}
		dc.Status = appsv1.DeploymentConfigStatus{
			ObservedGeneration: dc.Generation, LatestVersion: dc.Status.LatestVersion + 1,
			Replicas: dc.Spec.Replicas, UpdatedReplicas: dc.Spec.Replicas, AvailableReplicas: dc.Spec.Replicas,
			Conditions: []appsv1.DeploymentCondition{{Type: appsv1.DeploymentProgressing, Status: corev1.ConditionTrue, Reason: string(appsv1.NewReplicationControllerAvailableReason)}},
		}
		return w.client.Status().Update(w.Context(), dc)
	})
}

// says waits until a condition of an application has a status and says a text.
func (w *world) says(app, condition string, status metav1.ConditionStatus, text string) *v1alpha1.Application {
	w.Helper()
	var a *v1alpha1.Application
	w.eventually(fmt.Sprintf("%s is %s=%s and says %q", app, condition, status, text), func() error {
		a = w.application(app)
		c := meta.FindStatusCondition(a.Status.Conditions, condition)
		if c == nil || c.Status != status || !strings.Contains(c.Reason+": "+c.Message, text) {
			return fmt.Errorf("conditions %+v, waiting %+v", a.Status.Conditions, a.Status.Waiting)
		}
		return nil
	})
	return a
}

func TestAStageWaitsForTheOneBefore(t *testing.T) {
	w := newWorld(t, map[string]string{"is.yaml": stream, "dc.yaml": plainDC("web"), "cm.yaml": inProject(config("a", "1"))})
	app := w.says("root", "Ready", metav1.ConditionUnknown, "workload waits for the health of configuration: pp/imagestream/base tag latest")
	if s := app.Status; s.Waiting == nil || s.Waiting.Reason != "Health" || s.Waiting.Commit != "c1" || s.Waiting.Until == nil || s.LastAppliedCommit != "" {
		t.Errorf("status %+v, waiting %+v", s, s.Waiting)
	}
	w.configIs("pp", "a", "1")
	w.absent("web")

	w.eventually("the image is there", func() error {
		is := &imagev1.ImageStream{}
		if err := w.client.Get(t.Context(), client.ObjectKey{Namespace: "pp", Name: "base"}, is); err != nil {
			return err
		}
		is.Status.Tags = []imagev1.NamedTagEventList{{Tag: "latest", Items: []imagev1.TagEvent{{Image: "sha256:" + digest, DockerImageReference: "x", Created: metav1.Now(), Generation: 9}}}}
		return w.client.Status().Update(t.Context(), is)
	})
	w.applied("root", "c1")
	if app := w.says("root", "Ready", metav1.ConditionUnknown, "Progressing: applied c1, waits for"); app.Status.Waiting != nil || app.Status.LastHealthyCommit != "" {
		t.Errorf("status %+v", app.Status)
	}
	w.rolledOut("web")
	if app := w.says("root", "Ready", metav1.ConditionTrue, "applied c1"); app.Status.LastHealthyCommit != "c1" {
		t.Errorf("status %+v", app.Status)
	}
	w.says("root", "Healthy", metav1.ConditionTrue, "")
}

func TestWavesFollowEachOther(t *testing.T) {
	w := newWorld(t, map[string]string{
		"a.yaml": plainDC("first", `slipway.dev/wave: "-1"`), "b.yaml": plainDC("second"), "c.yaml": plainDC("third", `argocd.argoproj.io/sync-wave: "2"`),
	})
	for i, name := range []string{"first", "second"} {
		next := []string{"second", "third"}[i]
		w.says("root", "Ready", metav1.ConditionUnknown, "pp/deploymentconfig/"+name)
		w.absent(next)
		w.rolledOut(name)
	}
	w.applied("root", "c1")
	w.rolledOut("third")
	w.says("root", "Ready", metav1.ConditionTrue, "applied c1")

	w.push("c2", map[string]string{"a.yaml": plainDC("first", `slipway.dev/wave: soon`)})
	w.says("root", "Ready", metav1.ConditionFalse, "metadata.annotations[slipway.dev/wave]: is not a whole number")
}

func TestANewerCommitStartsOver(t *testing.T) {
	w := newWorld(t, map[string]string{"a.yaml": plainDC("first"), "b.yaml": plainDC("second", `slipway.dev/wave: "1"`)})
	w.says("root", "Ready", metav1.ConditionUnknown, "c1: workload wave 1 waits")
	w.push("c2", map[string]string{"a.yaml": plainDC("first"), "b.yaml": plainDC("other", `slipway.dev/wave: "1"`), "c.yaml": inProject(config("a", "2"))})
	w.says("root", "Ready", metav1.ConditionUnknown, "c2: workload wave 1 waits")
	w.configIs("pp", "a", "2")
	w.rolledOut("first")
	w.applied("root", "c2")
	w.rolledOut("other")
	w.says("root", "Ready", metav1.ConditionTrue, "applied c2")
	w.absent("second")
}

func TestHealthThatTakesTooLong(t *testing.T) {
	short := func(a *v1alpha1.Application) { a.Spec.Timeout = &metav1.Duration{Duration: 50 * time.Millisecond} }
	w := newWorld(t, map[string]string{"a.yaml": plainDC("first"), "b.yaml": plainDC("second", `slipway.dev/wave: "1"`)}, short)
	w.says("root", "Ready", metav1.ConditionFalse, "HealthCheckFailed: not healthy within 50ms: c1: workload wave 1 waits for the health of workload: pp/deploymentconfig/first")
	w.absent("second")
	w.rolledOut("first")
	w.applied("root", "c1")
	w.says("root", "Ready", metav1.ConditionFalse, "HealthCheckFailed: applied c1")
	w.rolledOut("second")
	w.says("root", "Ready", metav1.ConditionTrue, "applied c1")
}

func TestHealthIsFollowedAfterwards(t *testing.T) {
	w := newWorld(t, map[string]string{"a.yaml": plainDC("first"), "cm.yaml": inProject(config("a", "1"))})
	w.rolledOut("first")
	w.says("root", "Ready", metav1.ConditionTrue, "applied c1")
	w.eventually("a pod is gone", func() error {
		dc, err := w.dc("first")
		if err != nil {
			return err
		}
		dc.Status.AvailableReplicas = 0
		return w.client.Status().Update(t.Context(), dc)
	})
	w.says("root", "Healthy", metav1.ConditionUnknown, "pp/deploymentconfig/first 1 of 1 pods are of version 1, 0 available")
	w.says("root", "Ready", metav1.ConditionTrue, "applied c1")

	// A commit that does not touch it is ready only when it is well again.
	w.push("c2", map[string]string{"a.yaml": plainDC("first"), "cm.yaml": inProject(config("a", "2"))})
	w.says("root", "Ready", metav1.ConditionUnknown, "applied c2, waits for")
	w.rolledOut("first")
	if app := w.says("root", "Ready", metav1.ConditionTrue, "applied c2"); app.Status.LastHealthyCommit != "c2" {
		t.Errorf("status %+v", app.Status)
	}
}

func TestExpressionsSayWhatIsHealthy(t *testing.T) {
	w := newWorld(t, map[string]string{"cm.yaml": inProject(config("a", "1"))}, func(a *v1alpha1.Application) {
		a.Spec.HealthCheckExprs = []v1alpha1.HealthCheckExpr{{APIVersion: "v1", Kind: "ConfigMap", Current: "data.v == '2'", Failed: "data.v == '3'"}}
		a.Spec.HealthChecks = []v1alpha1.ObjectReference{{APIVersion: "v1", Kind: "ConfigMap", Namespace: "other", Name: "sign"}}
	})
	w.says("root", "Ready", metav1.ConditionUnknown, "pp/configmap/a spec.healthCheckExprs[0].current does not hold yet; other/configmap/sign does not exist")
	w.push("c2", map[string]string{"cm.yaml": inProject(config("a", "3"))})
	w.says("root", "Ready", metav1.ConditionFalse, "HealthCheckFailed: applied c2, but: pp/configmap/a spec.healthCheckExprs[0].failed holds")
	w.push("c3", map[string]string{"cm.yaml": inProject(config("a", "2"))})
	w.says("root", "Ready", metav1.ConditionUnknown, "other/configmap/sign does not exist")
	w.must(w.client.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "other", Name: "sign"}, Data: map[string]string{"v": "2"}}))
	w.says("root", "Ready", metav1.ConditionTrue, "applied c3")
}

func TestPruneGoesBackwardsAndWaits(t *testing.T) {
	kept := map[string]string{"kept.yaml": inProject(config("kept", "1"))}
	w := newWorld(t, map[string]string{"a.yaml": plainDC("first"), "cm.yaml": inProject(config("a", "1")), "kept.yaml": kept["kept.yaml"]})
	w.applied("root", "c1")
	w.eventually("somebody holds it", func() error {
		dc, err := w.dc("first")
		if err != nil {
			return err
		}
		dc.Finalizers = []string{"example.com/held"}
		return w.client.Update(t.Context(), dc)
	})
	w.push("c2", kept)
	w.says("root", "Ready", metav1.ConditionUnknown, "waits until these are gone: pp/deploymentconfig/first")
	w.configIs("pp", "a", "1")
	w.eventually("it is let go", func() error {
		dc, err := w.dc("first")
		if err != nil {
			return err
		}
		dc.Finalizers = nil
		return w.client.Update(t.Context(), dc)
	})
	w.gone("pp", "a")
	w.applied("root", "c2")
	w.says("root", "Ready", metav1.ConditionTrue, "applied c2")
}

const dependent = `apiVersion: slipway.dev/v1alpha1
kind: Application
metadata: {name: %s, namespace: slipway}
spec: {path: parts/%s, project: pp, dependsOn: [%s], interval: 1h}
`

func applicationOn(name string, needs ...string) string {
	var refs []string
	for _, n := range needs {
		refs = append(refs, "{name: "+n+"}")
	}
	return fmt.Sprintf(dependent, name, name, strings.Join(refs, ", "))
}

func TestAnApplicationWaitsForAnother(t *testing.T) {
	files := map[string]string{
		"cluster/base.yaml": applicationOn("base"), "cluster/web.yaml": applicationOn("web", "base"),
		"parts/base/dc.yaml": strings.Replace(plainDC("base"), ", namespace: pp", "", 1), "parts/web/a.yaml": config("a", "1"),
	}
	w := newWorld(t, files)
	w.says("web", "Ready", metav1.ConditionFalse, reconciler.ReasonDependency+": waits for application base")
	w.rolledOut("base")
	w.applied("web", "c1")
	w.says("root", "Ready", metav1.ConditionTrue, "applied c1")

	// One that others depend on goes after them.
	files = map[string]string{"cluster/web.yaml": applicationOn("web", "base"), "parts/web/a.yaml": config("a", "1"), "parts/base/dc.yaml": files["parts/base/dc.yaml"]}
	w.push("c2", files)
	w.says("base", "Ready", metav1.ConditionFalse, "is deleted after application web, which depends on it")
	if _, err := w.dc("base"); err != nil {
		t.Errorf("it went before: %v", err)
	}
	w.push("c3", map[string]string{"cluster/cm.yaml": inProject(config("b", "1")), "parts/web/a.yaml": config("a", "1")})
	w.gone("pp", "a")
	w.eventually("base is gone, too", func() error {
		if _, err := w.dc("base"); client.IgnoreNotFound(err) != nil || err == nil {
			return fmt.Errorf("it is there: %w", err)
		}
		return nil
	})
	w.applied("root", "c3")
}

func TestDependenciesThatCannotBeMet(t *testing.T) {
	w := newWorld(t, map[string]string{
		"cluster/a.yaml": applicationOn("a", "b"), "cluster/b.yaml": applicationOn("b", "c"), "cluster/c.yaml": applicationOn("c", "a"),
		"cluster/d.yaml": applicationOn("d", "nobody"), "parts/a/x.yaml": config("x", "1"),
	})
	w.says("a", "Ready", metav1.ConditionFalse, "depends on itself: a → b → c → a")
	w.says("d", "Ready", metav1.ConditionFalse, "waits for application nobody, which does not exist")
}

func TestDeletionPolicies(t *testing.T) {
	no := false
	for _, c := range []struct {
		policy v1alpha1.DeletionPolicy
		prune  *bool
		stays  bool
	}{
		{"", nil, false}, {"", &no, true}, {v1alpha1.DeletionMirrorPrune, &no, true}, {v1alpha1.DeletionDelete, &no, false},
		{v1alpha1.DeletionWaitForTermination, &no, false}, {v1alpha1.DeletionOrphan, nil, true},
	} {
		t.Run(fmt.Sprintf("%s prune %v", c.policy, c.prune == nil), func(t *testing.T) {
			w := newWorld(t, map[string]string{"a.yaml": inProject(config("a", "1")), "dc.yaml": plainDC("web")}, func(a *v1alpha1.Application) {
				a.Spec.DeletionPolicy, a.Spec.Prune = c.policy, c.prune
			})
			w.applied("root", "c1")
			w.eventually("somebody holds it", func() error {
				dc, err := w.dc("web")
				if err != nil {
					return err
				}
				dc.Finalizers = []string{"example.com/held"}
				return w.client.Update(t.Context(), dc)
			})
			w.must(w.client.Delete(t.Context(), w.application("root")))
			if !c.stays {
				w.says("root", "Ready", metav1.ConditionFalse, "waits until these are gone: pp/deploymentconfig/web")
				w.eventually("it is let go", func() error {
					dc, err := w.dc("web")
					if err != nil {
						return err
					}
					dc.Finalizers = nil
					return w.client.Update(t.Context(), dc)
				})
			}
			w.eventually("the application is gone", func() error {
				if app := w.application("root"); app.Name != "" {
					return fmt.Errorf("%+v", app.Status)
				}
				return nil
			})
			cm, err := w.config("pp", "a")
			if c.stays && (err != nil || cm.Labels[reconciler.OwnerName] != "") {
				t.Errorf("it is %v with labels %v", err, cm.Labels)
			}
			if !c.stays && client.IgnoreNotFound(err) == nil && err == nil {
				t.Error("it is still there")
			}
		})
	}
}

func TestACommitReachesADependencyFirst(t *testing.T) {
	base := strings.Replace(plainDC("base"), ", namespace: pp", "", 1)
	files := map[string]string{
		"cluster/base.yaml": applicationOn("base"), "cluster/web.yaml": applicationOn("web", "base"),
		"parts/base/dc.yaml": base, "parts/web/a.yaml": config("a", "1"),
	}
	w := newWorld(t, files)
	w.rolledOut("base")
	w.applied("web", "c1")
	w.says("base", "Ready", metav1.ConditionTrue, "applied c1")
	w.push("c2", map[string]string{
		"cluster/base.yaml": files["cluster/base.yaml"], "cluster/web.yaml": files["cluster/web.yaml"],
		"parts/base/dc.yaml": strings.Replace(base, "registry.example.com/web", "registry.example.com/web:2", 1), "parts/web/a.yaml": config("a", "2"),
	})
	w.says("base", "Ready", metav1.ConditionUnknown, "applied c2, waits for")
	w.says("web", "Ready", metav1.ConditionFalse, "waits for application base")
	w.configIs("pp", "a", "1")
	w.rolledOut("base")
	w.configIs("pp", "a", "2")
	w.applied("web", "c2")
}

// TestAnApprovalReachesTheLastStage: each record of a plan that is applied in parts says who
// approved it.
func TestAnApprovalReachesTheLastStage(t *testing.T) {
	configs := func(n int) map[string]string {
		files := map[string]string{}
		for i := range n {
			files[fmt.Sprintf("c%d.yaml", i)] = inProject(config(fmt.Sprint("c", i), "1"))
		}
		return files
	}
	w := newWorld(t, configs(8))
	w.applied("root", "c1")
	next := configs(2)
	next["first.yaml"] = plainDC("first")
	next["second.yaml"] = plainDC("second", "slipway.dev/wave: '1'")
	w.push("c2", next)
	waiting := w.waits("root", "c2", reconciler.WaitBrakes)
	w.say("c3", "Approve\n\nSlipway-Approve: "+waiting.Digest, next)
	w.says("root", "Ready", metav1.ConditionUnknown, "waits for the health of")
	w.rolledOut("first")
	w.eventually("the second wave is there", func() error { _, err := w.dc("second"); return err })
	w.applied("root", "c3")
	var records v1alpha1.RecordList
	w.must(w.client.List(t.Context(), &records, client.InNamespace("slipway")))
	parts := 0
	for _, r := range records.Items {
		if r.Spec.Commit != "c3" {
			continue
		}
		parts++
		if r.Spec.ApprovedBy != "Ada <ada@example.com>" {
			t.Errorf("%s is approved by %q", r.Name, r.Spec.ApprovedBy)
		}
	}
	if parts < 2 {
		t.Errorf("%d records of the parts", parts)
	}
}
