package reconciler_test

import (
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	projectv1 "github.com/openshift/api/project/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/reconciler"
	"slipway.dev/slipway/state"
	"slipway.dev/slipway/state/event"
	"slipway.dev/slipway/state/statetest"
)

// tenancy is live state with the furnished projects shop and other, and no loops.
type tenancy struct {
	*testing.T
	client *state.Client
	repo   *repository
	r      *reconciler.Reconciler
}

func newTenancy(t *testing.T) *tenancy {
	t.Parallel()
	return newTenancyOn(t, statetest.New(t))
}

func newTenancyOn(t *testing.T, c *state.Client) *tenancy {
	t.Helper()
	w := &tenancy{T: t, client: c, repo: &repository{}}
	w.r = &reconciler.Reconciler{
		Client: w.client, Sources: w.repo, Render: plainYAML{}, Log: slog.New(slog.DiscardHandler),
		Events: event.New(w.client, "test", slog.New(slog.DiscardHandler)), Registry: "127.0.0.1:7081",
	}
	w.r.Controllers()
	for _, name := range []string{"shop", "other"} {
		p := &projectv1.Project{ObjectMeta: metav1.ObjectMeta{Name: name}}
		w.create(p)
		w.furnish(name)
		w.repository(name, nil)
	}
	w.repository(api.SystemProject, nil)
	return w
}

// furnish gives a project what the project's controller does, as far as it matters here.
func (w *tenancy) furnish(name string) {
	w.Helper()
	for _, account := range []string{"builder", "default", "deployer"} {
		w.create(&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: account}})
	}
	bind := func(binding, role string, to rbacv1.Subject) {
		w.create(&rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: binding}, Subjects: []rbacv1.Subject{to},
			RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		})
	}
	bind("slipway:applications", "admin", rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: name, Name: "deployer"})
	bind("system:image-pullers", "system:image-puller", rbacv1.Subject{Kind: rbacv1.GroupKind, APIGroup: rbacv1.GroupName, Name: "system:serviceaccounts:" + name})
}

func (w *tenancy) create(o client.Object) {
	w.Helper()
	if err := w.client.Create(w.Context(), o); err != nil {
		w.Fatalf("create %T %s: %v", o, o.GetName(), err)
	}
}

