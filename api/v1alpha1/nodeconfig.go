package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// NodeConfig is what the administrators want of the node of the same name: its labels and
// taints, and whether pods may go to it. The Node itself is what the machine reports, and
// is never in a repository; docs/decisions/0016 says why.
//
// +kubebuilder:object:root=true
type NodeConfig struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   NodeConfigSpec   `json:"spec,omitempty"`
	Status NodeConfigStatus `json:"status,omitempty"`
}

// NodeConfigSpec is laid over what the node reports. What leaves it leaves the node.
type NodeConfigSpec struct {
	// Labels are added to the node's own, which they cannot replace.
	Labels map[string]string `json:"labels,omitempty"`
	// Taints keep pods away that do not tolerate them.
	Taints []corev1.Taint `json:"taints,omitempty"`
	// Unschedulable keeps new pods away (cordon). Those that run stay.
	Unschedulable bool `json:"unschedulable,omitempty"`
	// Drain keeps new pods away and moves those that run, as PodDisruptionBudgets allow.
	// Pods of DaemonSets stay.
	Drain bool `json:"drain,omitempty"`
	// Gone says that the machine is off for good or until this is taken back, and that
	// nothing of it can still be running: its pods are removed at once, those with a state
	// of their own too, so that they start elsewhere. It has no effect on a node that reports.
	Gone bool `json:"gone,omitempty"`
}

// NodeConfigStatus says how far it is.
type NodeConfigStatus struct {
	// Conditions: Ready, that the node has it, and Drained, where a drain is asked for.
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// The conditions of a NodeConfig.
const (
	// NodeConfigReady: the node is there and has what the NodeConfig says.
	NodeConfigReady = "Ready"
	// NodeConfigDrained: no pod is left on the node that a drain would move.
	NodeConfigDrained = "Drained"
)

// NodeConfigList is a list of NodeConfigs.
//
// +kubebuilder:object:root=true
type NodeConfigList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []NodeConfig `json:"items"`
}
