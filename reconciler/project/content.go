package project

import (
	"context"

	projectv1 "github.com/openshift/api/project/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slipway.dev/slipway/state/loop"
)

type contents struct{ Deps }

// reconcile reports content without a project. It is left alone: a project that is
// missing may be one that comes later in the same commit.
func (c contents) reconcile(ctx context.Context, key loop.Key) (loop.Result, error) {
	var p projectv1.Project
	err := c.Client.Get(ctx, key, &p)
	if err == nil && p.DeletionTimestamp == nil {
		return loop.Result{}, nil
	}
	if err != nil && !apierrors.IsNotFound(err) {
		return loop.Result{}, err
	}
	held := false
	for _, list := range watches(content, namespaceOf) {
		some, err := c.some(ctx, key.Name, list)
		if err != nil {
			return loop.Result{}, err
		}
		if held = some; held {
			break
		}
	}
	if !held || p.DeletionTimestamp != nil {
		return loop.Result{}, nil // terminate empties it
	}
	c.Log.Warn("objects without a project", "project", key.Name)
	c.Events.Event(&projectv1.Project{ObjectMeta: metav1.ObjectMeta{Name: key.Name}}, corev1.EventTypeWarning, "ProjectMissing",
		"there are objects in project %s, which does not exist: declare it, or delete them", key.Name)
	return loop.Result{}, nil
}
