package service

import (
	"maps"
	"sync"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/state/loop"
)

// selectors remembers what each service selects, so that a pod's change wakes only the
// services that it concerns. A service is noted before its pods are read: a pod that
// changes later finds it here, one that changed earlier is among those read.
type selectors struct {
	mu sync.Mutex
	// by namespace and name of the service; guarded by mu
	by map[string]map[string]map[string]string
}

func newSelectors() *selectors { return &selectors{by: map[string]map[string]map[string]string{}} }

func (s *selectors) note(service loop.Key, selector map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.by[service.Namespace] == nil {
		s.by[service.Namespace] = map[string]map[string]string{}
	}
	s.by[service.Namespace][service.Name] = maps.Clone(selector)
}

func (s *selectors) forget(service loop.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.by[service.Namespace], service.Name)
	if len(s.by[service.Namespace]) == 0 {
		delete(s.by, service.Namespace)
	}
}

// of lists the services that select a pod.
func (s *selectors) of(pod client.Object) []loop.Key {
	s.mu.Lock()
	defer s.mu.Unlock()
	var keys []loop.Key
	for name, selector := range s.by[pod.GetNamespace()] {
		if matches(selector, pod.GetLabels()) {
			keys = append(keys, loop.Key{Namespace: pod.GetNamespace(), Name: name})
		}
	}
	return keys
}

func matches(selector, labels map[string]string) bool {
	for k, v := range selector {
		if have, ok := labels[k]; !ok || have != v {
			return false
		}
	}
	return true
}
