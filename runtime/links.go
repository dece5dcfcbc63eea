package runtime

import (
	"context"
	"fmt"
	"maps"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
)

// linkVariables are the variables of the services that a pod links to, at the pod's
// loopback address, whatever project they are of. A service that is not there yet has none.
func (s surroundings) linkVariables(ctx context.Context) (map[string]string, error) {
	links, err := api.ParseLinks(s.pod.Annotations[api.LinksAnnotation])
	if err != nil {
		return nil, fmt.Errorf("annotation %s: %w", api.LinksAnnotation, err)
	}
	env := map[string]string{}
	for _, l := range links {
		key := client.ObjectKey{Namespace: l.Project, Name: l.Service}
		if key.Namespace == "" {
			key.Namespace = s.pod.Namespace
		}
		var service corev1.Service
		if err := s.client.Get(ctx, key, &service); client.IgnoreNotFound(err) != nil {
			return nil, fmt.Errorf("link %s: %w", l, err)
		} else if err == nil {
			maps.Copy(env, serviceVariables([]corev1.Service{atLoopback(service, l)}))
		}
	}
	return env, nil
}

// atLoopback is a service as a link shows it.
func atLoopback(s corev1.Service, l api.Link) corev1.Service {
	out := *s.DeepCopy()
	out.Spec.Ports = nil
	for _, p := range s.Spec.Ports {
		if l.Port != "" && l.Port != p.Name && l.Port != strconv.Itoa(int(p.Port)) {
			continue
		}
		if l.Local != 0 {
			p.Port = l.Local
		}
		out.Spec.Ports = append(out.Spec.Ports, p)
	}
	if s.Spec.ClusterIP != "" && s.Spec.ClusterIP != corev1.ClusterIPNone {
		out.Spec.ClusterIP = "127.0.0.1"
	}
	return out
}
