package v1alpha1

import "embed"

// Source is the source of this package: the comments on its types describe the kinds to
// people, in JSON Schemas.
//
//go:embed application.go gitrepository.go override.go promotion.go record.go
var Source embed.FS
