package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Record says what was applied when, from which commit, with which plan and
// outcome. Records are written once and never changed.
//
// +kubebuilder:object:root=true
type Record struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec RecordSpec `json:"spec,omitempty"`
}

// RecordSpec is one application of one plan.
type RecordSpec struct {
	Application string `json:"application"`
	Repository  string `json:"repository,omitempty"`
	Commit      string `json:"commit"`
	Author      string `json:"author,omitempty"`
	Message     string `json:"message,omitempty"`
	// Previous is the commit that was live before.
	Previous string `json:"previous,omitempty"`
	// Path is the Application's path in the repository.
	Path string `json:"path,omitempty"`
	// Digest of the plan.
	Digest string `json:"digest,omitempty"`
	// ApprovedBy is the author of the commit that approved the plan, where one had to.
	ApprovedBy string `json:"approvedBy,omitempty"`
	// Images lists the digests that the objects name, `object=image@digest`.
	Images []string `json:"images,omitempty"`
	// Reason is Commit, Drift, Override or Retry.
	Reason  string      `json:"reason,omitempty"`
	Started metav1.Time `json:"started,omitempty"`
	// Milliseconds from start to applied.
	Milliseconds int64 `json:"milliseconds,omitempty"`
	// Outcome is Applied or Failed.
	Outcome string `json:"outcome"`
	Detail  string `json:"detail,omitempty"`
	Created int    `json:"created,omitempty"`
	Changed int    `json:"changed,omitempty"`
	Pruned  int    `json:"pruned,omitempty"`
	// Plan is the plan as printed, cut at 16 KiB.
	Plan string `json:"plan,omitempty"`
}

// RecordList is a list of records.
//
// +kubebuilder:object:root=true
type RecordList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Record `json:"items"`
}
