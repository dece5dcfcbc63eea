package deploy

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	appsv1 "github.com/openshift/api/apps/v1"
	"github.com/openshift/library-go/pkg/build/naming"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Names that OpenShift's API package does not export.
const (
	// labelConfig and labelDeployment select the pods of one version.
	labelConfig     = "deploymentconfig"
	labelDeployment = "deployment"
	// labelPodType says what a pod that takes part in a rollout is for: deploy, hook-pre, …
	labelPodType = "openshift.io/deployer-pod.type"
	// annotationReplicas is the number of replicas that was last asked of a version.
	annotationReplicas = "openshift.io/deployment.replicas"
	// annotationIgnorePod is handed on from a config to its versions.
	annotationIgnorePod = "deploy.openshift.io/deployer-pod.ignore"

	annotationStarted = "slipway.dev/rollout-started"
	annotationScaled  = "slipway.dev/rollout-scaled"

	reasonNewerFound = "newer deployment was found running"
)

// Moment is when in a rollout a hook runs.
type Moment string

// The moments of a rollout at which a hook may run.
const (
	Pre  Moment = "pre"
	Mid  Moment = "mid"
	Post Moment = "post"
)

// deployed is when the pod of a Custom strategy succeeded.
const deployed Moment = "deploy"

func (m Moment) annotation() string { return "slipway.dev/hook-" + string(m) }

// DeployerPodName names the pod of a Custom strategy.
func DeployerPodName(rc string) string { return naming.GetPodName(rc, "deploy") }

// HookPodName names the pod of a hook.
func HookPodName(rc string, m Moment) string { return naming.GetPodName(rc, "hook-"+string(m)) }

// VersionName names the ReplicationController of one version of a config.
func VersionName(config string, version int64) string {
	return config + "-" + strconv.FormatInt(version, 10)
}

// PhaseOf reads how far the rollout of a version is; a version that says nothing is New.
func PhaseOf(rc *corev1.ReplicationController) appsv1.DeploymentStatus {
	if p := rc.Annotations[appsv1.DeploymentStatusAnnotation]; p != "" {
		return appsv1.DeploymentStatus(p)
	}
	return appsv1.DeploymentStatusNew
}

// VersionOf reads a version's number; 0 where there is none.
func VersionOf(rc *corev1.ReplicationController) int64 {
	n, err := strconv.ParseInt(rc.Annotations[appsv1.DeploymentVersionAnnotation], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func terminated(rc *corev1.ReplicationController) bool {
	p := PhaseOf(rc)
	return p == appsv1.DeploymentStatusComplete || p == appsv1.DeploymentStatusFailed
}

func cancelled(rc *corev1.ReplicationController) bool {
	_, ok := rc.Annotations[appsv1.DeploymentCancelledAnnotation]
	return ok
}

func replicas(rc *corev1.ReplicationController) int32 {
	if rc == nil || rc.Spec.Replicas == nil {
		return 0
	}
	return *rc.Spec.Replicas
}

// desiredReplicas is what a rollout brings its version to: the config's replicas when
// the version was made.
func desiredReplicas(rc *corev1.ReplicationController) int32 {
	n, err := strconv.ParseInt(rc.Annotations[appsv1.DesiredReplicasAnnotation], 10, 32)
	if err != nil || n < 0 {
		return 0
	}
	return int32(n)
}

// timeAt reads a time that a rollout noted; the zero time where there is none.
func timeAt(rc *corev1.ReplicationController, annotation string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, rc.Annotations[annotation])
	if err != nil {
		return time.Time{}
	}
	return t
}

// encodedConfig reads the config that a version was made from.
func encodedConfig(rc *corev1.ReplicationController) (*appsv1.DeploymentConfig, error) {
	var dc appsv1.DeploymentConfig
	if err := json.Unmarshal([]byte(rc.Annotations[appsv1.DeploymentEncodedConfigAnnotation]), &dc); err != nil {
		return nil, fmt.Errorf("replicationcontroller %s/%s: annotation %s: %w", rc.Namespace, rc.Name, appsv1.DeploymentEncodedConfigAnnotation, err)
	}
	return &dc, nil
}

// byVersion sorts versions, oldest first.
func byVersion(rcs []*corev1.ReplicationController) []*corev1.ReplicationController {
	sorted := slices.Clone(rcs)
	slices.SortStableFunc(sorted, func(a, b *corev1.ReplicationController) int {
		return int(VersionOf(a) - VersionOf(b))
	})
	return sorted
}

// active is the newest version whose rollout succeeded: the one that serves.
func active(rcs []*corev1.ReplicationController) *corev1.ReplicationController {
	var best *corev1.ReplicationController
	for _, rc := range rcs {
		if PhaseOf(rc) == appsv1.DeploymentStatusComplete && (best == nil || VersionOf(rc) > VersionOf(best)) {
			best = rc
		}
	}
	return best
}

func ownedBy(o metav1.Object, owner metav1.Object) bool {
	ref := metav1.GetControllerOf(o)
	return ref != nil && ref.UID == owner.GetUID()
}

func numbered(rcs []*corev1.ReplicationController, version int64) *corev1.ReplicationController {
	for _, rc := range rcs {
		if VersionOf(rc) == version {
			return rc
		}
	}
	return nil
}
