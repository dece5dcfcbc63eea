package runtime

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// field is the value of a field of the pod, by the paths that Kubernetes' downward
// interface knows.
func (s surroundings) field(path string) (string, error) {
	if name, key, ok := subscript(path); ok {
		switch name {
		case "metadata.labels":
			return s.pod.Labels[key], nil
		case "metadata.annotations":
			return s.pod.Annotations[key], nil
		}
		return "", fmt.Errorf("fieldPath %q is not supported", path)
	}
	switch path {
	case "metadata.name":
		return s.pod.Name, nil
	case "metadata.namespace":
		return s.pod.Namespace, nil
	case "metadata.uid":
		return string(s.pod.UID), nil
	case "metadata.labels":
		return lines(s.pod.Labels), nil
	case "metadata.annotations":
		return lines(s.pod.Annotations), nil
	case "spec.nodeName":
		return s.pod.Spec.NodeName, nil
	case "spec.serviceAccountName":
		return s.pod.Spec.ServiceAccountName, nil
	case "status.podIP", "status.podIPs":
		if !s.addresses.Pod.IsValid() {
			return "", nil
		}
		return s.addresses.Pod.String(), nil
	case "status.hostIP", "status.hostIPs":
		if !s.addresses.Host.IsValid() {
			return "", nil
		}
		return s.addresses.Host.String(), nil
	}
	return "", fmt.Errorf("fieldPath %q is not supported", path)
}

// subscript splits name['key'].
func subscript(path string) (name, key string, ok bool) {
	name, rest, ok := strings.Cut(path, "['")
	if !ok || !strings.HasSuffix(rest, "']") {
		return "", "", false
	}
	return name, strings.TrimSuffix(rest, "']"), true
}

func lines(m map[string]string) string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(m)) {
		fmt.Fprintf(&b, "%s=%s\n", k, strconv.Quote(m[k]))
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// resource is a limit or request of a container, in units of the divisor, rounded up.
// A limit that is not set is what the node has.
func (s surroundings) resource(c *corev1.Container, ref *corev1.ResourceFieldSelector) (string, error) {
	if ref.ContainerName != "" && (c == nil || ref.ContainerName != c.Name) {
		c = nil
		c, _ = specOf(s.pod, ref.ContainerName)
	}
	if c == nil {
		return "", fmt.Errorf("resourceFieldRef: the pod has no container %q", ref.ContainerName)
	}
	kind, name, _ := strings.Cut(ref.Resource, ".")
	var q resource.Quantity
	switch kind {
	case "limits":
		limit, set := c.Resources.Limits[corev1.ResourceName(name)]
		if !set {
			limit = s.node[corev1.ResourceName(name)]
		}
		q = limit
	case "requests":
		q = c.Resources.Requests[corev1.ResourceName(name)]
	default:
		return "", fmt.Errorf("resourceFieldRef: %q is neither of limits nor of requests", ref.Resource)
	}
	divisor := ref.Divisor
	if divisor.IsZero() {
		divisor = resource.MustParse("1")
	}
	n, d := q.Value(), divisor.Value()
	if name == string(corev1.ResourceCPU) { // In thousandths, as it is counted.
		n, d = q.MilliValue(), divisor.MilliValue()
	}
	return strconv.FormatInt((n+d-1)/d, 10), nil
}
