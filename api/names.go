package api

// Labels, annotations and finalizers that more than one part reads. OpenShift's own
// are constants of its API packages; these are the ones that those do not export.
const (
	// NodeAnnotation binds a Build to the node that runs it.
	NodeAnnotation = "slipway.dev/node"
	// ProjectFinalizer keeps a Project until everything in it is gone.
	ProjectFinalizer = "slipway.dev/project"
	// UIDRangeAnnotation is a Project's block of user ids: `first/size`.
	UIDRangeAnnotation = "openshift.io/sa.scc.uid-range"
	// SupplementalGroupsAnnotation is a Project's block of group ids: `first/size`.
	SupplementalGroupsAnnotation = "openshift.io/sa.scc.supplemental-groups"
	// MCSAnnotation is a Project's SELinux level, `s0:c<a>,c<b>`.
	MCSAnnotation = "openshift.io/sa.scc.mcs"
	// NetIDAnnotation is a Project's virtual network id, a decimal from 10 up; 0 is the
	// project `default`, which everybody reaches and which reaches everybody.
	NetIDAnnotation = "slipway.dev/netid"
	// NetIDFromAnnotation says why a Project's virtual network is not its own: `global` or
	// `join:<project>`.
	NetIDFromAnnotation = "slipway.dev/netid-from"
	// ServiceAddressAnnotation repeats spec.clusterIP once it is known to be the
	// Service's alone.
	ServiceAddressAnnotation = "slipway.dev/cluster-ip"
	// NodePortsAnnotation lists the node ports that are known to be the Service's alone,
	// separated by commas. Nodes serve no others.
	NodePortsAnnotation = "slipway.dev/node-ports"
	// ExternalIPsAnnotation lists the addresses from spec.externalIPs that administrators
	// allow, and the load balancer's, separated by commas. Nodes serve no others.
	ExternalIPsAnnotation = "slipway.dev/external-ips"
	// ConstraintsAnnotation says by which SecurityContextConstraints a pod was admitted. It is
	// given where the pod is made, and never changes.
	ConstraintsAnnotation = "openshift.io/scc"
	// LinksAnnotation of a pod lists the services that are to be reached at the pod's own
	// loopback address; see ParseLinks.
	LinksAnnotation = "slipway.dev/links"
)

// The ports of nodes that services may have, as Kubernetes gives them by default.
const (
	FirstNodePort = 30000
	LastNodePort  = 32767
)

// allocated annotations are given by Slipway and never by a repository: a project that
// chose its own network id could listen in on another's, and a service that passed for
// one whose address was checked could take another's traffic.
var allocated = []string{UIDRangeAnnotation, SupplementalGroupsAnnotation, MCSAnnotation, NetIDAnnotation, NetIDFromAnnotation, ServiceAddressAnnotation,
	NodePortsAnnotation, ExternalIPsAnnotation,
	ConstraintsAnnotation, ReclaimAnnotation, ReclaimedAnnotation, ReclaimErrorAnnotation, bindCompletedAnnotation, boundByControllerAnnotation}
