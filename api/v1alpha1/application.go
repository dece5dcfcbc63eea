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
	// Inventory lists what the Application owns: <namespace>_<name>_<group>_<kind>.
	Inventory []InventoryEntry `json:"inventory,omitempty"`
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
