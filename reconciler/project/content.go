package project

import (
	"context"

	projectv1 "github.com/openshift/api/project/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/state/loop"
)

type contents struct{ Deps }

// reconcile reports content without a project. It is left alone: the project may come
// later, from another application. What is written into a project that goes is reported
// where it is deleted.
func (c contents) reconcile(ctx context.Context, key loop.Key) (loop.Result, error) {
	err := c.Client.Get(ctx, key, &projectv1.Project{})
	if !apierrors.IsNotFound(err) {
		return loop.Result{}, err
	}
	for _, k := range api.Kinds() {
		if !content(k) {
			continue
		}
		list := listOf(k)
		if err := c.Client.List(ctx, list, client.InNamespace(key.Name), client.Limit(1)); err != nil {
			return loop.Result{}, err
		}
		if meta.LenList(list) > 0 {
			c.Log.Warn("objects without a project", "project", key.Name, "kind", k.Kind)
			c.Events.Event(&projectv1.Project{ObjectMeta: metav1.ObjectMeta{Name: key.Name}}, corev1.EventTypeWarning, "ProjectMissing",
				"there are objects in project %s, which does not exist: declare it, or delete them", key.Name)
			return loop.Result{}, nil
		}
	}
	return loop.Result{}, nil
}
