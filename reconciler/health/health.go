package health

import (
	"cmp"
	"fmt"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	appsv1 "github.com/openshift/api/apps/v1"
	buildv1 "github.com/openshift/api/build/v1"
	imagev1 "github.com/openshift/api/image/v1"
	routev1 "github.com/openshift/api/route/v1"
	templatev1 "github.com/openshift/api/template/v1"
	kappsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
)

// State is how an object does.
type State string

// The states, with kstatus' names.
const (
	// Current: what was asked for is there.
	Current State = "Current"
	// InProgress: it is on its way.
	InProgress State = "InProgress"
	// Failed: it was given up; something has to change.
	Failed State = "Failed"
	// Terminating: it is being deleted.
	Terminating State = "Terminating"
	// Unknown: it cannot be told; Health.Message says why.
	Unknown State = "Unknown"
)

// Health is a state and, unless it is Current, why.
type Health struct {
	State   State
	Message string
}

func current(format string, args ...any) Health { return Health{Current, fmt.Sprintf(format, args...)} }
func progress(format string, args ...any) Health {
	return Health{InProgress, fmt.Sprintf(format, args...)}
}
func failed(format string, args ...any) Health { return Health{Failed, fmt.Sprintf(format, args...)} }

// immediate are the kinds that are Current as soon as they exist: nothing in their status
// could say otherwise.
var immediate = map[string]bool{
	"ServiceAccount": true, "ResourceQuota": true, "LimitRange": true,
	"Role": true, "RoleBinding": true, "ClusterRole": true, "ClusterRoleBinding": true,
	"Record": true, "Override": true, "Secret": true, "ConfigMap": true, "NetworkPolicy": true, "EgressNetworkPolicy": true, "Template": true,
	"Endpoints": true, "Image": true, "BuildConfig": true,
	"CronJob": true, "HorizontalPodAutoscaler": true, "ControllerRevision": true, "HostSubnet": true, "NetNamespace": true, "Event": true, "Service": true,
	// A node may join later, and a drain takes as long as budgets make it take.
	"PriorityClass": true, "PodDisruptionBudget": true, "NodeConfig": true, "SecurityContextConstraints": true,
	// Objects may be put into a project from the moment that it exists.
	"Project": true,
}

// Immediate says that objects of a kind are Current as soon as they exist. Their health
// need not be read.
func Immediate(gk schema.GroupKind) bool {
	if _, known := api.KindFor(gk); !known {
		return false
	}
	return immediate[gk.Kind]
}

// Of is the health of an object by the rule of its kind.
func Of(o *unstructured.Unstructured) Health {
	if o.GetDeletionTimestamp() != nil {
		return Health{Terminating, "is being deleted"}
	}
	gk := o.GroupVersionKind().GroupKind()
	if Immediate(gk) {
		return Health{State: Current}
	}
	if rule, ok := rules[gk]; ok {
		return rule(o)
	}
	return generic(o)
}

// rules are those of the kinds that kstatus does not know.
var rules = map[schema.GroupKind]func(*unstructured.Unstructured) Health{
	{Group: appsv1.GroupName, Kind: "DeploymentConfig"}:         typed(deploymentConfig),
	{Group: kappsv1.GroupName, Kind: "Deployment"}:              typed(deployment),
	{Group: kappsv1.GroupName, Kind: "ReplicaSet"}:              typed(replicaSet),
	{Group: kappsv1.GroupName, Kind: "StatefulSet"}:             typed(statefulSet),
	{Group: kappsv1.GroupName, Kind: "DaemonSet"}:               typed(daemonSet),
	{Kind: "ReplicationController"}:                             typed(replicationController),
	{Group: buildv1.GroupName, Kind: "Build"}:                   typed(build),
	{Group: imagev1.GroupName, Kind: "ImageStream"}:             typed(imageStream),
	{Group: routev1.GroupName, Kind: "Route"}:                   typed(route),
	{Group: templatev1.GroupName, Kind: "TemplateInstance"}:     typed(templateInstance),
	{Group: batchv1.GroupName, Kind: "Job"}:                     typed(job),
	{Kind: "PersistentVolumeClaim"}:                             typed(claim),
	{Kind: "PersistentVolume"}:                                  typed(persistentVolume),
	{Group: v1alpha1.GroupVersion.Group, Kind: "Application"}:   typed(application),
	{Group: v1alpha1.GroupVersion.Group, Kind: "GitRepository"}: typed(gitRepository),
	{Group: v1alpha1.GroupVersion.Group, Kind: "Promotion"}:     typed(promotion),
	{Kind: "Node"}: typed(node),
	{Kind: "Pod"}:  pod,
}

// typed makes a rule over a type into one over any object.
func typed[T any](rule func(*T) Health) func(*unstructured.Unstructured) Health {
	return func(u *unstructured.Unstructured) Health {
		o := new(T)
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, o); err != nil {
			return Health{Unknown, err.Error()}
		}
		return rule(o)
	}
}

// generic is kstatus' rule: Kubernetes' own kinds, and the conditions Ready, Reconciling and
// Stalled of any other.
func generic(o *unstructured.Unstructured) Health {
	result, err := status.Compute(o)
	if err != nil {
		return Health{Unknown, err.Error()}
	}
	switch result.Status {
	case status.CurrentStatus:
		return Health{State: Current}
	case status.FailedStatus:
		return Health{Failed, result.Message}
	case status.InProgressStatus:
		return Health{InProgress, cmp.Or(result.Message, "is in progress")}
	case status.TerminatingStatus:
		return Health{Terminating, "is being deleted"}
	}
	return Health{Unknown, result.Message}
}

func node(n *corev1.Node) Health {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			if c.Status == corev1.ConditionTrue {
				return Health{State: Current}
			}
			return failed("%s", cmp.Or(c.Message, c.Reason, "is not ready"))
		}
	}
	return progress("has not reported yet")
}
