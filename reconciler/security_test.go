package reconciler_test

import (
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/reconciler/admission"
	"slipway.dev/slipway/state"
)

// The kinds that hold pods, each with a container that is to be privileged; %s is the account.
var privilegedPods = map[string]string{
	"Pod":                   "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {SPEC}\n",
	"ReplicationController": "apiVersion: v1\nkind: ReplicationController\nmetadata: {name: x}\nspec: {selector: {a: b}, template: {metadata: {labels: {a: b}}, spec: {SPEC}}}\n",
	"DeploymentConfig":      "apiVersion: apps.openshift.io/v1\nkind: DeploymentConfig\nmetadata: {name: x}\nspec: {selector: {a: b}, template: {metadata: {labels: {a: b}}, spec: {SPEC}}}\n",
	"Deployment":            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\nspec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {SPEC}}}\n",
	"ReplicaSet":            "apiVersion: apps/v1\nkind: ReplicaSet\nmetadata: {name: x}\nspec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {SPEC}}}\n",
	"StatefulSet":           "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: x}\nspec: {serviceName: x, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {SPEC}}}\n",
	"DaemonSet":             "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: x}\nspec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {SPEC}}}\n",
	"Job":                   "apiVersion: batch/v1\nkind: Job\nmetadata: {name: x}\nspec: {template: {spec: {restartPolicy: Never, SPEC}}}\n",
	"CronJob":               "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: x}\nspec: {schedule: '* * * * *', jobTemplate: {spec: {template: {spec: {restartPolicy: Never, SPEC}}}}}\n",
}

const privilegedSpec = "serviceAccountName: agent, containers: [{name: c, image: busybox, securityContext: {privileged: true}}]"

// TestAPodThatWouldNotBeAdmittedIsRefusedAtItsLine: in every kind that holds one, for tenants and administrators.
func TestAPodThatWouldNotBeAdmittedIsRefusedAtItsLine(t *testing.T) {
	w := newTenancy(t)
	for _, k := range api.Kinds() {
		file, holds := privilegedPods[k.Kind]
		if o, err := api.Scheme().New(k.GroupVersionKind); err != nil || holdsPods(reflect.TypeOf(o), nil) != holds {
			t.Errorf("%s: whether it holds pods is not known: %v", k.Kind, err)
		}
		if !holds {
			continue
		}
		file = strings.Replace(file, "SPEC", privilegedSpec, 1)
		for _, ns := range []string{"shop", api.SystemProject} {
			got := w.problems(application(ns, "shop", ""), file)
			if !strings.Contains(got, "spec.containers[0].securityContext.privileged") || !strings.Contains(got, "service account shop/agent may use anyuid at most; privileged would allow it") {
				t.Errorf("%s of %s: %s", k.Kind, ns, got)
			}
		}
	}
}

// holdsPods says whether a type is a pod, or has a template of some.
func holdsPods(t reflect.Type, above []reflect.Type) bool {
	switch {
	case t == reflect.TypeFor[corev1.PodTemplateSpec]() || t == reflect.TypeFor[corev1.PodSpec]():
		return true
	case slices.Contains(above, t) || t.Kind() == reflect.Struct && !strings.Contains(t.PkgPath(), "api/"):
		return false
	}
	above = append(above, t)
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return holdsPods(t.Elem(), above)
	case reflect.Struct:
		for f := range t.Fields() {
			if holdsPods(f.Type, above) {
				return true
			}
		}
	}
	return false
}

const agentsConstraints = "apiVersion: security.openshift.io/v1\nkind: SecurityContextConstraints\nmetadata: {name: agents}\nallowPrivilegedContainer: true\n" +
	"runAsUser: {type: RunAsAny}\nseLinuxContext: {type: RunAsAny}\nusers: ['system:serviceaccount:shop:agent']\n"

const usesPrivileged = "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: use}\nrules: [{verbs: [use], apiGroups: [security.openshift.io], resources: [securitycontextconstraints], resourceNames: [privileged]}]\n"

const bindsAgent = "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: use}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: use}\nsubjects: [{kind: ServiceAccount, name: agent}]\n"

