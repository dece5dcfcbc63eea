package runtime

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// surroundings are what a pod's fields may refer to.
type surroundings struct {
	client    client.Reader
	pod       *corev1.Pod
	addresses Addresses
	node      corev1.ResourceList
	// read are the config maps and secrets that were read for the pod so far; nil: every
	// one is read whenever it is referred to.
	read  map[object]map[string]string
	files files
	// mounting is held while a claim that is one pod's alone is looked for with others and mounted.
	mounting *sync.Mutex
}

// environment is a container's environment as NAME=value, in the order of precedence
// of Kubernetes: the services' variables, then envFrom, then env, which may refer to
// what comes before it.
func (s surroundings) environment(ctx context.Context, c *corev1.Container) ([]string, error) {
	values := map[string]string{}
	if s.pod.Spec.EnableServiceLinks == nil || *s.pod.Spec.EnableServiceLinks {
		var services corev1.ServiceList
		if err := s.client.List(ctx, &services, client.InNamespace(s.pod.Namespace)); err != nil {
			return nil, fmt.Errorf("services of project %s: %w", s.pod.Namespace, err)
		}
		maps.Copy(values, serviceVariables(services.Items))
	}
	links, err := s.linkVariables(ctx)
	if err != nil {
		return nil, err
	}
	maps.Copy(values, links)
	for i, from := range c.EnvFrom {
		data, err := s.source(ctx, from)
		if err != nil {
			return nil, fmt.Errorf("container %s: envFrom[%d]: %w", c.Name, i, err)
		}
		for k, v := range data {
			if len(validation.IsEnvVarName(from.Prefix+k)) == 0 {
				values[from.Prefix+k] = v
			}
		}
	}
	room := longestTogether
	for _, e := range c.Env {
		v, found, err := s.value(ctx, c, e, values)
		if err == nil {
			err = fits(e.Name+"="+v, &room)
		}
		if err != nil {
			return nil, fmt.Errorf("container %s: env %s: %w", c.Name, e.Name, err)
		}
		if found {
			values[e.Name] = v
		}
	}
	return listed(c, values)
}

// listed writes variables as NAME=value, if a program can be started with them.
func listed(c *corev1.Container, values map[string]string) ([]string, error) {
	var env []string
	room := longestTogether
	for _, k := range slices.Sorted(maps.Keys(values)) {
		line := k + "=" + values[k]
		if err := fits(line, &room); err != nil {
			return nil, fmt.Errorf("container %s: the environment, at %s: %w (enableServiceLinks: false leaves the services out)", c.Name, k, err)
		}
		env = append(env, line)
	}
	return env, nil
}

// What Linux starts a program with at most (execve(2)), in bytes: one argument or
// variable, and all of them together. What refers to what refers to others grows
// without bounds otherwise, and it would be the agent's memory that it fills.
const (
	longest         = 128<<10 - 1
	longestTogether = 6 << 20
)

func fits(s string, room *int) error {
	if len(s) > longest {
		return fmt.Errorf("is longer than %d bytes, which no program can be started with", longest)
	}
	if *room -= len(s) + 1; *room < 0 {
		return fmt.Errorf("is more than %d bytes together with what comes before it, which no program can be started with", longestTogether)
	}
	return nil
}

func (s surroundings) source(ctx context.Context, from corev1.EnvFromSource) (map[string]string, error) {
	switch {
	case from.ConfigMapRef != nil:
		return s.words(ctx, from.ConfigMapRef.Name, from.ConfigMapRef.Optional)
	case from.SecretRef != nil:
		return s.secret(ctx, from.SecretRef.Name, from.SecretRef.Optional)
	}
	return nil, nil
}

func (s surroundings) value(ctx context.Context, c *corev1.Container, e corev1.EnvVar, before map[string]string) (v string, found bool, err error) {
	if e.ValueFrom == nil {
		return expand(e.Value, before), true, nil
	}
	switch from := e.ValueFrom; {
	case from.FieldRef != nil:
		v, err = s.field(from.FieldRef.FieldPath)
		return v, err == nil, err
	case from.ResourceFieldRef != nil:
		v, err = s.resource(c, from.ResourceFieldRef)
		return v, err == nil, err
	case from.ConfigMapKeyRef != nil:
		ref := from.ConfigMapKeyRef
		data, err := s.words(ctx, ref.Name, ref.Optional)
		return pick(data, err, "configmap "+ref.Name, ref.Key, ref.Optional)
	case from.SecretKeyRef != nil:
		ref := from.SecretKeyRef
		data, err := s.secret(ctx, ref.Name, ref.Optional)
		return pick(data, err, "secret "+ref.Name, ref.Key, ref.Optional)
	}
	return "", false, fmt.Errorf("valueFrom names no source that is supported")
}

