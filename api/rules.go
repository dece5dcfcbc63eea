package api

import (
	"cmp"
	"reflect"
	"slices"
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
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"slipway.dev/slipway/api/v1alpha1"
)

// rule is how objects of one kind are named, defaulted and validated. A nil
// function has nothing to say.
type rule struct {
	group    string
	name     apivalidation.ValidateNameFunc
	fill     func(runtime.Object)
	validate func(runtime.Object) field.ErrorList
	update   func(n, o runtime.Object) field.ErrorList
}

func ruleFor[T runtime.Object](group string, name apivalidation.ValidateNameFunc, fill func(T), validate func(T) field.ErrorList, update func(n, o T) field.ErrorList) (reflect.Type, rule) {
	r := rule{group: group, name: name}
	if fill != nil {
		r.fill = func(o runtime.Object) { fill(o.(T)) }
	}
	if validate != nil {
		r.validate = func(o runtime.Object) field.ErrorList { return validate(o.(T)) }
	}
	if update != nil {
		r.update = func(n, o runtime.Object) field.ErrorList { return update(n.(T), o.(T)) }
	}
	return reflect.TypeFor[T](), r
}

var rules = ruleTable()

func ruleTable() map[reflect.Type]rule {
	t := map[reflect.Type]rule{}
	set := func(k reflect.Type, r rule) { t[k] = r }
	const core, apps, batch, rbac = "", kappsv1.GroupName, batchv1.GroupName, rbacv1.GroupName
	own := v1alpha1.GroupVersion.Group
	subdomain, segment := apivalidation.NameIsDNSSubdomain, nameIsPathSegment

	set(ruleFor(projectv1.GroupName, projectName, defaultProject, validateProject, updateProject))
	set(ruleFor[*corev1.ServiceAccount](core, subdomain, nil, validateServiceAccount, nil))
	set(ruleFor[*corev1.ResourceQuota](core, subdomain, nil, validateResourceQuota, nil))
	set(ruleFor(core, subdomain, defaultLimitRange, validateLimitRange, nil))
	set(ruleFor[*rbacv1.Role](rbac, segment, nil, validateRole, nil))
	set(ruleFor(rbac, segment, defaultRoleBinding, validateRoleBinding, updateRoleBinding))
	set(ruleFor[*rbacv1.ClusterRole](rbac, segment, nil, validateClusterRole, nil))
	set(ruleFor(rbac, segment, defaultClusterRoleBinding, validateClusterRoleBinding, updateClusterRoleBinding))

	set(ruleFor(securityv1.GroupName, subdomain, defaultSecurityConstraints, validateSecurityConstraints, nil))
	set(ruleFor(schedulingv1.GroupName, subdomain, defaultPriorityClass, validatePriorityClass, updatePriorityClass))
	set(ruleFor[*v1alpha1.NodeConfig](own, subdomain, nil, validateNodeConfig, nil))
	set(ruleFor[*policyv1.PodDisruptionBudget](policyv1.GroupName, subdomain, nil, validateDisruptionBudget, nil))

	set(ruleFor[*v1alpha1.GitRepository](own, subdomain, defaultGitRepository, validateGitRepository, nil))
	set(ruleFor[*v1alpha1.Application](own, subdomain, defaultApplication, validateApplication, nil))
	set(ruleFor[*v1alpha1.Promotion](own, subdomain, defaultPromotion, validatePromotion, nil))
	set(ruleFor[*v1alpha1.Record](own, subdomain, nil, validateRecord, updateRecord))
	set(ruleFor[*v1alpha1.Override](own, subdomain, nil, validateOverride, updateOverride))

	set(ruleFor(core, subdomain, defaultSecret, validateSecret, updateSecret))
	set(ruleFor[*corev1.ConfigMap](core, subdomain, nil, validateConfigMap, updateConfigMap))
	set(ruleFor[*templatev1.Template](templatev1.GroupName, subdomain, nil, validateTemplate, nil))
	set(ruleFor[*templatev1.TemplateInstance](templatev1.GroupName, subdomain, nil, validateTemplateInstance, nil))
	set(ruleFor[*corev1.PersistentVolume](core, subdomain, defaultPersistentVolume, validatePersistentVolume, updatePersistentVolume))
	set(ruleFor(core, subdomain, defaultPersistentVolumeClaim, validatePersistentVolumeClaim, updatePersistentVolumeClaim))
	set(ruleFor(core, apivalidation.NameIsDNS1035Label, defaultService, validateService, updateService))
	set(ruleFor(networkingv1.GroupName, subdomain, defaultNetworkPolicy, validateNetworkPolicy, nil))
	set(ruleFor[*networkv1.EgressNetworkPolicy](networkv1.GroupName, subdomain, nil, validateEgressNetworkPolicy, nil))
	set(ruleFor[*corev1.Endpoints](core, subdomain, defaultEndpoints, validateEndpoints, nil))
	set(ruleFor(imagev1.GroupName, imageStreamName, defaultImageStream, validateImageStream, nil))
	set(ruleFor[*imagev1.Image](imagev1.GroupName, segment, nil, validateImage, updateImage))

	set(ruleFor(routev1.GroupName, subdomain, defaultRoute, validateRoute, updateRoute))
	set(ruleFor(buildv1.GroupName, subdomain, defaultBuildConfig, validateBuildConfig, nil))
	set(ruleFor(buildv1.GroupName, subdomain, defaultBuild, validateBuild, updateBuild))
	set(ruleFor(appsv1.GroupName, subdomain, defaultDeploymentConfig, validateDeploymentConfig, nil))
	set(ruleFor(core, subdomain, defaultReplicationController, validateReplicationController, nil))
	set(ruleFor(apps, subdomain, defaultDeployment, validateDeployment, updateDeployment))
	set(ruleFor(apps, subdomain, defaultReplicaSet, validateReplicaSet, updateReplicaSet))
	set(ruleFor(apps, apivalidation.NameIsDNSLabel, defaultStatefulSet, validateStatefulSet, updateStatefulSet))
	set(ruleFor(apps, subdomain, defaultDaemonSet, validateDaemonSet, updateDaemonSet))
	set(ruleFor[*autoscalingv2.HorizontalPodAutoscaler](autoscalingv2.GroupName, subdomain, defaultAutoscaler, validateAutoscaler, nil))
	set(ruleFor[*kappsv1.ControllerRevision](apps, subdomain, nil, validateControllerRevision, updateControllerRevision))
	set(ruleFor(core, subdomain, defaultPod, validatePod, updatePod))
	set(ruleFor(batch, subdomain, defaultJob, validateJob, updateJob))
	set(ruleFor(batch, cronJobName, defaultCronJob, validateCronJob, nil))
	set(ruleFor[*corev1.Node](core, subdomain, nil, validateNode, nil))
	set(ruleFor(networkv1.GroupName, subdomain, defaultNetNamespace, validateNetNamespace, nil))
	set(ruleFor(networkv1.GroupName, subdomain, defaultHostSubnet, validateHostSubnet, updateHostSubnet))
	set(ruleFor[*corev1.Event](core, subdomain, nil, nil, nil))
	return t
}

