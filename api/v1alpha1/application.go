package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Application is a path of a repository that Slipway renders, plans and applies as
// one unit: one bad object stops its application, and nothing else.
//
// +kubebuilder:object:root=true
type Application struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   ApplicationSpec   `json:"spec,omitempty"`
	Status ApplicationStatus `json:"status,omitempty"`
}

// ApplicationSpec says what is rendered for which project.
type ApplicationSpec struct {
	// SourceRef names the GitRepository; default: the one of the Application that declared this one.
	SourceRef SourceReference `json:"sourceRef,omitempty"`
	// Path in the repository; default: its root.
	Path string `json:"path,omitempty"`
	// Project that the objects go to; empty: cluster-wide objects and any project. An
	// object that names another project than a set one is refused.
	Project string `json:"project,omitempty"`
	// Parameters are handed to Jsonnet files as top-level arguments and to templates
	// as values, each to whoever declares it.
	Parameters map[string]string `json:"parameters,omitempty"`
	// Prune deletes what left git; default true.
	Prune *bool `json:"prune,omitempty"`
	// DependsOn lists Applications (of the same project) that must be ready first.
	DependsOn []corev1.LocalObjectReference `json:"dependsOn,omitempty"`
	// Interval at which live state is compared with git even if nothing happened; default 1m.
	Interval *metav1.Duration `json:"interval,omitempty"`
	// Timeout to wait for health; default 5m.
	Timeout *metav1.Duration `json:"timeout,omitempty"`
	// Drift is Correct (default) or Report.
	Drift DriftMode `json:"drift,omitempty"`
	// Suspend stops planning and applying; what runs keeps running.
	Suspend bool `json:"suspend,omitempty"`
	// SuspendUntil suspends up to a time, and ends by itself.
	SuspendUntil *metav1.Time `json:"suspendUntil,omitempty"`
	// ServiceAccountName is the service account, of Project (without one: of the Application's
	// own namespace), that the Application acts as: what it may not do is refused. Default: an
	// Application of a tenant acts as its project's `deployer`; one of the system project
	// without a name acts as the platform itself.
	ServiceAccountName string `json:"serviceAccountName,omitempty"`
	// DeletionPolicy says what happens to the objects when the Application is deleted:
	// MirrorPrune (default: as Prune says), Delete, WaitForTermination or Orphan. Flux's.
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`
	// HealthChecks lists further objects that must be healthy before the Application is ready.
	// Its own objects are always looked at.
	HealthChecks []ObjectReference `json:"healthChecks,omitempty"`
	// HealthCheckExprs says in CEL when objects of a kind are healthy. Flux's.
	HealthCheckExprs []HealthCheckExpr `json:"healthCheckExprs,omitempty"`
	// Brakes are what a single plan may delete or restart without an approval.
	Brakes *Brakes `json:"brakes,omitempty"`
	// Windows say when plans are applied; drift is repaired at any time. Deny beats allow;
	// any allow window closes all other time. None: at any time.
	Windows []Window `json:"windows,omitempty"`
	// Holds bind people and automation: see Hold.
	Holds []Hold `json:"holds,omitempty"`
}

// DeletionPolicy says what becomes of an Application's objects when it is deleted.
type DeletionPolicy string

// The deletion policies.
const (
	DeletionMirrorPrune        DeletionPolicy = "MirrorPrune"
	DeletionDelete             DeletionPolicy = "Delete"
	DeletionWaitForTermination DeletionPolicy = "WaitForTermination"
	DeletionOrphan             DeletionPolicy = "Orphan"
)

// ObjectReference names an object of any kind.
type ObjectReference struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Name       string `json:"name"`
	// Namespace defaults to the Application's project.
	Namespace string `json:"namespace,omitempty"`
}

// HealthCheckExpr decides the health of a kind's objects by CEL expressions over the
// object, whose fields are variables (`status`, `spec`, `metadata`). They are evaluated in
// the order InProgress, Failed, Current; the first that is true decides, none: in progress.
type HealthCheckExpr struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	InProgress string `json:"inProgress,omitempty"`
	Failed     string `json:"failed,omitempty"`
	Current    string `json:"current"`
}

// Brakes bound what a plan may take away. A plan that deletes or restarts more than
// Percent of the Application's objects and more than Objects of them, or that deletes a
// PersistentVolumeClaim or a Project, waits until a commit carries its digest in the
// trailer `Slipway-Approve:`.
type Brakes struct {
	// Percent of the Application's objects; default 30.
	Percent *int32 `json:"percent,omitempty"`
	// Objects; default 3.
	Objects *int32 `json:"objects,omitempty"`
	// Disabled lets every plan through.
	Disabled bool `json:"disabled,omitempty"`
}

// WindowKind is Allow or Deny.
type WindowKind string

// The kinds of window.
const (
	WindowAllow WindowKind = "Allow"
	WindowDeny  WindowKind = "Deny"
)

// Window is a recurring span of time.
type Window struct {
	Kind WindowKind `json:"kind"`
	// Schedule is the cron expression (five fields) of its beginnings.
	Schedule string `json:"schedule"`
	// Duration of the span, such as 2h.
	Duration metav1.Duration `json:"duration"`
	// TimeZone of Schedule, by its IANA name; default UTC.
	TimeZone string `json:"timeZone,omitempty"`
}

// Hold binds people and automation alike until it is removed, or until Until.
type Hold struct {
	// At keeps the Application at this commit: nothing newer is applied.
	At string `json:"at,omitempty"`
	// Commit is bad: it is never applied.
	Commit string `json:"commit,omitempty"`
	// Digest of an image (sha256:…) is bad: it is neither promoted to this Application's
	// project nor applied.
	Digest string `json:"digest,omitempty"`
	// Reason, for people.
	Reason string `json:"reason,omitempty"`
	// Until is when the hold ends by itself; default: when it is removed.
	Until *metav1.Time `json:"until,omitempty"`
}

// DriftMode says what happens to a live object that was changed by hand.
type DriftMode string

// The drift modes.
const (
	DriftCorrect DriftMode = "Correct"
	DriftReport  DriftMode = "Report"
)

// SourceReference names a GitRepository.
type SourceReference struct {
	Name string `json:"name,omitempty"`
	// Namespace defaults to the Application's own.
	Namespace string `json:"namespace,omitempty"`
}

// ApplicationStatus says what was last applied and how it went.
type ApplicationStatus struct {
	ObservedGeneration int64              `json:"observedGeneration,omitempty"`
	Conditions         []metav1.Condition `json:"conditions,omitempty"`
	// LastAppliedCommit is the commit that live state follows.
	LastAppliedCommit string `json:"lastAppliedCommit,omitempty"`
	// LastAppliedAuthor and LastAppliedMessage are that commit's author and first line.
	LastAppliedAuthor  string `json:"lastAppliedAuthor,omitempty"`
	LastAppliedMessage string `json:"lastAppliedMessage,omitempty"`
	// LastAttemptedCommit is the newest commit looked at, good or bad.
	LastAttemptedCommit string `json:"lastAttemptedCommit,omitempty"`
	// LastAppliedTime is when LastAppliedCommit went live.
	LastAppliedTime *metav1.Time `json:"lastAppliedTime,omitempty"`
	// Problems are the mistakes found at LastAttemptedCommit, all at once.
	Problems []Problem `json:"problems,omitempty"`
	// Inventory lists what the Application owns: <namespace>_<name>_<group>_<kind>. Where it is
	// long it is in PackedInventory; api.Inventory reads both.
	Inventory []InventoryEntry `json:"inventory,omitempty"`
	// PackedInventory is a long inventory: a line `<version> <id>` for each object, deflated, in base64.
	PackedInventory string `json:"packedInventory,omitempty"`
	// Attempt is what is being applied now, written down before anything is touched, so that a
	// process that dies meanwhile leaves the record of it to the next.
	Attempt *Attempt `json:"attempt,omitempty"`
	// LastHealthyCommit is the newest commit whose objects all became healthy.
	LastHealthyCommit string `json:"lastHealthyCommit,omitempty"`
	// Waiting is the plan that waits for something; nil: none does.
	Waiting *WaitingPlan `json:"waiting,omitempty"`
	// Drift lists what live state differs in from git while it is not corrected.
	Drift []string `json:"drift,omitempty"`
	// Overrides lists the exceptions in force, `object until time by owner: reason`.
	Overrides []string `json:"overrides,omitempty"`
	// Orphans are objects of the Application's project that no Application and no controller owns.
	Orphans []string `json:"orphans,omitempty"`
}

// Attempt is an apply that has begun.
type Attempt struct {
	// Record is the name of the Record that its end will write.
	Record string `json:"record"`
	// Spec is what the Record will say, as far as it is known.
	Spec RecordSpec `json:"spec"`
}

// WaitingPlan is a plan that is not carried out yet.
type WaitingPlan struct {
	Commit string `json:"commit"`
	// Digest identifies the plan; an approval names it.
	Digest string `json:"digest"`
	// Reason it waits: Brakes, Window, Hold, Health or Dependency. Started: it was let through,
	// and is carried out to its end whatever closes meanwhile.
	Reason  string `json:"reason"`
	Message string `json:"message,omitempty"`
	// ApprovedBy is the author of the commit that let it through, where one had to.
	ApprovedBy string `json:"approvedBy,omitempty"`
	// Generation of the Application that it was planned for.
	Generation int64 `json:"generation,omitempty"`
	// Since is when it began to wait.
	Since metav1.Time `json:"since,omitempty"`
	// Until is when it is looked at again by the clock, where that is known.
	Until *metav1.Time `json:"until,omitempty"`
}

// Problem is a mistake in a repository, with the place where it can be mended.
type Problem struct {
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`
	Object string `json:"object,omitempty"`
	Field  string `json:"field,omitempty"`
	// Via is the way from the file to the object where it was rendered, e.g.
	// "template backend, parameter PASSWORD".
	Via     string `json:"via,omitempty"`
	Message string `json:"message"`
}

// InventoryEntry identifies an owned object as Flux's inventory does.
type InventoryEntry struct {
	// ID is <namespace>_<name>_<group>_<kind>.
	ID      string `json:"id"`
	Version string `json:"v"`
}

// ApplicationList is a list of applications.
//
// +kubebuilder:object:root=true
type ApplicationList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Application `json:"items"`
}
