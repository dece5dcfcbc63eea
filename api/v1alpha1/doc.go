// Package v1alpha1 holds Slipway's own kinds, group slipway.dev: GitRepository,
// Application, Promotion and Record. Everything else a repository may declare is
// a kind of OpenShift 3 or Kubernetes and comes from their API packages.
//
// +kubebuilder:object:generate=true
// +groupName=slipway.dev
package v1alpha1
