// Package examples carries the example repositories, so that the demo needs nothing
// but its own binary.
package examples

import "embed"

// Files holds every example, each in the folder of its name.
//
//go:embed all:shop-config all:shop-app all:images
var Files embed.FS
