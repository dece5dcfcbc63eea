// Package build makes Builds from BuildConfigs and decides when each may run.
//
// A BuildConfig starts a Build when its configuration first appears, when an image it
// is built from moves, or when a webhook says so. The Build is named `<config>-<n>`,
// carries everything it needs (a copy of the configuration's spec, the revision, the
// resolved images), and waits in phase New until its run policy lets it go: then it is
// bound to a node, phase Pending, and the node's builder takes over. A build whose node
// is taken out of the cluster ends in Error.
// Phases never go back, and a terminal one is final.
package build
