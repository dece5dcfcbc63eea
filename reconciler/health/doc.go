// Package health says how an object does: whether what its owner asked for is there
// (Current), on its way (InProgress), given up (Failed) or being deleted (Terminating).
// It is a pure function of the object: it reads nothing else and changes nothing.
//
// The states, and the rules of the kinds that Kubernetes knows, are those of kstatus
// (fluxcd/cli-utils), which Flux and kpt use. kstatus takes any object without a status
// for Current, which is wrong for OpenShift's kinds: those have rules of their own here,
// after `oc rollout status`, `oc status` and Argo CD's health checks.
//
// An Application may replace a kind's rule by CEL expressions (spec.healthCheckExprs), which
// are evaluated in the order InProgress, Failed, Current. The first that is true decides.
package health
