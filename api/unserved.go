package api

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// unservedKinds are valid OpenShift, but no part of Slipway acts on them yet.
var unservedKinds = map[string]string{
	"StatefulSet":           "nothing runs StatefulSets yet",
	"DaemonSet":             "nothing runs DaemonSets yet",
	"PersistentVolume":      "persistent volumes are not served yet",
	"PersistentVolumeClaim": "persistent volumes are not served yet",
}

const noClaims = "persistent volumes are not served yet: use emptyDir, configMap, secret, downwardAPI or projected"

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
	switch gk.Kind {
	case "Pod":
		return claims(u, "spec")
	case "DeploymentConfig", "ReplicationController", "Deployment", "ReplicaSet", "StatefulSet", "DaemonSet":
		return claims(u, "spec", "template", "spec")
	case "BuildConfig":
		return unservedBuild(u)
	}
	return nil
}

// claims finds the volumes of a pod's spec that no node could mount.
func claims(u *unstructured.Unstructured, path ...string) field.ErrorList {
	var errs field.ErrorList
	volumes, _, _ := unstructured.NestedSlice(u.Object, append(path, "volumes")...)
	at := field.NewPath(path[0], append(path[1:len(path):len(path)], "volumes")...)
	for i, v := range volumes {
		if m, ok := v.(map[string]any); ok && m["persistentVolumeClaim"] != nil {
			errs = append(errs, field.Forbidden(at.Index(i).Child("persistentVolumeClaim"), noClaims))
		}
	}
	return errs
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
