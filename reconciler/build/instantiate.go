package build

import (
	"context"
	"fmt"
	"maps"
	"strconv"

	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
)

// Request says why a build starts and of what.
type Request struct {
	// Revision of the source; nil: what the source's ref names when the build runs.
	Revision *buildv1.SourceRevision
	// Causes are shown to people.
	Causes []buildv1.BuildTriggerCause
	// Env is added to the strategy's environment.
	Env []corev1.EnvVar
	// Fired are the image triggers that the build answers. They are noted in the same
	// write that takes the build's number, so that each image fires once.
	Fired []Fired
}

// Instantiate makes the next Build of a BuildConfig. The number is taken first: if the
// process dies in between, a number is skipped, and never used twice.
func (c *Controller) Instantiate(ctx context.Context, key types.NamespacedName, req Request) (*buildv1.Build, error) {
	bc := &buildv1.BuildConfig{}
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		if err := c.Client.Get(ctx, key, bc); err != nil {
			return err
		}
		if paused(bc) {
			return apierrors.NewForbidden(buildv1.Resource("buildconfigs"), bc.Name, fmt.Errorf("annotation %s is set", buildv1.BuildConfigPausedAnnotation))
		}
		bc.Status.LastVersion++
		note(bc, req.Fired, metav1.NewTime(c.Now()))
		return c.Client.Status().Update(ctx, bc)
	})
	if err != nil {
		return nil, fmt.Errorf("start a build of %s: %w", key, err)
	}
	b := newBuild(bc, req)
	if err := c.resolve(ctx, b); err != nil {
		return nil, err
	}
	if err := c.Client.Create(ctx, b); err != nil {
		return nil, fmt.Errorf("create build %s: %w", b.Name, err)
	}
	c.Events.Event(bc, corev1.EventTypeNormal, "BuildStarted", "build %s: %s", b.Name, causes(req.Causes))
	return b, nil
}

func paused(bc *buildv1.BuildConfig) bool {
	return bc.Annotations[buildv1.BuildConfigPausedAnnotation] == "true"
}

// newBuild is the Build that a BuildConfig's current version names.
func newBuild(bc *buildv1.BuildConfig, req Request) *buildv1.Build {
	number := strconv.FormatInt(bc.Status.LastVersion, 10)
	yes := true
	labels := map[string]string{}
	maps.Copy(labels, bc.Labels)
	maps.Copy(labels, map[string]string{
		buildv1.BuildConfigLabelDeprecated: bc.Name,
		buildv1.BuildConfigLabel:           bc.Name,
		buildv1.BuildRunPolicyLabel:        string(bc.Spec.RunPolicy),
	})
	for k := range labels {
		if ownerLabel(k) {
			delete(labels, k)
		}
	}
	b := &buildv1.Build{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: bc.Namespace, Name: bc.Name + "-" + number, Labels: labels,
			Annotations: map[string]string{
				buildv1.BuildNumberAnnotation: number,
				buildv1.BuildConfigAnnotation: bc.Name,
			},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: buildv1.GroupVersion.String(), Kind: "BuildConfig", Name: bc.Name, UID: bc.UID, Controller: &yes,
			}},
		},
		Spec: buildv1.BuildSpec{CommonSpec: *bc.Spec.CommonSpec.DeepCopy(), TriggeredBy: req.Causes},
		Status: buildv1.BuildStatus{
			Phase:  buildv1.BuildPhaseNew,
			Config: &corev1.ObjectReference{Kind: "BuildConfig", Namespace: bc.Namespace, Name: bc.Name},
		},
	}
	if req.Revision != nil {
		b.Spec.Revision = req.Revision
	}
	addEnv(&b.Spec.Strategy, req.Env)
	return b
}

func addEnv(s *buildv1.BuildStrategy, env []corev1.EnvVar) {
	switch {
	case s.SourceStrategy != nil:
		s.SourceStrategy.Env = append(s.SourceStrategy.Env, env...)
	case s.DockerStrategy != nil:
		s.DockerStrategy.Env = append(s.DockerStrategy.Env, env...)
	case s.CustomStrategy != nil:
		s.CustomStrategy.Env = append(s.CustomStrategy.Env, env...)
	}
}

func causes(list []buildv1.BuildTriggerCause) string {
	if len(list) == 0 {
		return "started by hand"
	}
	return list[0].Message
}
