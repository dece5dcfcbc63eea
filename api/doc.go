// Package api is Slipway's vocabulary: every kind it knows, with its resource name,
// its defaults and its validation, and the few values that travel between the parts
// (a Revision of a repository, the Desired objects rendered from it). It does no I/O.
//
// The objects are the ecosystem's own: genuine OpenShift 3 and Kubernetes types.
// Own kinds (api/v1alpha1) exist only where neither has one.
package api
