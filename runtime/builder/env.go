package builder

import (
	"context"
	"fmt"
	"strings"

	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	kube "sigs.k8s.io/controller-runtime/pkg/client"
)

// values replaces the references of variables by what they name in the build's project.
// A variable whose optional reference names nothing is left out.
func (j *job) values(ctx context.Context, env []corev1.EnvVar) ([]corev1.EnvVar, error) {
	var out []corev1.EnvVar
	for _, e := range env {
		value, found := e.Value, true
		if e.ValueFrom != nil {
			var err error
			if value, found, err = j.reference(ctx, e.ValueFrom); err != nil {
				return nil, fail(buildv1.StatusReasonUnresolvableEnvironmentVariable, fmt.Errorf("variable %s: %w", e.Name, err))
			}
		}
		if found {
			out = append(out, corev1.EnvVar{Name: e.Name, Value: value})
		}
	}
	return out, nil
}

func (j *job) reference(ctx context.Context, from *corev1.EnvVarSource) (string, bool, error) {
	switch {
	case from.SecretKeyRef != nil:
		r := from.SecretKeyRef
		var s corev1.Secret
		found, err := j.get(ctx, r.Name, &s)
		if err != nil {
			return "", false, err
		}
		v, ok := s.Data[r.Key]
		return wanted(string(v), found && ok, r.Optional, "secret", r.Name, r.Key)
	case from.ConfigMapKeyRef != nil:
		r := from.ConfigMapKeyRef
		var m corev1.ConfigMap
		found, err := j.get(ctx, r.Name, &m)
		if err != nil {
			return "", false, err
		}
		v, ok := m.Data[r.Key]
		return wanted(v, found && ok, r.Optional, "configmap", r.Name, r.Key)
	case from.FieldRef != nil:
		v, err := fieldOf(j.build, from.FieldRef.FieldPath)
		return v, err == nil, err
	}
	return "", false, fmt.Errorf("valueFrom: want secretKeyRef, configMapKeyRef or fieldRef")
}

func (j *job) get(ctx context.Context, name string, o kube.Object) (bool, error) {
	err := j.Client.Get(ctx, types.NamespacedName{Namespace: j.build.Namespace, Name: name}, o)
	return err == nil, kube.IgnoreNotFound(err)
}

func wanted(value string, found bool, optional *bool, kind, name, key string) (string, bool, error) {
	if !found && (optional == nil || !*optional) {
		return "", false, fmt.Errorf("%s %s has no key %q, or is not there", kind, name, key)
	}
	return value, found, nil
}

// fieldOf is a field of the build's own metadata.
func fieldOf(b *buildv1.Build, path string) (string, error) {
	switch path {
	case "metadata.name":
		return b.Name, nil
	case "metadata.namespace":
		return b.Namespace, nil
	case "metadata.uid":
		return string(b.UID), nil
	}
	for prefix, m := range map[string]map[string]string{"metadata.labels['": b.Labels, "metadata.annotations['": b.Annotations} {
		if key, ok := strings.CutPrefix(path, prefix); ok && strings.HasSuffix(key, "']") {
			return m[strings.TrimSuffix(key, "']")], nil
		}
	}
	return "", fmt.Errorf("fieldRef: a build has no field %q", path)
}
