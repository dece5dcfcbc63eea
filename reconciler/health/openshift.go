package health

import (
	"cmp"
	"fmt"
	"strings"

	appsv1 "github.com/openshift/api/apps/v1"
	buildv1 "github.com/openshift/api/build/v1"
	imagev1 "github.com/openshift/api/image/v1"
	routev1 "github.com/openshift/api/route/v1"
	templatev1 "github.com/openshift/api/template/v1"
	corev1 "k8s.io/api/core/v1"

	"slipway.dev/slipway/api"
)

// deploymentConfig follows `oc rollout status`: the newest version is rolled out, all of its
// pods are available, and none of an older one is left. One that is rolled out by hand only,
// or that is paused, is Current as it stands: nobody waits for anything.
func deploymentConfig(dc *appsv1.DeploymentConfig) Health {
	s := dc.Status
	rollout, known := rolloutCondition(s.Conditions)
	if s.ObservedGeneration < dc.Generation {
		// As in OpenShift, all of it is observed only when the rollout is over.
		if known && rollout.Status != corev1.ConditionFalse && rollout.Reason != string(appsv1.NewReplicationControllerAvailableReason) {
			return progress("version %d rolls out: %s", s.LatestVersion, podsOf(dc))
		}
		return progress("its newest version has not been looked at yet")
	}
	if s.LatestVersion == 0 {
		return neverRolledOut(dc)
	}
	if known && rollout.Status == corev1.ConditionFalse {
		return failed("%s", cmp.Or(rollout.Message, rollout.Reason))
	}
	if known && rollout.Reason != string(appsv1.NewReplicationControllerAvailableReason) && !dc.Spec.Paused {
		return progress("version %d rolls out: %s", s.LatestVersion, podsOf(dc))
	}
	want := dc.Spec.Replicas
	if dc.Spec.Test {
		// Test deployments run only while they roll out.
		want = 0
	}
	switch {
	case !known && !dc.Spec.Paused:
		return progress("version %d has not begun to roll out", s.LatestVersion)
	case s.UpdatedReplicas < want && !dc.Spec.Paused, s.AvailableReplicas < want:
		return progress("%s", podsOf(dc))
	case s.Replicas > want:
		return progress("%d of %d pods have still to go", s.Replicas-want, s.Replicas)
	case dc.Spec.Paused:
		return current("is paused")
	}
	return Health{State: Current}
}

func podsOf(dc *appsv1.DeploymentConfig) string {
	return fmt.Sprintf("%d of %d pods are of version %d, %d available",
		dc.Status.UpdatedReplicas, dc.Spec.Replicas, dc.Status.LatestVersion, dc.Status.AvailableReplicas)
}

func neverRolledOut(dc *appsv1.DeploymentConfig) Health {
	if dc.Spec.Paused {
		return current("is paused")
	}
	config := dc.Spec.Triggers == nil
	images := false
	for _, t := range dc.Spec.Triggers {
		switch {
		case t.Type == appsv1.DeploymentTriggerOnConfigChange:
			config = true
		case t.ImageChangeParams == nil:
		case api.AwaitsImage(dc, t.ImageChangeParams):
			return progress("waits for image %s", t.ImageChangeParams.From.Name)
		default:
			images = true
		}
	}
	if !config && !images {
		return current("is rolled out by hand")
	}
	return progress("has not begun to roll out")
}

func rolloutCondition(conditions []appsv1.DeploymentCondition) (appsv1.DeploymentCondition, bool) {
	for _, c := range conditions {
		if c.Type == appsv1.DeploymentProgressing {
			return c, true
		}
	}
	return appsv1.DeploymentCondition{}, false
}

