package api

import (
	"strings"

	appsv1 "github.com/openshift/api/apps/v1"
	buildv1 "github.com/openshift/api/build/v1"
	imagev1 "github.com/openshift/api/image/v1"
	networkv1 "github.com/openshift/api/network/v1"
	projectv1 "github.com/openshift/api/project/v1"
	routev1 "github.com/openshift/api/route/v1"
	securityv1 "github.com/openshift/api/security/v1"
	templatev1 "github.com/openshift/api/template/v1"
	kappsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"slipway.dev/slipway/api/v1alpha1"
)

// Stage orders an apply: everything of a stage is ready before the next begins,
// and pruning goes the other way round.
type Stage int

// The stages: projects and policy, then configuration, then what builds and runs.
const (
	StagePolicy Stage = iota
	StageConfig
	StageWorkload
)

// Kind describes one kind of object that live state holds.
type Kind struct {
	schema.GroupVersionKind
	// Resource is the plural, lower-case name used in URLs and in etcd keys.
	Resource string
	// Namespaced objects live in a project.
	Namespaced bool
	// ShortNames are the abbreviations that kubectl and oc users type.
	ShortNames []string
	// Stage in which an Application applies it.
	Stage Stage
	// Sealed objects are encrypted at rest and masked wherever they are shown.
	Sealed bool
	// Runtime objects are made by controllers, never by a repository.
	Runtime bool
}

// GroupResource is the kind's resource with its group.
func (k Kind) GroupResource() schema.GroupResource {
	return schema.GroupResource{Group: k.Group, Resource: k.Resource}
}

func kind(gv schema.GroupVersion, name, resource string, stage Stage, short ...string) Kind {
	return Kind{GroupVersionKind: gv.WithKind(name), Resource: resource, Namespaced: true, ShortNames: short, Stage: stage}
}

func (k Kind) cluster() Kind { k.Namespaced = false; return k }
func (k Kind) sealed() Kind  { k.Sealed = true; return k }
func (k Kind) made() Kind    { k.Runtime = true; return k }

