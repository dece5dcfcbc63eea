package deploy

import (
	"context"
	"fmt"
	"strconv"
	"time"

	appsv1 "github.com/openshift/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/reconciler/pods"
	"slipway.dev/slipway/state/loop"
)

// passes bounds how often one Reconcile looks again at once after it acted; what is
// left is taken up by the next.
const passes = 50

type configs struct {
	Deps
	watched *watched
}

// reconcile reads, decides and acts until nothing is left to do but to wait.
func (c configs) reconcile(ctx context.Context, key loop.Key) (loop.Result, error) {
	for range passes {
		acted, after, err := c.pass(ctx, key)
		if err != nil || !acted {
			return loop.Result{After: after}, err
		}
	}
	return loop.Result{After: time.Millisecond}, nil
}

func (c configs) pass(ctx context.Context, key loop.Key) (acted bool, after time.Duration, err error) {
	var dc appsv1.DeploymentConfig
	if err := c.Client.Get(ctx, key, &dc); err != nil {
		return false, 0, client.IgnoreNotFound(err)
	}
	rcs, err := c.versions(ctx, &dc)
	if err != nil {
		return false, 0, err
	}
	d := DecideConfig(&dc, rcs)
	if d.Next != nil {
		dc.Status.LatestVersion++
		dc.Status.Details = d.Next
		return true, 0, c.Client.Status().Update(ctx, &dc)
	}
	if acted, err := c.carryOut(ctx, &dc, rcs, d); acted || err != nil {
		return acted, 0, err
	}
	for _, name := range d.Roll {
		moved, wait, err := c.roll(ctx, &dc, rcs, name)
		if moved || err != nil {
			return moved, 0, err
		}
		after = pods.Sooner(after, wait)
	}
	status := ConfigStatus(&dc, rcs, d.Observed, c.Clock())
	if !equality.Semantic.DeepEqual(status, dc.Status) {
		dc.Status = status
		return false, after, client.IgnoreNotFound(c.Client.Status().Update(ctx, &dc))
	}
	return false, after, nil
}

// versions lists the ReplicationControllers that the config owns, oldest first, and
// takes in those of its that lost their owner.
func (c configs) versions(ctx context.Context, dc *appsv1.DeploymentConfig) ([]*corev1.ReplicationController, error) {
	var list corev1.ReplicationControllerList
	if err := c.Client.List(ctx, &list, client.InNamespace(dc.Namespace)); err != nil {
		return nil, err
	}
	selector := labels.SelectorFromSet(dc.Spec.Selector)
	var mine []*corev1.ReplicationController
	for i := range list.Items {
		rc := &list.Items[i]
		if rc.DeletionTimestamp != nil || rc.Annotations[appsv1.DeploymentConfigAnnotation] != dc.Name {
			continue
		}
		if metav1.GetControllerOf(rc) == nil && selector.Matches(labels.Set(rc.Spec.Selector)) && dc.DeletionTimestamp == nil {
			rc.OwnerReferences = append(rc.OwnerReferences, *metav1.NewControllerRef(dc, appsv1.GroupVersion.WithKind("DeploymentConfig")))
			if err := c.Client.Update(ctx, rc); err != nil {
				return nil, err
			}
		}
		if ownedBy(rc, dc) {
			mine = append(mine, rc)
		}
	}
	return byVersion(mine), nil
}

func (c configs) carryOut(ctx context.Context, dc *appsv1.DeploymentConfig, rcs []*corev1.ReplicationController, d Decision) (acted bool, err error) {
	for _, name := range d.Cancel {
		rc := named(rcs, name)
		rc.Annotations[appsv1.DeploymentCancelledAnnotation] = "true"
		rc.Annotations[appsv1.DeploymentStatusReasonAnnotation] = reasonNewerFound
		if err := c.Client.Update(ctx, rc); err != nil {
			return false, err
		}
		c.Events.Event(dc, corev1.EventTypeNormal, "DeploymentCancelled", "Cancelled deployment %q superceded by version %d", name, dc.Status.LatestVersion)
		acted = true
	}
	if d.Create {
		return true, c.create(ctx, dc, rcs)
	}
	for _, s := range d.Scale {
		if err := c.scale(ctx, dc, named(rcs, s.Name), s.To); err != nil {
			return false, err
		}
		acted = true
	}
	for _, name := range d.Delete {
		if err := c.Client.Delete(ctx, named(rcs, name)); client.IgnoreNotFound(err) != nil {
			c.Events.Event(dc, corev1.EventTypeWarning, "DeploymentCleanupFailed", "Couldn't clean up deployments: %v", err)
			return false, err
		}
		acted = true
	}
	return acted, nil
}

// create makes the version that status.latestVersion names. That it is there already
// means that another process made it; one that somebody else owns is in the way.
func (c configs) create(ctx context.Context, dc *appsv1.DeploymentConfig, rcs []*corev1.ReplicationController) error {
	rc, err := MakeVersion(dc)
	if err == nil {
		err = c.Client.Create(ctx, rc)
	}
	if apierrors.IsAlreadyExists(err) {
		err = fmt.Errorf("replication controller %s already exists and is not owned by the deployment config", rc.Name)
	}
	if err != nil {
		c.Events.Event(dc, corev1.EventTypeWarning, "DeploymentCreationFailed", "Couldn't deploy version %d: %v", dc.Status.LatestVersion, err)
		dc.Status.Conditions = setCondition(dc.Status.Conditions, appsv1.DeploymentCondition{
			Type: appsv1.DeploymentProgressing, Status: corev1.ConditionFalse,
			Reason: string(appsv1.ReplicationControllerCreateErrorReason), Message: err.Error(),
		}, c.Clock())
		if e := c.Client.Status().Update(ctx, dc); e != nil {
			c.Log.Warn("status not written", "object", dc.Namespace+"/"+dc.Name, "error", e)
		}
		return fmt.Errorf("deploymentconfig %s/%s: version %d: %w", dc.Namespace, dc.Name, dc.Status.LatestVersion, err)
	}
	c.Events.Event(dc, corev1.EventTypeNormal, "DeploymentCreated", "Created new replication controller %q for version %d", rc.Name, dc.Status.LatestVersion)
	dc.Status = ConfigStatus(dc, append(rcs, rc), false, c.Clock())
	return c.Client.Status().Update(ctx, dc)
}

// scale changes a version's replicas and notes when, all in one write.
func (c configs) scale(ctx context.Context, dc *appsv1.DeploymentConfig, rc *corev1.ReplicationController, to int32) error {
	from := replicas(rc)
	rc.Spec.Replicas = &to
	rc.Annotations[annotationReplicas] = strconv.Itoa(int(to))
	rc.Annotations[annotationScaled] = c.Clock().UTC().Format(time.RFC3339Nano)
	if err := c.Client.Update(ctx, rc); err != nil {
		if !apierrors.IsConflict(err) {
			c.Events.Event(dc, corev1.EventTypeWarning, "ReplicationControllerScaleFailed", "Failed to scale replication controller %q from %d to %d: %v", rc.Name, from, to, err)
		}
		return err
	}
	c.Events.Event(dc, corev1.EventTypeNormal, "ReplicationControllerScaled", "Scaled replication controller %q from %d to %d", rc.Name, from, to)
	return nil
}

func named(rcs []*corev1.ReplicationController, name string) *corev1.ReplicationController {
	for _, rc := range rcs {
		if rc.Name == name {
			return rc
		}
	}
	return nil
}
