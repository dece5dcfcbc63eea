package api

import (
	"cmp"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Older orders objects by age, the oldest first: by their creation times, which are whole
// seconds, and within one second by their UIDs, which live state gives in the order in which it
// makes objects. Objects that it did not make have neither, and are ordered by their names.
func Older(a, b metav1.Object) int {
	if d := a.GetCreationTimestamp().Compare(b.GetCreationTimestamp().Time); d != 0 {
		return d
	}
	return cmp.Or(strings.Compare(string(a.GetUID()), string(b.GetUID())),
		strings.Compare(a.GetNamespace(), b.GetNamespace()), strings.Compare(a.GetName(), b.GetName()))
}
