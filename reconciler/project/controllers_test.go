package project_test

import (
	"sync"
	"testing"

	projectv1 "github.com/openshift/api/project/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/reconciler/project"
	"slipway.dev/slipway/state"
	"slipway.dev/slipway/state/statetest"
)

type events struct {
	mu      sync.Mutex
	reasons map[string]bool
}

func (e *events) Event(_ client.Object, _, reason, _ string, _ ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.reasons == nil {
		e.reasons = map[string]bool{}
	}
	e.reasons[reason] = true
}

func (e *events) has(reason string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.reasons[reason]
}

// run runs the controllers until the returned function is called, or the test ends.
func run(t *testing.T, c *state.Client, ev *events) (stop func()) {
	t.Helper()
	return statetest.Run(t, c, project.Controllers(project.Deps{Client: c, Events: ev})...)
}

func shop() *projectv1.Project {
	return &projectv1.Project{ObjectMeta: metav1.ObjectMeta{Name: "shop", Annotations: map[string]string{projectv1.ProjectRequesterAnnotation: "ann"}}}
}

func configMap(name string, owners ...client.Object) *corev1.ConfigMap {
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop"}}
	for _, o := range owners {
		cm.OwnerReferences = append(cm.OwnerReferences, metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: o.GetName(), UID: o.GetUID()})
	}
	return cm
}

func gone(t *testing.T, c client.Client, o client.Object) func() bool {
	return func() bool {
		err := c.Get(t.Context(), client.ObjectKeyFromObject(o), o)
		if client.IgnoreNotFound(err) != nil {
			t.Fatal(err)
		}
		return apierrors.IsNotFound(err)
	}
}

func TestProjectIsFurnishedAndEmptied(t *testing.T) {
	t.Parallel()
	c, ctx, ev := statetest.New(t), t.Context(), &events{}
	run(t, c, ev)
	p := shop()
	statetest.Must(t, c.Create(ctx, p))
	statetest.Eventually(t, "the project is active", func() bool {
		statetest.Must(t, c.Get(ctx, client.ObjectKeyFromObject(p), p))
		return p.Status.Phase == corev1.NamespaceActive
	})
	if p.Annotations[api.NetIDAnnotation] != "10" || p.Annotations[api.UIDRangeAnnotation] == "" || len(p.Finalizers) != 1 {
		t.Errorf("got %v, %v", p.Annotations, p.Finalizers)
	}
	for _, name := range []string{"builder", "default", "deployer"} {
		statetest.Must(t, c.Get(ctx, client.ObjectKey{Namespace: "shop", Name: name}, &corev1.ServiceAccount{}))
	}
	for _, name := range []string{"slipway:applications", "system:deployers", "system:image-builders", "system:image-pullers", "admin"} {
		statetest.Must(t, c.Get(ctx, client.ObjectKey{Namespace: "shop", Name: name}, &rbacv1.RoleBinding{}))
	}
	lost := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default", Namespace: "shop"}}
	statetest.Must(t, c.Delete(ctx, lost))
	statetest.Eventually(t, "a service account that was deleted comes back", func() bool {
		return c.Get(ctx, client.ObjectKeyFromObject(lost), &corev1.ServiceAccount{}) == nil
	})

	held := configMap("held")
	held.Finalizers = []string{"example.com/hold"}
	statetest.Must(t, c.Create(ctx, held))
	statetest.Must(t, c.Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s", Namespace: "shop"}}))
	statetest.Must(t, c.Delete(ctx, p))
	statetest.Eventually(t, "the secret goes", gone(t, c, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s", Namespace: "shop"}}))
	statetest.Must(t, c.Get(ctx, client.ObjectKeyFromObject(p), p))
	if p.Status.Phase != corev1.NamespaceTerminating {
		t.Errorf("phase %s", p.Status.Phase)
	}
	statetest.Must(t, c.Get(ctx, client.ObjectKeyFromObject(held), held))
	held.Finalizers = nil
	statetest.Must(t, c.Update(ctx, held))
	statetest.Eventually(t, "the project goes with the last of its content", gone(t, c, p))
}

func TestContentWithoutProjectIsReported(t *testing.T) {
	t.Parallel()
	c, ctx, ev := statetest.New(t), t.Context(), &events{}
	run(t, c, ev)
	cm := configMap("lonely")
	statetest.Must(t, c.Create(ctx, cm))
	statetest.Eventually(t, "it is reported", func() bool { return ev.has("ProjectMissing") })
	statetest.Must(t, c.Get(ctx, client.ObjectKeyFromObject(cm), cm))
}

func TestOwnedObjectsGoWithTheirOwners(t *testing.T) {
	t.Parallel()
	c, ctx := statetest.New(t), t.Context()
	stop := run(t, c, &events{})
	root, other := configMap("root"), configMap("other")
	statetest.Must(t, c.Create(ctx, root))
	statetest.Must(t, c.Create(ctx, other))
	child, both := configMap("child", root), configMap("both", root, other)
	statetest.Must(t, c.Create(ctx, child))
	statetest.Must(t, c.Create(ctx, both))
	grandchild := configMap("grandchild", child)
	statetest.Must(t, c.Create(ctx, grandchild))
	foreign := configMap("foreign")
	foreign.OwnerReferences = []metav1.OwnerReference{{APIVersion: "example.com/v1", Kind: "Widget", Name: "w", UID: "1"}}
	statetest.Must(t, c.Create(ctx, foreign))
	stranger := configMap("stranger", &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "other", UID: types.UID("of an earlier namesake")}})
	statetest.Must(t, c.Create(ctx, stranger))

	statetest.Eventually(t, "what names an earlier namesake goes", gone(t, c, stranger))
	statetest.Must(t, c.Delete(ctx, root))
	statetest.Eventually(t, "the child goes", gone(t, c, child))
	statetest.Eventually(t, "the grandchild goes", gone(t, c, grandchild))

	stop() // what happens while nobody looks is made up for
	statetest.Must(t, c.Delete(ctx, other))
	statetest.Must(t, c.Create(ctx, configMap("other")))
	statetest.Must(t, c.Get(ctx, client.ObjectKeyFromObject(both), both))
	run(t, c, &events{})
	statetest.Eventually(t, "the one with two owners goes after both", gone(t, c, both))
	statetest.Must(t, c.Get(ctx, client.ObjectKeyFromObject(foreign), foreign))
}
