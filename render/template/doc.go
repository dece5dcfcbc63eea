// Package template processes OpenShift Templates as OpenShift 3 does: parameter values
// are given, kept or generated, then put into the message, the labels and the objects.
//
// It works on a Template as plain JSON, needs no cluster, and never panics on what a
// repository may hold. Two deviations from upstream, both on purpose: a range of the
// generator includes its upper bound (`[0-9]` can yield 9), and a parameter's value is
// never itself searched for parameters.
package template
