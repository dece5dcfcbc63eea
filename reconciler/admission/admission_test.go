package admission_test

import (
	"log/slog"
	"strings"
	"testing"

	projectv1 "github.com/openshift/api/project/v1"
	securityv1 "github.com/openshift/api/security/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/reconciler/admission"
	"slipway.dev/slipway/state"
)

// admitting is live state as a server opens it, with project shop.
func admitting(t testing.TB) *state.Client {
	t.Helper()
	store, err := state.Open(t.Context(), state.Options{
		DataDir: t.TempDir(), NoSync: true, Default: api.Default, Validate: api.Validate, ValidateUpdate: api.ValidateUpdate, Admit: admission.Admit,
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	c := store.Client()
	p := &projectv1.Project{ObjectMeta: metav1.ObjectMeta{Name: "shop", Annotations: map[string]string{api.UIDRangeAnnotation: "1000050000/10000"}}}
	if err := c.Create(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	return c
}

// pod is one of project shop, by its spec in YAML.
func pod(t testing.TB, name, spec string) *corev1.Pod {
	t.Helper()
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}}
	if err := yaml.UnmarshalStrict([]byte("containers: [{name: c, image: busybox}]\n"+spec), &p.Spec); err != nil {
		t.Fatal(err)
	}
	return p
}

const path = "serviceAccountName: agent\nvolumes: [{name: a, hostPath: {path: /srv}}]"

// TestAPodIsAdmittedWhereItIsMade: whoever writes it, and by whatever verb.
func TestAPodIsAdmittedWhereItIsMade(t *testing.T) {
	t.Parallel()
	c := admitting(t)
	ctx := t.Context()
	p := pod(t, "plain", "")
	p.Annotations = map[string]string{api.ConstraintsAnnotation: "privileged"}
	if err := c.Create(ctx, p); err != nil || p.Annotations[api.ConstraintsAnnotation] != "anyuid" {
		t.Fatalf("%v, %v", p.Annotations, err)
	}
	// What a pod was admitted by stays.
	p.Annotations[api.ConstraintsAnnotation] = "privileged"
	if err := c.Update(ctx, p); !apierrors.IsInvalid(err) {
		t.Errorf("the annotation was changed: %v", err)
	}
	err := c.Create(ctx, pod(t, "path", path))
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "spec.volumes[0]") || !strings.Contains(err.Error(), "hostmount-anyuid") {
		t.Errorf("a path of the host, by nobody's leave: %v", err)
	}
	applied := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte("{apiVersion: v1, kind: Pod, metadata: {name: applied, namespace: shop}, spec: {containers: [{name: c, image: busybox}], "+
		"serviceAccountName: agent, volumes: [{name: a, hostPath: {path: /srv}}]}}"), applied); err != nil {
		t.Fatal(err)
	}
	for i, r := range c.ApplyMany(ctx, []*unstructured.Unstructured{applied}, client.ApplyOptions{FieldManager: "git"}) {
		if !apierrors.IsForbidden(r.Err) {
			t.Errorf("apply %d: %v", i, r.Err)
		}
	}
	use := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "paths"}, Rules: []rbacv1.PolicyRule{{
		Verbs: []string{"use"}, APIGroups: []string{securityv1.GroupName}, Resources: []string{"securitycontextconstraints"}, ResourceNames: []string{"hostmount-anyuid"},
	}}}
	bound := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "paths"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "paths"},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Name: "agent"}},
	}
	for _, o := range []client.Object{use, bound} {
		if err := c.Create(ctx, o); err != nil {
			t.Fatal(err)
		}
	}
	p = pod(t, "path", path)
	if err := c.Create(ctx, p); err != nil || p.Annotations[api.ConstraintsAnnotation] != "hostmount-anyuid" {
		t.Errorf("%v, %v", p.Annotations, err)
	}
	for i, r := range c.ApplyMany(ctx, []*unstructured.Unstructured{applied, applied}, client.ApplyOptions{FieldManager: "git"}) {
		if r.Err != nil || r.Object.GetAnnotations()[api.ConstraintsAnnotation] != "hostmount-anyuid" {
			t.Errorf("apply %d: %v, %v", i, r.Object, r.Err)
		}
	}
}

// TestRestrictedGivesUsersOfTheProject: as in OpenShift, once nobody has anyuid.
func TestRestrictedGivesUsersOfTheProject(t *testing.T) {
	t.Parallel()
	c := admitting(t)
	ctx := t.Context()
	none := &securityv1.SecurityContextConstraints{
		ObjectMeta: metav1.ObjectMeta{Name: "anyuid"}, RunAsUser: securityv1.RunAsUserStrategyOptions{Type: securityv1.RunAsUserStrategyRunAsAny},
		SELinuxContext: securityv1.SELinuxContextStrategyOptions{Type: securityv1.SELinuxStrategyMustRunAs},
	}
	if err := c.Create(ctx, none); err != nil {
		t.Fatal(err)
	}
	p := pod(t, "plain", "")
	if err := c.Create(ctx, p); err != nil {
		t.Fatal(err)
	}
	if u := p.Spec.Containers[0].SecurityContext.RunAsUser; p.Annotations[api.ConstraintsAnnotation] != "restricted" || u == nil || *u != 1000050000 || *p.Spec.SecurityContext.FSGroup != 1000050000 {
		t.Errorf("%v runs as %v", p.Annotations, p.Spec)
	}
	if err := c.Create(ctx, pod(t, "root", "securityContext: {runAsUser: 0}")); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "1000050000-1000059999") {
		t.Errorf("root: %v", err)
	}
}

// BenchmarkAdmit is what making a pod costs more.
func BenchmarkAdmit(b *testing.B) {
	c := admitting(b)
	for name, spec := range map[string]string{"plain": "", "refused": path} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := admission.Admit(b.Context(), c, pod(b, "p", spec)); (err != nil) != (name == "refused") {
					b.Fatal(err)
				}
			}
		})
	}
}
