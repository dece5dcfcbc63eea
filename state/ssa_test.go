package state_test

import (
	"testing"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/polling"
	"github.com/fluxcd/pkg/ssa"
	appsv1 "github.com/openshift/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/state"
)

func resourceManager(c *state.Client, field string) *ssa.ResourceManager {
	return ssa.NewResourceManager(c, polling.NewStatusPoller(c, c.RESTMapper(), polling.Options{}), ssa.Owner{Field: field, Group: field + ".slipway.dev"})
}

func actions(cs *ssa.ChangeSet) map[string]ssa.Action {
	out := map[string]ssa.Action{}
	for _, e := range cs.Entries {
		out[e.ObjMetadata.GroupKind.Kind+"/"+e.ObjMetadata.Name] = e.Action
	}
	return out
}

// What Applications are applied with must see this client as it sees an API server.
func TestFluxResourceManager(t *testing.T) { everywhere(t, fluxResourceManager) }

func fluxResourceManager(t *testing.T, c *state.Client) {
	ctx := t.Context()
	git := resourceManager(c, "git")
	objects := func(image string) []*unstructured.Unstructured {
		return []*unstructured.Unstructured{
			manifest(t, `{apiVersion: project.openshift.io/v1, kind: Project, metadata: {name: shop}}`),
			manifest(t, `{apiVersion: v1, kind: ConfigMap, metadata: {namespace: a, name: cm}, data: {k: %s}}`, image),
			manifest(t, `{apiVersion: v1, kind: Secret, metadata: {namespace: a, name: s}, type: Opaque, data: {k: djE=}}`),
			manifest(t, `{apiVersion: v1, kind: Service, metadata: {namespace: a, name: svc}, spec: {selector: {app: x}, ports: [{name: http, port: 80}]}}`),
			manifest(t, dcManifest, "c", image, "A"),
		}
	}
	check := func(what string, cs *ssa.ChangeSet, err error, want map[string]ssa.Action) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		got := actions(cs)
		for k, w := range want {
			if got[k] != w {
				t.Errorf("%s: %s is %s, want %s", what, k, got[k], w)
			}
		}
	}
	all := func(a ssa.Action) map[string]ssa.Action {
		return map[string]ssa.Action{"Project/shop": a, "ConfigMap/cm": a, "Secret/s": a, "Service/svc": a, "DeploymentConfig/x": a}
	}

	for _, o := range objects("one") {
		entry, _, _, err := git.Diff(ctx, o, ssa.DefaultDiffOptions())
		if o.GetKind() != "Project" && err != nil || entry != nil && entry.Action != ssa.CreatedAction {
			t.Errorf("diff of %s: %v, %v", o.GetKind(), entry, err)
		}
	}
	var cms corev1.ConfigMapList
	must(t, c.List(ctx, &cms))
	if len(cms.Items) != 0 {
		t.Fatal("a diff wrote")
	}
	cs, err := git.ApplyAll(ctx, objects("one"), ssa.DefaultApplyOptions())
	check("first", cs, err, all(ssa.CreatedAction))
	cs, err = git.ApplyAll(ctx, objects("one"), ssa.DefaultApplyOptions())
	check("again", cs, err, all(ssa.UnchangedAction))
	want := all(ssa.UnchangedAction)
	want["ConfigMap/cm"], want["DeploymentConfig/x"] = ssa.ConfiguredAction, ssa.ConfiguredAction
	cs, err = git.ApplyAll(ctx, objects("two"), ssa.DefaultApplyOptions())
	check("changed", cs, err, want)

	// A hand alters what git says, and adds what git says nothing about.
	var dc appsv1.DeploymentConfig
	key := client.ObjectKey{Namespace: "a", Name: "x"}
	must(t, c.Get(ctx, key, &dc))
	dc.Spec.Template.Spec.Containers[0].Image = "byhand"
	dc.Spec.Replicas = 3
	must(t, c.Update(ctx, &dc, client.FieldOwner("hand")))
	want = all(ssa.UnchangedAction)
	want["DeploymentConfig/x"] = ssa.ConfiguredAction
	cs, err = git.ApplyAll(ctx, objects("two"), ssa.DefaultApplyOptions())
	check("drift", cs, err, want)
	must(t, c.Get(ctx, key, &dc))
	if dc.Spec.Template.Spec.Containers[0].Image != "two" || dc.Spec.Replicas != 3 {
		t.Errorf("after drift: image %q, replicas %d", dc.Spec.Template.Spec.Containers[0].Image, dc.Spec.Replicas)
	}

	// A second manager adds its own.
	other := resourceManager(c, "other")
	_, err = other.ApplyAll(ctx, []*unstructured.Unstructured{manifest(t, dcManifest, "c", "two", "B")}, ssa.DefaultApplyOptions())
	must(t, err)
	cs, err = git.ApplyAll(ctx, objects("two"), ssa.DefaultApplyOptions())
	check("with another manager", cs, err, all(ssa.UnchangedAction))
	must(t, c.Get(ctx, key, &dc))
	if len(dc.Spec.Template.Spec.Containers[0].Env) != 2 {
		t.Errorf("env %v", dc.Spec.Template.Spec.Containers[0].Env)
	}

	must(t, git.Wait(objects("two")[1:3], ssa.WaitOptions{Interval: 10 * time.Millisecond, Timeout: 30 * time.Second}))
	cs, err = git.DeleteAll(ctx, objects("two"), ssa.DefaultDeleteOptions())
	check("delete", cs, err, all(ssa.DeletedAction))
	// A project goes only when the project controller has emptied it.
	must(t, git.WaitForTermination(objects("two")[1:], ssa.WaitOptions{Interval: 10 * time.Millisecond, Timeout: 30 * time.Second}))
}
