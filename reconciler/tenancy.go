package reconciler

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/access"
	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/state/loop"
)

// tenantAccount is the service account that a tenant's Application acts as where it names none.
const tenantAccount = "deployer"

// principal is who an Application acts as, and the service account behind it.
func principal(app *v1alpha1.Application) (access.Subject, types.NamespacedName) {
	account := types.NamespacedName{Namespace: app.Namespace, Name: app.Spec.ServiceAccountName}
	if app.Spec.Project != "" {
		account.Namespace = app.Spec.Project
	}
	if account.Name == "" {
		if app.Namespace == api.SystemProject {
			return access.Platform(), types.NamespacedName{}
		}
		account.Name = tenantAccount
	}
	return access.ServiceAccount(account.Namespace, account.Name), account
}

// permitted renders an Application as far as it may go: to the projects that its
// repository is registered for, and to what its service account may apply. What is refused
// is never compared with live state, of which a plan would tell.
func (r *Reconciler) permitted(ctx context.Context, app *v1alpha1.Application, rev api.Revision, render rendered) (api.Desired, error) {
	problems, err := r.registered(ctx, app)
	if err != nil || len(problems) > 0 {
		return api.Desired{}, asError(problems, err)
	}
	want, err := render(ctx, app, rev)
	if err != nil {
		return want, err
	}
	problems, err = r.authorize(ctx, app, want.Objects)
	return want, asError(problems, err)
}

func asError(problems api.Problems, err error) error {
	if err != nil || len(problems) == 0 {
		return err
	}
	return problems
}

// registered says what is wrong with an Application's project: its repository's
// registration decides which projects it reaches, not what the repository holds.
func (r *Reconciler) registered(ctx context.Context, app *v1alpha1.Application) (api.Problems, error) {
	reach, all, err := r.reach(ctx, app)
	// Where there is no repository, the source says so.
	if err != nil || all || slices.Contains(reach, app.Spec.Project) {
		return nil, client.IgnoreNotFound(err)
	}
	wants := "project " + app.Spec.Project
	if app.Spec.Project == "" {
		wants = "the whole cluster"
	}
	return api.Problems{{
		Object: app.Namespace + "/application/" + app.Name, Field: "spec.project",
		Message: fmt.Sprintf("repository %s is registered for %s, not for %s", source(app), strings.Join(reach, ", "), wants),
	}}, nil
}

// reach are the projects that an Application's repository is registered for; all: the whole cluster.
func (r *Reconciler) reach(ctx context.Context, app *v1alpha1.Application) (projects []string, all bool, err error) {
	var repo v1alpha1.GitRepository
	if err := r.Client.Get(ctx, source(app), &repo); err != nil {
		return nil, false, err
	}
	switch {
	case len(repo.Spec.Projects) > 0:
		return repo.Spec.Projects, false, nil
	case repo.Namespace == api.SystemProject:
		return nil, true, nil
	}
	return []string{repo.Namespace}, false, nil
}

// authorize says what of the objects an Application may not apply, as its service account,
// by the roles of the projects concerned; and what they may not use of other projects.
func (r *Reconciler) authorize(ctx context.Context, app *v1alpha1.Application, objects []api.DesiredObject) (api.Problems, error) {
	a, err := r.authority(ctx, app)
	if a == nil || err != nil || len(objects) == 0 {
		return nil, err
	}
	uses := usesOf(objects, r.Registry)
	var projects []string
	for _, o := range objects {
		projects = append(projects, request("", o.Unstructured).Project)
	}
	for _, u := range uses {
		projects = append(projects, u.Project)
	}
	if err := a.load(ctx, projects); err != nil {
		return nil, err
	}
	for _, o := range objects {
		a.may("patch", o)
	}
	for _, u := range uses {
		if !a.policy.Allows(a.subject, u.Request) {
			a.refuse(u.object, u.Field, fmt.Sprintf("uses %s, which project %s does not allow %s to: it would have to bind it to role %s", u.What, u.Project, a.subject, roleFor(u.Request)))
		}
	}
	return a.problems, nil
}

// authorizeSteps adds to a plan's problems the creations and deletions that its Application
// may not make, and the roles that it may not hand out.
func (r *Reconciler) authorizeSteps(ctx context.Context, app *v1alpha1.Application, plan *Plan) error {
	a, err := r.authority(ctx, app)
	if a == nil && err == nil {
		a, err = r.confined(ctx, app)
	}
	if a == nil || err != nil || len(plan.Steps) == 0 {
		return err
	}
	var projects []string
	for _, s := range plan.Steps {
		projects = append(projects, request("", s.desired).Project)
	}
	if err := a.load(ctx, projects); err != nil {
		return err
	}
	a.declare(plan.Steps)
	for _, s := range plan.Steps {
		verb := map[Action]string{Create: "create", Prune: "delete"}[s.Action]
		if verb != "" && !a.may(verb, s.origin()) {
			continue
		}
		if s.Action != Prune {
			a.grant(s.origin())
		}
	}
	plan.Problems = append(plan.Problems, a.problems...)
	return nil
}

// accessWatches wake a tenant's Applications when what they may do changes.
func (r *Reconciler) accessWatches() []loop.Watch {
	wake := func(o client.Object) []loop.Key {
		if o.GetNamespace() == api.SystemProject {
			return nil
		}
		// One that the index does not know yet is about to be woken by its own event.
		return r.planner.index.Names(applicationKind, o.GetNamespace())
	}
	var out []loop.Watch
	for _, gvk := range []schema.GroupVersionKind{
		rbacv1.SchemeGroupVersion.WithKind("RoleList"), rbacv1.SchemeGroupVersion.WithKind("RoleBindingList"),
		corev1.SchemeGroupVersion.WithKind("ServiceAccountList"),
	} {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(gvk)
		out = append(out, loop.Watch{List: list, Keys: wake, Skip: unchanged()})
	}
	return out
}