func replicationController(rc *corev1.ReplicationController) Health {
	want := int32(1)
	if rc.Spec.Replicas != nil {
		want = *rc.Spec.Replicas
	}
	s := rc.Status
	for _, c := range s.Conditions {
		if c.Type == corev1.ReplicationControllerReplicaFailure && c.Status == corev1.ConditionTrue {
			return failed("%s", cmp.Or(c.Message, c.Reason))
		}
	}
	switch {
	case s.ObservedGeneration < rc.Generation:
		return progress("its newest version has not been looked at yet")
	case s.Replicas > want:
		return progress("%d of %d pods have still to go", s.Replicas-want, s.Replicas)
	case s.AvailableReplicas < want:
		return progress("%d of %d pods are available", s.AvailableReplicas, want)
	}
	return Health{State: Current}
}

// build is a single run. A BuildConfig, in contrast, is Current as soon as it is applied: its
// builds come and go without a commit, and a failed one leaves the last good image in force.
func build(b *buildv1.Build) Health {
	switch b.Status.Phase {
	case buildv1.BuildPhaseComplete:
		return Health{State: Current}
	case buildv1.BuildPhaseFailed, buildv1.BuildPhaseError, buildv1.BuildPhaseCancelled:
		return failed("%s", cmp.Or(b.Status.Message, string(b.Status.Reason), strings.ToLower(string(b.Status.Phase))))
	}
	return progress("is %s", cmp.Or(strings.ToLower(string(b.Status.Phase)), "new"))
}

// imageStream waits for the tags that are imported. A tag that follows another stream's is
// not waited for: a build or a promotion sets that one, perhaps one that the very same
// application declares in a later stage.
func imageStream(s *imagev1.ImageStream) Health {
	for _, tag := range s.Spec.Tags {
		if tag.From == nil || tag.From.Kind != "DockerImage" || tag.Reference {
			continue
		}
		if h := importedTag(tag, s.Status.Tags); h.State != Current {
			return h
		}
	}
	return Health{State: Current}
}

func importedTag(tag imagev1.TagReference, all []imagev1.NamedTagEventList) Health {
	asked := int64(0)
	if tag.Generation != nil {
		asked = *tag.Generation
	}
	for _, t := range all {
		if t.Tag != tag.Name {
			continue
		}
		for _, c := range t.Conditions {
			if c.Type == imagev1.ImportSuccess && c.Status == corev1.ConditionFalse && c.Generation >= asked && len(t.Items) == 0 {
				return progress("tag %s: %s cannot be imported yet: %s", tag.Name, tag.From.Name, cmp.Or(c.Message, c.Reason))
			}
		}
		if len(t.Items) > 0 && t.Items[0].Generation >= asked {
			return Health{State: Current}
		}
	}
	return progress("tag %s: %s is not imported yet", tag.Name, tag.From.Name)
}

// route is Failed where any router refuses it, for instance because the host is another
// project's, and Current when every router that spoke admits the host it asks for.
func route(r *routev1.Route) Health {
	admitted := false
	for _, in := range r.Status.Ingress {
		if r.Spec.Host != "" && in.Host != r.Spec.Host {
			continue
		}
		for _, c := range in.Conditions {
			switch {
			case c.Type != routev1.RouteAdmitted:
			case c.Status == corev1.ConditionFalse:
				return failed("%s is not served: %s", in.Host, cmp.Or(c.Message, c.Reason))
			case c.Status == corev1.ConditionTrue:
				admitted = true
			}
		}
	}
	if !admitted {
		return progress("no router has admitted it yet")
	}
	return Health{State: Current}
}

// templateInstance has nothing to wait for: its objects are rendered with it and are the
// application's own.
func templateInstance(t *templatev1.TemplateInstance) Health {
	for _, c := range t.Status.Conditions {
		if c.Type == templatev1.TemplateInstanceInstantiateFailure && c.Status == corev1.ConditionTrue {
			return failed("%s", cmp.Or(c.Message, c.Reason))
		}
	}
	return Health{State: Current}
}

func persistentVolume(pv *corev1.PersistentVolume) Health {
	if pv.Status.Phase == corev1.VolumeFailed {
		return failed("%s", cmp.Or(pv.Status.Message, pv.Status.Reason, "is failed"))
	}
	return Health{State: Current}
}