func (w *tenancy) repository(ns string, projects []string) {
	w.Helper()
	r := &v1alpha1.GitRepository{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "r"}, Spec: v1alpha1.GitRepositorySpec{URL: "https://git.example.com/r", Projects: projects}}
	err := w.client.Create(w.Context(), r)
	if err != nil {
		err = w.client.Patch(w.Context(), r, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"projects":["`+strings.Join(projects, `","`)+`"]}}`)))
	}
	if err != nil {
		w.Fatal(err)
	}
}

func application(ns, project, account string) *v1alpha1.Application {
	return &v1alpha1.Application{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "app"},
		Spec:       v1alpha1.ApplicationSpec{SourceRef: v1alpha1.SourceReference{Name: "r"}, Project: project, ServiceAccountName: account},
	}
}

// problems plans files for an application and says what is refused, one a line.
func (w *tenancy) problems(app *v1alpha1.Application, files ...string) string {
	w.Helper()
	tree := map[string]string{}
	for i, f := range files {
		tree["o"+string(rune('a'+i))+".yaml"] = f
	}
	w.repo.commit("c", tree)
	rev, err := w.repo.Revision(w.Context(), types.NamespacedName{})
	if err != nil {
		w.Fatal(err)
	}
	plan, err := w.r.Plan(w.Context(), app, rev, false)
	if plan == nil {
		return err.Error()
	}
	return api.Problems(plan.Problems).Error()
}

// minimal is an object of a kind; it need not be valid.
func minimal(k api.Kind, ns string) string {
	o := &unstructured.Unstructured{Object: map[string]any{}}
	o.SetGroupVersionKind(k.GroupVersionKind)
	o.SetName("x")
	if k.Namespaced {
		o.SetNamespace(ns)
	}
	out, _ := yaml.Marshal(o.Object)
	return string(out)
}

// Every kind in a foreign project, and every kind of the cluster, by every kind of
// Application that acts as a service account: all are refused.
func TestEveryKindInAForeignProjectIsRefused(t *testing.T) {
	w := newTenancy(t)
	apps := map[string]*v1alpha1.Application{
		"a tenant's":                      application("shop", "shop", ""),
		"a tenant's, as another account":  application("shop", "shop", "default"),
		"the platform's, as an account":   application(api.SystemProject, "shop", "deployer"),
		"a missing account's":             application("shop", "shop", "nobody"),
		"the platform's, of no project":   application(api.SystemProject, "", "deployer"),
		"a foreign account of its tenant": application("other", "shop", "deployer"),
	}
	for _, k := range api.Kinds() {
		for name, app := range apps {
			if got := w.problems(app, minimal(k, "other")); !strings.Contains(got, "may not patch "+k.Resource) &&
				!strings.Contains(got, "nothing is allowed") && !strings.Contains(got, "is registered for") {
				t.Errorf("%s in a foreign project, application %s: %q", k.Kind, name, got)
			}
		}
	}
	for _, app := range apps {
		if err := w.client.Get(t.Context(), client.ObjectKey{Namespace: "other", Name: "x"}, &corev1.ConfigMap{}); err == nil {
			t.Errorf("application %+v made something", app.Spec)
		}
	}
}

func TestWhatATenantMayAndMayNot(t *testing.T) {
	w := newTenancy(t)
	w.create(&rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: "other", Name: "pull"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "system:image-puller"},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: "shop", Name: "deployer"}},
	})
	const stream = `{apiVersion: image.openshift.io/v1, kind: ImageStream, metadata: {name: x}, spec: {tags: [{name: live, from: {kind: ImageStreamTag, name: "app:1", namespace: %s}}]}}`
	from := func(ns string) string { return strings.Replace(stream, "%s", ns, 1) }
	const bind = `{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: x}, roleRef: {kind: %k, name: %n, apiGroup: rbac.authorization.k8s.io}, subjects: [{kind: ServiceAccount, name: deployer, namespace: shop}]}`
	binding := func(kind, name string) string {
		return strings.NewReplacer("%k", kind, "%n", name).Replace(bind)
	}
	const role = `{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: r}, rules: [{apiGroups: [""], resources: [%r], verbs: [create]}]}`
	for name, c := range map[string]struct {
		app   *v1alpha1.Application
		files []string
		want  string
	}{
		"a tenant brings what a project holds":      {application("shop", "shop", ""), []string{minimal(kindNamed("ConfigMap"), "")}, ""},
		"the default account may nothing":           {application("shop", "shop", "default"), []string{minimal(kindNamed("ConfigMap"), "")}, "may not patch configmaps"},
		"nor set its own quota":                     {application("shop", "shop", ""), []string{minimal(kindNamed("ResourceQuota"), "")}, "may not patch resourcequotas"},
		"images of a project that allows it":        {application("shop", "shop", ""), []string{from("other")}, ""},
		"images of a project that does not":         {application("shop", "shop", ""), []string{from("third")}, "project third does not allow"},
		"own images":                                {application("shop", "shop", ""), []string{from("shop")}, ""},
		"the allowed images, as another account":    {application("shop", "shop", "builder"), []string{from("other")}, "may not patch imagestreams"},
		"the platform uses all images":              {application(api.SystemProject, "shop", ""), []string{from("third")}, ""},
		"binds what it has":                         {application("shop", "shop", ""), []string{binding("ClusterRole", "view")}, ""},
		"binds more than it has":                    {application("shop", "shop", ""), []string{binding("ClusterRole", "cluster-admin")}, "cannot hand out"},
		"binds what is not there":                   {application("shop", "shop", ""), []string{binding("ClusterRole", "later")}, "there is no ClusterRole later"},
		"makes a role of what it has, and binds it": {application("shop", "shop", ""), []string{strings.Replace(role, "%r", "configmaps", 1), binding("Role", "r")}, ""},
		"makes a role of more":                      {application("shop", "shop", ""), []string{strings.Replace(role, "%r", "resourcequotas", 1)}, "cannot hand out"},
		"makes a role of more, bound to itself":     {application("shop", "shop", ""), []string{strings.Replace(role, "%r", "resourcequotas", 1), binding("Role", "r"), minimal(kindNamed("ResourceQuota"), "")}, "may not patch resourcequotas"},
		"a project that its repository is not for":  {application("other", "shop", ""), []string{minimal(kindNamed("ConfigMap"), "")}, "registered for other, not for project shop"},
		"the cluster, for a tenant":                 {application("shop", "", ""), []string{minimal(kindNamed("ConfigMap"), "shop")}, "not for the whole cluster"},
		"everything, for the platform's own":        {application(api.SystemProject, "", ""), []string{minimal(kindNamed("ConfigMap"), "shop")}, ""},
	} {
		for i := range c.files {
			o := map[string]any{}
			if err := yaml.Unmarshal([]byte(c.files[i]), &o); err != nil {
				t.Fatal(name, err)
			}
		}
		got := w.problems(c.app, c.files...)
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func kindNamed(name string) api.Kind {
	all := api.Kinds()
	return all[slices.IndexFunc(all, func(k api.Kind) bool { return k.Kind == name })]
}

// A repository of the platform can be registered for some projects only.
func TestARepositoryReachesTheProjectsItIsRegisteredFor(t *testing.T) {
	w := newTenancy(t)
	w.repository(api.SystemProject, []string{"shop"})
	config := minimal(kindNamed("ConfigMap"), "")
	if got := w.problems(application(api.SystemProject, "shop", ""), config); got != "" {
		t.Error(got)
	}
	for _, project := range []string{"other", ""} {
		if got := w.problems(application(api.SystemProject, project, ""), config); !strings.Contains(got, "registered for shop") {
			t.Errorf("project %q: %q", project, got)
		}
	}
}

// An exception from git is none from tenancy.
func TestAnOverrideReachesNoOtherProject(t *testing.T) {
	w := newTenancy(t)
	w.create(&v1alpha1.Override{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "o"},
		Spec: v1alpha1.OverrideSpec{
			Application: "app", Owner: "Ann <ann@example.com>", Reason: "curious", Signature: "s", Until: metav1.NewTime(time.Now().Add(time.Hour)),
			Object: v1alpha1.ObjectReference{APIVersion: "image.openshift.io/v1", Kind: "ImageStream", Name: "x", Namespace: "shop"},
			Patch:  runtime.RawExtension{Raw: []byte(`{"spec":{"tags":[{"name":"live","from":{"kind":"ImageStreamTag","name":"app:1","namespace":"other"}}]}}`)},
		},
	})
	got := w.problems(application("shop", "shop", ""), minimal(kindNamed("ImageStream"), ""))
	if !strings.Contains(got, "project other does not allow") {
		t.Errorf("%q", got)
	}
}
