package api

import (
	"fmt"

	buildv1 "github.com/openshift/api/build/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Unserved lists what a repository asks for that is valid and that nothing would act
// on: silence would be taken for success. Kinds that are only kept, such as roles and
// quotas, are not among it; docs/compatibility.md lists those.
func Unserved(u *unstructured.Unstructured) field.ErrorList {
	if Modern(u.GroupVersionKind()).GroupKind() == buildv1.GroupVersion.WithKind("BuildConfig").GroupKind() {
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