var kinds = []Kind{
	kind(projectv1.GroupVersion, "Project", "projects", StagePolicy).cluster(),
	kind(corev1.SchemeGroupVersion, "ServiceAccount", "serviceaccounts", StagePolicy, "sa"),
	kind(corev1.SchemeGroupVersion, "ResourceQuota", "resourcequotas", StagePolicy, "quota"),
	kind(corev1.SchemeGroupVersion, "LimitRange", "limitranges", StagePolicy, "limits"),
	kind(rbacv1.SchemeGroupVersion, "Role", "roles", StagePolicy),
	kind(rbacv1.SchemeGroupVersion, "RoleBinding", "rolebindings", StagePolicy),
	kind(rbacv1.SchemeGroupVersion, "ClusterRole", "clusterroles", StagePolicy).cluster(),
	kind(rbacv1.SchemeGroupVersion, "ClusterRoleBinding", "clusterrolebindings", StagePolicy).cluster(),
	kind(schedulingv1.SchemeGroupVersion, "PriorityClass", "priorityclasses", StagePolicy, "pc").cluster(),
	kind(securityv1.GroupVersion, "SecurityContextConstraints", "securitycontextconstraints", StagePolicy, "scc").cluster(),
	kind(networkv1.GroupVersion, "NetNamespace", "netnamespaces", StagePolicy).cluster(),
	kind(v1alpha1.GroupVersion, "NodeConfig", "nodeconfigs", StagePolicy).cluster(),

	kind(v1alpha1.GroupVersion, "GitRepository", "gitrepositories", StageConfig, "gitrepo"),
	kind(v1alpha1.GroupVersion, "Application", "applications", StageWorkload, "app", "apps"),
	kind(v1alpha1.GroupVersion, "Promotion", "promotions", StageWorkload, "promo"),
	kind(v1alpha1.GroupVersion, "Record", "records", StageWorkload, "rec").made(),
	kind(v1alpha1.GroupVersion, "Override", "overrides", StageWorkload).sealed().made(),

	kind(corev1.SchemeGroupVersion, "Secret", "secrets", StageConfig).sealed(),
	kind(corev1.SchemeGroupVersion, "ConfigMap", "configmaps", StageConfig, "cm"),
	kind(templatev1.GroupVersion, "Template", "templates", StageConfig),
	kind(templatev1.GroupVersion, "TemplateInstance", "templateinstances", StageConfig),
	kind(corev1.SchemeGroupVersion, "PersistentVolume", "persistentvolumes", StageConfig, "pv").cluster(),
	kind(corev1.SchemeGroupVersion, "PersistentVolumeClaim", "persistentvolumeclaims", StageConfig, "pvc"),
	kind(policyv1.SchemeGroupVersion, "PodDisruptionBudget", "poddisruptionbudgets", StageConfig, "pdb"),
	kind(corev1.SchemeGroupVersion, "Service", "services", StageConfig, "svc"),
	kind(networkingv1.SchemeGroupVersion, "NetworkPolicy", "networkpolicies", StageConfig, "netpol"),
	kind(networkv1.GroupVersion, "EgressNetworkPolicy", "egressnetworkpolicies", StageConfig),
	kind(corev1.SchemeGroupVersion, "Endpoints", "endpoints", StageConfig, "ep").made(),
	kind(imagev1.GroupVersion, "ImageStream", "imagestreams", StageConfig, "is"),
	kind(imagev1.GroupVersion, "Image", "images", StageConfig).cluster().made(),

	kind(routev1.GroupVersion, "Route", "routes", StageWorkload),
	kind(buildv1.GroupVersion, "BuildConfig", "buildconfigs", StageWorkload, "bc"),
	kind(buildv1.GroupVersion, "Build", "builds", StageWorkload).made(),
	kind(appsv1.GroupVersion, "DeploymentConfig", "deploymentconfigs", StageWorkload, "dc"),
	kind(corev1.SchemeGroupVersion, "ReplicationController", "replicationcontrollers", StageWorkload, "rc"),
	kind(kappsv1.SchemeGroupVersion, "Deployment", "deployments", StageWorkload, "deploy"),
	kind(kappsv1.SchemeGroupVersion, "ReplicaSet", "replicasets", StageWorkload, "rs"),
	kind(kappsv1.SchemeGroupVersion, "StatefulSet", "statefulsets", StageWorkload, "sts"),
	kind(kappsv1.SchemeGroupVersion, "DaemonSet", "daemonsets", StageWorkload, "ds"),
	kind(autoscalingv2.SchemeGroupVersion, "HorizontalPodAutoscaler", "horizontalpodautoscalers", StageWorkload, "hpa"),
	kind(kappsv1.SchemeGroupVersion, "ControllerRevision", "controllerrevisions", StageWorkload).made(),
	kind(corev1.SchemeGroupVersion, "Pod", "pods", StageWorkload, "po"),
	kind(batchv1.SchemeGroupVersion, "Job", "jobs", StageWorkload),
	kind(batchv1.SchemeGroupVersion, "CronJob", "cronjobs", StageWorkload, "cj"),
	kind(corev1.SchemeGroupVersion, "Node", "nodes", StageWorkload, "no").cluster().made(),
	kind(networkv1.GroupVersion, "HostSubnet", "hostsubnets", StageWorkload).cluster().made(),
	kind(corev1.SchemeGroupVersion, "Event", "events", StageWorkload, "ev").made(),
}

// Kinds lists every kind, in the order in which objects are applied.
func Kinds() []Kind { return append([]Kind(nil), kinds...) }

// KindFor finds a kind by its group and kind name; the version is not looked at.
func KindFor(gk schema.GroupKind) (Kind, bool) {
	for _, k := range kinds {
		if k.GroupKind() == gk {
			return k, true
		}
	}
	return Kind{}, false
}

// KindNamed finds a kind by what a user types: the kind, its resource, a short name,
// or the singular, each optionally followed by a dot and the group. Case does not matter.
func KindNamed(word string) (Kind, bool) {
	name, group, qualified := strings.Cut(strings.ToLower(word), ".")
	for _, k := range kinds {
		if qualified && group != k.Group {
			continue
		}
		if name == strings.ToLower(k.Kind) || name == k.Resource {
			return k, true
		}
		for _, s := range k.ShortNames {
			if name == s {
				return k, true
			}
		}
	}
	return Kind{}, false
}
