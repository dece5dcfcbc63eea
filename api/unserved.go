package api

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// unservedKinds are valid OpenShift, but no part of Slipway acts on them yet.
var unservedKinds = map[string]string{
	"StatefulSet": "nothing runs StatefulSets yet",
	"DaemonSet":   "nothing runs DaemonSets yet",
}

// Unserved lists what a repository asks for that is valid and that nothing would act
// on: silence would be taken for success. Kinds that are only kept, such as roles and
// quotas, are not among it; docs/compatibility.md lists those.
func Unserved(u *unstructured.Unstructured) field.ErrorList {
	gk := Modern(u.GroupVersionKind()).GroupKind()
	if why, ok := unservedKinds[gk.Kind]; ok {
		if _, known := KindFor(gk); known {
			return field.ErrorList{field.Forbidden(field.NewPath("kind"), why)}
		}
	}
	if gk.Kind == "BuildConfig" {
		return unservedBuild(u)
	}
	return nil
}

func unservedBuild(u *unstructured.Unstructured) field.ErrorList {
	var errs field.ErrorList
	for _, s := range []string{"customStrategy", "jenkinsPipelineStrategy"} {
		if _, ok, _ := unstructured.NestedMap(u.Object, "spec", "strategy", s); ok {
			errs = append(errs, field.Forbidden(field.NewPath("spec", "strategy", s), fmt.Sprintf("%s is not served: use dockerStrategy or sourceStrategy", s)))
		}
	}
	if _, ok, _ := unstructured.NestedMap(u.Object, "spec", "source", "binary"); ok {
		errs = append(errs, field.Forbidden(field.NewPath("spec", "source", "binary"), "binary sources are not served: builds come from git"))
	}
	return errs
}
