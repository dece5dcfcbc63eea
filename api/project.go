package api

import (
	"slices"
	"strings"

	projectv1 "github.com/openshift/api/project/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// defaultProject holds a project back from vanishing before its content did: as in
// Kubernetes the finalizer is there from the first write, so that no deletion can come
// before it.
func defaultProject(p *projectv1.Project) {
	if p.DeletionTimestamp == nil && !slices.Contains(p.Finalizers, ProjectFinalizer) {
		p.Finalizers = append(p.Finalizers, ProjectFinalizer)
	}
}

// projectName is a DNS label that does not pass for a part of the platform.
func projectName(name string, prefix bool) []string {
	if prefix {
		name = strings.TrimSuffix(name, "-")
	}
	msgs := validation.IsDNS1123Label(name)
	if len(name) < 2 {
		msgs = append(msgs, "must be at least 2 characters long")
	}
	for _, reserved := range []string{"openshift", "kubernetes", "kube"} {
		if name == reserved || strings.HasPrefix(name, reserved+"-") {
			msgs = append(msgs, "cannot be "+reserved+" or begin with "+reserved+"-: these names are reserved")
		}
	}
	return msgs
}

// updateProject keeps the user ids that were allocated to a project as long as it
// lives: its files belong to them. Leaving the annotation out is no change.
func updateProject(n, old *projectv1.Project) field.ErrorList {
	now, ok := n.Annotations[UIDRangeAnnotation]
	if before := old.Annotations[UIDRangeAnnotation]; before != "" && ok && now != before {
		return field.ErrorList{field.Invalid(field.NewPath("metadata", "annotations").Key(UIDRangeAnnotation), now, "field is immutable")}
	}
	return nil
}

func validateNode(n *corev1.Node) field.ErrorList {
	errs := validateResourceList(n.Status.Capacity, field.NewPath("status", "capacity"))
	return append(errs, validateResourceList(n.Status.Allocatable, field.NewPath("status", "allocatable"))...)
}