// Default fills in what an object leaves open, in place, as the kind's own API server
// would. Filling in twice changes nothing more. Objects of unknown types, and lists,
// stay as they are.
func Default(obj runtime.Object) {
	if r, ok := rules[reflect.TypeOf(obj)]; ok && r.fill != nil {
		r.fill(obj)
	}
}

// Validate lists everything that is wrong with a defaulted object. Sysctls and an unmasked
// /proc are refused outright, in pods and in whatever holds a pod template. What else reaches the
// host (privileges, capabilities, paths, ports) is up to SecurityContextConstraints: package
// constraints.
func Validate(obj runtime.Object) field.ErrorList {
	r, ok := rules[reflect.TypeOf(obj)]
	if !ok {
		return field.ErrorList{field.NotSupported(field.NewPath("kind"), reflect.TypeOf(obj).String(), kindNames())}
	}
	accessor, err := meta.Accessor(obj)
	if err != nil {
		return field.ErrorList{field.InternalError(field.NewPath("metadata"), err)}
	}
	errs := apivalidation.ValidateObjectMetaAccessor(accessor, r.namespaced(obj), r.name, field.NewPath("metadata"))
	if r.validate != nil {
		errs = append(errs, r.validate(obj)...)
	}
	return sorted(append(errs, validateTenancy(obj)...))
}

// sorted lists the same errors in the same order whenever it is asked.
func sorted(errs field.ErrorList) field.ErrorList {
	slices.SortStableFunc(errs, func(a, b *field.Error) int {
		return cmp.Or(strings.Compare(a.Field, b.Field), strings.Compare(a.Detail, b.Detail))
	})
	return errs
}

// ValidateUpdate lists what may not change between old and new, and nothing else: the
// new object is given to Validate as well.
func ValidateUpdate(n, old runtime.Object) field.ErrorList {
	if reflect.TypeOf(n) != reflect.TypeOf(old) {
		return field.ErrorList{field.Forbidden(field.NewPath("kind"), "field is immutable")}
	}
	errs := updateMeta(n, old)
	if r := rules[reflect.TypeOf(n)]; r.update != nil {
		errs = append(errs, r.update(n, old)...)
	}
	return errs
}

func updateMeta(n, old runtime.Object) field.ErrorList {
	nm, err := meta.Accessor(n)
	if err != nil {
		return field.ErrorList{field.InternalError(field.NewPath("metadata"), err)}
	}
	om, err := meta.Accessor(old)
	if err != nil {
		return field.ErrorList{field.InternalError(field.NewPath("metadata"), err)}
	}
	p := field.NewPath("metadata")
	errs := immutable(nm.GetName(), om.GetName(), p.Child("name"))
	errs = append(errs, immutable(nm.GetNamespace(), om.GetNamespace(), p.Child("namespace"))...)
	errs = append(errs, immutable(nm.GetUID(), om.GetUID(), p.Child("uid"))...)
	if om.GetDeletionTimestamp() != nil {
		errs = append(errs, apivalidation.ValidateNoNewFinalizers(nm.GetFinalizers(), om.GetFinalizers(), p.Child("finalizers"))...)
	}
	return errs
}

func (r rule) namespaced(obj runtime.Object) bool {
	k, _ := KindFor(schema.GroupKind{Group: r.group, Kind: reflect.TypeOf(obj).Elem().Name()})
	return k.Namespaced
}

// immutable compares as Kubernetes does: nil and empty are the same.
func immutable(n, old any, p *field.Path) field.ErrorList {
	if equality.Semantic.DeepEqual(n, old) {
		return nil
	}
	return field.ErrorList{field.Invalid(p, n, "field is immutable")}
}

func kindNames() []string {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = k.Kind
	}
	return names
}
