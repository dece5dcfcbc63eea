package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// Override is an exception from git: a change of one live object that its Application
// leaves alone until it ends. `slipway override` makes it, nothing that git holds can. It
// is named and shown on every status of its Application.
//
// +kubebuilder:object:root=true
type Override struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   OverrideSpec   `json:"spec,omitempty"`
	Status OverrideStatus `json:"status,omitempty"`
}

// OverrideSpec says what is changed, by whom, why and until when. It is never changed.
type OverrideSpec struct {
	// Application, in the Override's namespace, that owns the object.
	Application string `json:"application"`
	// Object that is changed.
	Object ObjectReference `json:"object"`
	// Patch is a JSON merge patch of the object's spec, data, labels or annotations.
	Patch runtime.RawExtension `json:"patch"`
	// Owner is who answers for it: a name, and an address in angle brackets.
	Owner string `json:"owner"`
	// Reason, for people.
	Reason string `json:"reason"`
	// Until is when git's word is put back.
	Until metav1.Time `json:"until"`
	// Signature is the SSH signature (armored, namespace slipway-override) of the canonical
	// form of the other fields.
	Signature string `json:"signature"`
}

// OverrideStatus says whether it is in force.
type OverrideStatus struct {
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// OverrideList is a list of overrides.
//
// +kubebuilder:object:root=true
type OverrideList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Override `json:"items"`
}

// The conditions of an Override.
const (
	// OverrideEnded is true where somebody ended it before its time.
	OverrideEnded = "Ended"
)