func pick(data map[string]string, err error, from, key string, optional *bool) (string, bool, error) {
	if err != nil {
		return "", false, err
	}
	v, found := data[key]
	if !found && (optional == nil || !*optional) {
		return "", false, fmt.Errorf("%s has no key %q", from, key)
	}
	return v, found, nil
}

// words is what of a config map's data may be variables: its text. No variable can hold
// what is binary, and as in Kubernetes, it is left out.
func (s surroundings) words(ctx context.Context, name string, optional *bool) (map[string]string, error) {
	text, _, err := s.readConfigMap(ctx, name, optional)
	return text, err
}

// configMap is all of a config map's data, text and binary; nil if it is optional and absent.
func (s surroundings) configMap(ctx context.Context, name string, optional *bool) (map[string]string, error) {
	text, binary, err := s.readConfigMap(ctx, name, optional)
	if err != nil || len(binary) == 0 {
		return text, err
	}
	all := maps.Clone(binary)
	maps.Copy(all, text)
	return all, nil
}

func (s surroundings) readConfigMap(ctx context.Context, name string, optional *bool) (text, binary map[string]string, err error) {
	at, rest := object{"ConfigMap", s.pod.Namespace, name}, object{"ConfigMap.binaryData", s.pod.Namespace, name}
	if text, known := s.read[at]; known {
		return text, s.read[rest], nil
	}
	var cm corev1.ConfigMap
	err = s.client.Get(ctx, client.ObjectKey{Namespace: s.pod.Namespace, Name: name}, &cm)
	if apierrors.IsNotFound(err) && optional != nil && *optional {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("configmap %s: %w", name, err)
	}
	text, binary = map[string]string{}, map[string]string{}
	maps.Copy(text, cm.Data)
	for k, v := range cm.BinaryData {
		binary[k] = string(v)
	}
	s.keep(at, text)
	s.keep(rest, binary)
	return text, binary, nil
}

func (s surroundings) secret(ctx context.Context, name string, optional *bool) (map[string]string, error) {
	at := object{"Secret", s.pod.Namespace, name}
	if data, known := s.read[at]; known {
		return data, nil
	}
	var secret corev1.Secret
	err := s.client.Get(ctx, client.ObjectKey{Namespace: s.pod.Namespace, Name: name}, &secret)
	if apierrors.IsNotFound(err) && optional != nil && *optional {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("secret %s: %w", name, err)
	}
	data := map[string]string{}
	for k, v := range secret.Data {
		data[k] = string(v)
	}
	s.keep(at, data)
	return data, nil
}

// keep has an object read once, however often the pod refers to it.
func (s surroundings) keep(at object, data map[string]string) {
	if s.read != nil {
		s.read[at] = data
	}
}

// expand replaces $(NAME) by the variable's value; one that is not known stays as it
// is, and $$ is a dollar sign (Kubernetes' dependent environment variables). It ends
// where the result is longer than anything may be.
func expand(s string, values map[string]string) string {
	var b strings.Builder
	for i := 0; i < len(s) && b.Len() <= longest; i++ {
		if s[i] != '$' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		switch i++; s[i] {
		case '$':
			b.WriteByte('$')
		case '(':
			end := strings.IndexByte(s[i:], ')')
			if end < 0 {
				b.WriteString("$(")
				continue
			}
			name := s[i+1 : i+end]
			if v, found := values[name]; found {
				b.WriteString(v)
			} else {
				b.WriteString("$(" + name + ")")
			}
			i += end
		default:
			b.WriteByte('$')
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

func expandAll(words, env []string) ([]string, error) {
	values := map[string]string{}
	for _, e := range env {
		k, v, _ := strings.Cut(e, "=")
		values[k] = v
	}
	var all []string
	room := longestTogether
	for i, w := range words {
		w = expand(w, values)
		if err := fits(w, &room); err != nil {
			return nil, fmt.Errorf("word %d %w", i, err)
		}
		all = append(all, w)
	}
	return all, nil
}
