package router

import (
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// revisions are how far a table follows Endpoints.
func revisions(endpoints map[types.NamespacedName]*corev1.Endpoints) map[types.NamespacedName]uint64 {
	all := make(map[types.NamespacedName]uint64, len(endpoints))
	for key, e := range endpoints {
		if n, err := strconv.ParseUint(e.ResourceVersion, 10, 64); err == nil {
			all[key] = n
		}
	}
	return all
}

// Follows says whether the table leads where the service's Endpoints led at the revision, or at
// a later one. It waits for nothing.
func (r *Router) Follows(service types.NamespacedName, revision uint64) bool {
	served := r.followed.Load()
	if served == nil {
		return false
	}
	have, ok := (*served)[service]
	return ok && have >= revision
}
