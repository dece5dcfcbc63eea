package api

import (
	"encoding/json"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// defaultSecret folds the write-only stringData into data, where it wins.
func defaultSecret(s *corev1.Secret) {
	setDefault(&s.Type, corev1.SecretTypeOpaque)
	if len(s.StringData) > 0 && s.Data == nil {
		s.Data = make(map[string][]byte, len(s.StringData))
	}
	for k, v := range s.StringData {
		s.Data[k] = []byte(v)
	}
	s.StringData = nil
}

// validateSecret never puts a value of the secret into an error.
func validateSecret(s *corev1.Secret) field.ErrorList {
	var errs field.ErrorList
	data := field.NewPath("data")
	size := 0
	for _, k := range slices.Sorted(maps.Keys(s.Data)) {
		errs = append(errs, invalid(data.Key(k), k, validation.IsConfigMapKey(k))...)
		size += len(s.Data[k])
	}
	if size > maxContent {
		errs = append(errs, field.TooLong(data, "", maxContent))
	}
	switch s.Type {
	case corev1.SecretTypeDockercfg:
		errs = append(errs, jsonKey(s, corev1.DockerConfigKey)...)
	case corev1.SecretTypeDockerConfigJson:
		errs = append(errs, jsonKey(s, corev1.DockerConfigJsonKey)...)
	case corev1.SecretTypeBasicAuth:
		_, user := s.Data[corev1.BasicAuthUsernameKey]
		_, password := s.Data[corev1.BasicAuthPasswordKey]
		if !user && !password {
			errs = append(errs, field.Required(data.Key(corev1.BasicAuthUsernameKey), "or password"))
		}
	case corev1.SecretTypeSSHAuth:
		errs = append(errs, keys(s, corev1.SSHAuthPrivateKey)...)
	case corev1.SecretTypeTLS:
		errs = append(errs, keys(s, corev1.TLSCertKey, corev1.TLSPrivateKeyKey)...)
	case corev1.SecretTypeServiceAccountToken:
		if s.Annotations[corev1.ServiceAccountNameKey] == "" {
			errs = append(errs, field.Required(field.NewPath("metadata", "annotations").Key(corev1.ServiceAccountNameKey), ""))
		}
	}
	return errs
}

func keys(s *corev1.Secret, names ...string) field.ErrorList {
	var errs field.ErrorList
	for _, k := range names {
		if _, ok := s.Data[k]; !ok {
			errs = append(errs, field.Required(field.NewPath("data").Key(k), ""))
		}
	}
	return errs
}

func jsonKey(s *corev1.Secret, k string) field.ErrorList {
	if errs := keys(s, k); len(errs) > 0 {
		return errs
	}
	if !json.Valid(s.Data[k]) {
		return field.ErrorList{field.Invalid(field.NewPath("data").Key(k), "<secret contents redacted>", "is not valid JSON")}
	}
	return nil
}

func updateSecret(n, old *corev1.Secret) field.ErrorList {
	errs := immutable(n.Type, old.Type, field.NewPath("type"))
	if old.Immutable == nil || !*old.Immutable {
		return errs
	}
	errs = append(errs, immutable(n.Immutable, old.Immutable, field.NewPath("immutable"))...)
	if !equality.Semantic.DeepEqual(n.Data, old.Data) {
		errs = append(errs, field.Forbidden(field.NewPath("data"), "field is immutable when `immutable` is set"))
	}
	return errs
}

func validateServiceAccount(a *corev1.ServiceAccount) field.ErrorList {
	var errs field.ErrorList
	for i, s := range a.Secrets {
		errs = append(errs, named(field.NewPath("secrets").Index(i).Child("name"), s.Name, validation.IsDNS1123Subdomain)...)
	}
	for i, s := range a.ImagePullSecrets {
		errs = append(errs, named(field.NewPath("imagePullSecrets").Index(i).Child("name"), s.Name, validation.IsDNS1123Subdomain)...)
	}
	return errs
}
