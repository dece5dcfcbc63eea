package deploy

import (
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"strings"

	appsv1 "github.com/openshift/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// MakeVersion makes the ReplicationController of a config's status.latestVersion. It
// starts at 0 replicas; its rollout scales it.
func MakeVersion(dc *appsv1.DeploymentConfig) (*corev1.ReplicationController, error) {
	if dc.Spec.Template == nil {
		return nil, fmt.Errorf("deploymentconfig %s/%s: spec.template: is missing", dc.Namespace, dc.Name)
	}
	kept := dc.DeepCopy()
	kept.SetGroupVersionKind(appsv1.GroupVersion.WithKind("DeploymentConfig"))
	kept.ManagedFields = nil
	encoded, err := json.Marshal(kept)
	if err != nil {
		return nil, fmt.Errorf("deploymentconfig %s/%s: encode: %w", dc.Namespace, dc.Name, err)
	}
	name := VersionName(dc.Name, dc.Status.LatestVersion)
	version := strconv.FormatInt(dc.Status.LatestVersion, 10)

	pod := dc.Spec.Template.DeepCopy()
	own := map[string]string{labelConfig: dc.Name, labelDeployment: name}
	pod.Labels = merged(pod.Labels, own)
	pod.Annotations = merged(pod.Annotations, map[string]string{
		appsv1.DeploymentAnnotation:        name,
		appsv1.DeploymentConfigAnnotation:  dc.Name,
		appsv1.DeploymentVersionAnnotation: version,
	})
	for i := range pod.Spec.Containers {
		pod.Spec.Containers[i].Image = strings.TrimSpace(pod.Spec.Containers[i].Image)
	}
	zero := int32(0)
	rc := &corev1.ReplicationController{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: dc.Namespace,
			Labels: merged(dc.Labels, map[string]string{appsv1.DeploymentConfigAnnotation: dc.Name}),
			Annotations: map[string]string{
				appsv1.DeploymentConfigAnnotation:        dc.Name,
				appsv1.DeploymentEncodedConfigAnnotation: string(encoded),
				appsv1.DeploymentStatusAnnotation:        string(appsv1.DeploymentStatusNew),
				appsv1.DeploymentVersionAnnotation:       version,
				appsv1.DesiredReplicasAnnotation:         strconv.Itoa(int(dc.Spec.Replicas)),
				annotationReplicas:                       "0",
			},
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(dc, appsv1.GroupVersion.WithKind("DeploymentConfig"))},
		},
		Spec: corev1.ReplicationControllerSpec{
			Replicas:        &zero,
			Selector:        merged(dc.Spec.Selector, own),
			MinReadySeconds: dc.Spec.MinReadySeconds,
			Template:        pod,
		},
	}
	if dc.Status.Details != nil && dc.Status.Details.Message != "" {
		rc.Annotations[appsv1.DeploymentStatusReasonAnnotation] = dc.Status.Details.Message
	}
	if v, ok := dc.Annotations[annotationIgnorePod]; ok {
		rc.Annotations[annotationIgnorePod] = v
	}
	return rc, nil
}

// merged is a new map of both; the second's values win.
func merged(a, b map[string]string) map[string]string {
	m := make(map[string]string, len(a)+len(b))
	maps.Copy(m, a)
	maps.Copy(m, b)
	return m
}