// TestNoTenantGrantsItselfAnything: neither by constraints, nor by a role, nor by an annotation.
func TestNoTenantGrantsItselfAnything(t *testing.T) {
	w := newTenancy(t)
	tenant := application("shop", "shop", "")
	pod := strings.Replace(privilegedPods["Deployment"], "SPEC", privilegedSpec, 1)
	for name, c := range map[string]struct{ file, says string }{
		"constraints":        {agentsConstraints, "may not patch securitycontextconstraints"},
		"built-in ones":      {strings.Replace(agentsConstraints, "agents", "restricted", 1), "may not patch securitycontextconstraints"},
		"a role that uses":   {usesPrivileged, "cannot hand out what it does not have, such as use of securitycontextconstraints"},
		"a role of all":      {strings.Replace(usesPrivileged, "[use]", "['*']", 1), "cannot hand out what it does not have"},
		"a binding to admin": {strings.Replace(strings.Replace(bindsAgent, "kind: Role,", "kind: ClusterRole,", 1), "name: use}\nsubjects", "name: cluster-admin}\nsubjects", 1), "cannot hand out what it does not have"},
		"an annotation":      {strings.Replace(pod, "metadata: {labels", "metadata: {annotations: {openshift.io/scc: privileged}, labels", 1), "privileged would allow it"},
	} {
		if got := w.problems(tenant, c.file, pod); !strings.Contains(got, c.says) {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// TestWhatAPlanBringsCounts: constraints, roles and bindings are made before the pods of the same commit.
func TestWhatAPlanBringsCounts(t *testing.T) {
	w := newTenancy(t)
	admin := application(api.SystemProject, "shop", "")
	pod := strings.Replace(privilegedPods["Deployment"], "SPEC", privilegedSpec, 1)
	if got := w.problems(admin, usesPrivileged, bindsAgent, pod); got != "" {
		t.Errorf("a role and a binding: %s", got)
	}
	if got := w.problems(admin, usesPrivileged, pod); got == "" {
		t.Error("a role alone was enough")
	}
	cluster := application(api.SystemProject, "", "")
	inShop := strings.Replace(pod, "metadata: {name: x}", "metadata: {name: x, namespace: shop}", 1)
	if got := w.problems(cluster, agentsConstraints, inShop); got != "" {
		t.Errorf("constraints: %s", got)
	}
	if got := w.problems(cluster, strings.Replace(agentsConstraints, "shop:agent", "other:agent", 1), inShop); !strings.Contains(got, "agents or privileged would allow it") {
		t.Errorf("constraints for another project: %s", got)
	}
}

// TestAConfinedRepositoryHandsOutNoHost: what is registered for some projects acts as the platform there, and no further.
func TestAConfinedRepositoryHandsOutNoHost(t *testing.T) {
	w := newTenancy(t)
	app := application(api.SystemProject, "shop", "")
	toAdmin := func(role string) string {
		return strings.NewReplacer("kind: Role,", "kind: ClusterRole,", "name: use}\nsubjects", "name: "+role+"}\nsubjects").Replace(bindsAgent)
	}
	const says = "cannot hand out the use of securitycontextconstraints"
	handing := map[string]string{
		"a role": usesPrivileged, "a role of all": strings.NewReplacer("[use]", "['*']", "[security.openshift.io]", "['*']", "[securitycontextconstraints]", "['*']").Replace(usesPrivileged),
		"a role and its binding": usesPrivileged + "---\n" + bindsAgent, "a binding to cluster-admin": toAdmin("cluster-admin"),
	}
	for name, file := range handing {
		if got := w.problems(app, file); got != "" {
			t.Errorf("%s from a repository for all: %q", name, got)
		}
	}
	w.repository(api.SystemProject, []string{"shop"})
	for name, file := range handing {
		if got := w.problems(app, file); !strings.Contains(got, says) {
			t.Errorf("%s: %q", name, got)
		}
	}
	if got := w.problems(app, toAdmin("later")); !strings.Contains(got, "there is no ClusterRole later") {
		t.Errorf("a binding to what may be anything one day: %q", got)
	}
	for _, file := range []string{toAdmin("admin"), minimal(kindNamed("ResourceQuota"), "")} {
		if got := w.problems(app, file); got != "" {
			t.Errorf("%q was refused: %s", file, got)
		}
	}
}

// TestPodsOfAPlanThatLetsThemIn: where live state itself admits pods, one that is only let in by its own plan is applied
// after that; one that is not is refused once, at its field.
func TestPodsOfAPlanThatLetsThemIn(t *testing.T) {
	t.Parallel()
	store, err := state.Open(t.Context(), state.Options{
		DataDir: t.TempDir(), NoSync: true, Default: api.Default, Validate: api.Validate, ValidateUpdate: api.ValidateUpdate, Admit: admission.Admit,
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	w := newTenancyOn(t, store.Client())
	admin := application(api.SystemProject, "shop", "")
	pod := strings.Replace(privilegedPods["Pod"], "SPEC", privilegedSpec, 1)
	if got := w.problems(admin, usesPrivileged, bindsAgent, pod); got != "" {
		t.Errorf("with a role and a binding: %s", got)
	}
	if got := w.problems(admin, pod); strings.Count(got, "\n") > 0 || !strings.Contains(got, "spec.containers[0].securityContext.privileged") {
		t.Errorf("without: %s", got)
	}
	// Where root is not everybody's, templates that want it are told, too.
	root := strings.Replace(strings.Replace(privilegedPods["Deployment"], "SPEC", privilegedSpec, 1), "privileged: true", "runAsUser: 0", 1)
	none := strings.Replace(strings.Replace(agentsConstraints, "agents", "anyuid", 1), "users", "groups", 1)
	if got := w.problems(admin, root); got != "" {
		t.Errorf("root: %s", got)
	}
	cluster := application(api.SystemProject, "", "")
	inShop := strings.Replace(root, "metadata: {name: x}", "metadata: {name: x, namespace: shop}", 1)
	if got := w.problems(cluster, none, inShop); !strings.Contains(got, "spec.template.spec.containers[0].securityContext.runAsUser") {
		t.Errorf("root where it is not allowed: %s", got)
	}
}
