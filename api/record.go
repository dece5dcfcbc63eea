package api

import (
	"cmp"
	"slices"
	"strconv"

	"slipway.dev/slipway/api/v1alpha1"
)

// NewestFirst sorts records by when they began. That is told in whole seconds: of those of
// one second, the one that was written last is the newest.
func NewestFirst(records []v1alpha1.Record) {
	written := func(r *v1alpha1.Record) int64 {
		// What live state did not write has no version, and comes last.
		version, _ := strconv.ParseInt(r.ResourceVersion, 10, 64)
		return version
	}
	slices.SortStableFunc(records, func(a, b v1alpha1.Record) int {
		return cmp.Or(b.Spec.Started.Compare(a.Spec.Started.Time), cmp.Compare(written(&b), written(&a)))
	})
}
