package api

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// maxContent is how many bytes a ConfigMap or a Secret may hold.
const maxContent = corev1.MaxSecretSize

func validateConfigMap(c *corev1.ConfigMap) field.ErrorList {
	var errs field.ErrorList
	size := 0
	for _, k := range slices.Sorted(maps.Keys(c.Data)) {
		at := field.NewPath("data").Key(k)
		errs = append(errs, invalid(at, k, validation.IsConfigMapKey(k))...)
		if _, twice := c.BinaryData[k]; twice {
			errs = append(errs, field.Invalid(at, k, "duplicate of key present in binaryData"))
		}
		size += len(c.Data[k])
	}
	for _, k := range slices.Sorted(maps.Keys(c.BinaryData)) {
		errs = append(errs, invalid(field.NewPath("binaryData").Key(k), k, validation.IsConfigMapKey(k))...)
		size += len(c.BinaryData[k])
	}
	if size > maxContent {
		errs = append(errs, field.TooLong(field.NewPath("data"), "", maxContent))
	}
	return append(errs, validateSchedulerConfig(c)...)
}

func updateConfigMap(n, old *corev1.ConfigMap) field.ErrorList {
	if old.Immutable == nil || !*old.Immutable {
		return nil
	}
	errs := immutable(n.Immutable, old.Immutable, field.NewPath("immutable"))
	errs = append(errs, immutable(n.Data, old.Data, field.NewPath("data"))...)
	return append(errs, immutable(n.BinaryData, old.BinaryData, field.NewPath("binaryData"))...)
}
