package schedule

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/state/loop"
)

// services finds those that select a pod by its labels: each is kept at one pair of its selector.
type services struct {
	of map[loop.Key]map[string]string
	at map[pair]map[loop.Key]bool
}

type pair struct{ namespace, key, value string }

func newServices() *services {
	return &services{of: map[loop.Key]map[string]string{}, at: map[pair]map[loop.Key]bool{}}
}

func (s *services) clear() { clear(s.of); clear(s.at) }

func first(namespace string, selector map[string]string) pair {
	k := slices.Min(slices.Collect(maps.Keys(selector)))
	return pair{namespace, k, selector[k]}
}

func (s *services) saw(event watch.EventType, o client.Object) {
	svc, ok := o.(*corev1.Service)
	if !ok {
		return
	}
	key := client.ObjectKeyFromObject(svc)
	if old := s.of[key]; len(old) > 0 {
		p := first(key.Namespace, old)
		if delete(s.at[p], key); len(s.at[p]) == 0 {
			delete(s.at, p)
		}
	}
	if delete(s.of, key); event == watch.Deleted || len(svc.Spec.Selector) == 0 {
		return
	}
	s.of[key] = svc.Spec.Selector
	p := first(key.Namespace, svc.Spec.Selector)
	if s.at[p] == nil {
		s.at[p] = map[loop.Key]bool{}
	}
	s.at[p][key] = true
}

// selecting are the selectors of the services that a pod belongs to, in the order of their names.
func (s *services) selecting(pod *corev1.Pod) []labels.Selector {
	var found []loop.Key
	for k, v := range pod.Labels {
		for key := range s.at[pair{pod.Namespace, k, v}] {
			if labels.SelectorFromSet(s.of[key]).Matches(labels.Set(pod.Labels)) {
				found = append(found, key)
			}
		}
	}
	slices.SortFunc(found, func(a, b loop.Key) int { return strings.Compare(a.Name, b.Name) })
	out := make([]labels.Selector, len(found))
	for i, key := range found {
		out[i] = labels.SelectorFromSet(s.of[key])
	}
	return out
}
