package table

import (
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

var formats = map[schema.GroupKind]format{
	core("Pod"):                   formatOf(columns("Name", "Ready", "Status", "Restarts", "Age", "", "IP", "Node", "Nominated Node", "Readiness Gates"), podCells),
	core("ReplicationController"): formatOf(columns("Name", "Desired", "Current", "Ready", "Age", "", "Containers", "Images", "Selector"), replicationControllerCells),
	core("Service"):               formatOf(columns("Name", "Type", "Cluster-IP", "External-IP", "Port(s)", "Age", "", "Selector"), serviceCells),
	core("Endpoints"):             formatOf(columns("Name", "Endpoints", "Age"), endpointsCells),
	core("Node"):                  formatOf(columns("Name", "Status", "Roles", "Age", "Version", "", "Internal-IP", "External-IP", "OS-Image", "Kernel-Version", "Container-Runtime"), nodeCells),
	core("Event"):                 formatOf(columns("Last Seen", "Type", "Reason", "Object", "Message", "", "Subobject", "Source", "First Seen", "Count", "Name"), eventCells),
	core("Secret"):                formatOf(columns("Name", "Type", "Data", "Age"), secretCells),
	core("ConfigMap"):             formatOf(columns("Name", "Data", "Age"), configMapCells),
	core("ServiceAccount"):        formatOf(columns("Name", "Secrets", "Age"), serviceAccountCells),
	core("ResourceQuota"):         formatOf(columns("Name", "Request", "Limit", "Age"), quotaCells),
	core("Namespace"):             formatOf(columns("Name", "Status", "Age"), namespaceCells),
	core("PersistentVolume"):      formatOf(columns("Name", "Capacity", "Access Modes", "Reclaim Policy", "Status", "Claim", "StorageClass", "Reason", "Age"), volumeCells),
	core("PersistentVolumeClaim"): formatOf(columns("Name", "Status", "Volume", "Capacity", "Access Modes", "StorageClass", "Age"), claimCells),

	group(kappsv1.GroupName, "Deployment"):         formatOf(columns("Name", "Ready", "Up-to-date", "Available", "Age", "", "Containers", "Images", "Selector"), deploymentCells),
	group(kappsv1.GroupName, "ReplicaSet"):         formatOf(columns("Name", "Desired", "Current", "Ready", "Age", "", "Containers", "Images", "Selector"), replicaSetCells),
	group(kappsv1.GroupName, "StatefulSet"):        formatOf(columns("Name", "Ready", "Age", "", "Containers", "Images"), statefulSetCells),
	group(kappsv1.GroupName, "DaemonSet"):          formatOf(columns("Name", "Desired", "Current", "Ready", "Up-to-date", "Available", "Node Selector", "Age", "", "Containers", "Images", "Selector"), daemonSetCells),
	group(kappsv1.GroupName, "ControllerRevision"): formatOf(columns("Name", "Controller", "Revision", "Age"), revisionCells),

	group(autoscalingv2.GroupName, "HorizontalPodAutoscaler"): formatOf(columns("Name", "Reference", "Targets", "MinPods", "MaxPods", "Replicas", "Age"), autoscalerCells),

	group(batchv1.GroupName, "Job"):     formatOf(columns("Name", "Status", "Completions", "Duration", "Age", "", "Containers", "Images", "Selector"), jobCells),
	group(batchv1.GroupName, "CronJob"): formatOf(columns("Name", "Schedule", "Timezone", "Suspend", "Active", "Last Schedule", "Age", "", "Containers", "Images"), cronJobCells),

	group(policyv1.GroupName, "PodDisruptionBudget"): formatOf(columns("Name", "Min Available", "Max Unavailable", "Allowed Disruptions", "Age"), budgetCells),
	group(schedulingv1.GroupName, "PriorityClass"):   formatOf(columns("Name", "Value", "Global-Default", "Age", "PreemptionPolicy"), priorityClassCells),

	group(rbacv1.GroupName, "RoleBinding"):        formatOf(columns("Name", "Role", "Age", "", "Users", "Groups", "ServiceAccounts"), bindingCells),
	group(rbacv1.GroupName, "ClusterRoleBinding"): formatOf(columns("Name", "Role", "Age", "", "Users", "Groups", "ServiceAccounts"), bindingCells),

	group(appsv1.GroupName, "DeploymentConfig"):               formatOf(columns("Name", "Revision", "Desired", "Current", "Triggered By", "", "Ready", "Images", "Age"), deploymentConfigCells),
	group(buildv1.GroupName, "BuildConfig"):                   formatOf(columns("Name", "Type", "From", "Latest"), buildConfigCells),
	group(buildv1.GroupName, "Build"):                         formatOf(columns("Name", "Type", "From", "Status", "Started", "Duration", "", "Commit", "Image"), buildCells),
	group(imagev1.GroupName, "ImageStream"):                   formatOf(columns("Name", "Image Repository", "Tags", "Updated"), imageStreamCells),
	group(imagev1.GroupName, "Image"):                         formatOf(columns("Name", "Image Reference", "Age"), imageCells),
	group(networkingv1.GroupName, "NetworkPolicy"):            formatOf(columns("Name", "Pod-Selector", "Age"), networkPolicyCells),
	group(networkv1.GroupName, "EgressNetworkPolicy"):         formatOf(columns("Name", "Rules", "Age"), egressPolicyCells),
	group(networkv1.GroupName, "NetNamespace"):                formatOf(columns("Name", "NetID", "Egress IPs"), netNamespaceCells),
	group(networkv1.GroupName, "HostSubnet"):                  formatOf(columns("Name", "Host", "Host IP", "Subnet", "Egress CIDRs", "Egress IPs"), hostSubnetCells),
	group(projectv1.GroupName, "Project"):                     formatOf(columns("Name", "Display Name", "Status", "Age"), projectCells),
	group(routev1.GroupName, "Route"):                         formatOf(columns("Name", "Host/Port", "Path", "Services", "Port", "Termination", "Wildcard"), routeCells),
	group(securityv1.GroupName, "SecurityContextConstraints"): formatOf(columns("Name", "Priv", "Caps", "SELinux", "RunAsUser", "FSGroup", "SupGroup", "Priority", "ReadOnlyRootFS", "Volumes"), constraintsCells),
	group(templatev1.GroupName, "Template"):                   formatOf(columns("Name", "Description", "Parameters", "Objects"), templateCells),
	group(templatev1.GroupName, "TemplateInstance"):           formatOf(columns("Name", "Template", "Ready", "Age"), templateInstanceCells),

	group(v1alpha1.GroupVersion.Group, "GitRepository"): formatOf(columns("Name", "URL", "Ready", "Revision", "Age", "", "Message"), gitRepositoryCells),
	group(v1alpha1.GroupVersion.Group, "Application"):   formatOf(columns("Name", "Commit", "Ready", "Message", "Age", "", "Source", "Path", "Project"), applicationCells),
	group(v1alpha1.GroupVersion.Group, "Promotion"):     formatOf(columns("Name", "From", "Tag", "Commit", "Ready", "Age", "", "Message"), promotionCells),
	group(v1alpha1.GroupVersion.Group, "NodeConfig"):    formatOf(columns("Name", "Ready", "Scheduling", "Drained", "Age", "", "Message"), nodeConfigCells),
	group(v1alpha1.GroupVersion.Group, "Record"):        formatOf(columns("Name", "Application", "Commit", "Outcome", "Reason", "Changes", "Age", "", "Author", "Message"), recordCells),
}

func core(kind string) schema.GroupKind        { return schema.GroupKind{Group: corev1.GroupName, Kind: kind} }
func group(name, kind string) schema.GroupKind { return schema.GroupKind{Group: name, Kind: kind} }
