// Package constraints decides what a pod may ask of its host, by OpenShift's SecurityContextConstraints: which of
// them a pod's service account may use, in which order they are tried, what they fill in, and what they refuse.
//
// A pod is admitted by the first that its account may use and that allows all of it; the annotation
// api.ConstraintsAnnotation says which. Those that OpenShift brings along are there without being declared
// (builtin.go); one that is declared under the same name takes its place.
//
// The package reads nothing. Whoever asks brings what live state has: where pods are made, where a commit is
// looked at, and on the node that is to run the pod, the same rules hold.
package constraints
