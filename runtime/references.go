package runtime

import (
	"sync"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/state/loop"
)

// references knows which pods of the node use which config maps and secrets, so that
// a change of one wakes only them.
type references struct {
	mu       sync.Mutex
	byObject map[object]map[loop.Key]bool // guarded by mu
	byPod    map[loop.Key][]object        // guarded by mu
}

type object struct{ kind, namespace, name string }

func (r *references) users(kind string, o client.Object) []loop.Key {
	r.mu.Lock()
	defer r.mu.Unlock()
	var keys []loop.Key
	for k := range r.byObject[object{kind, o.GetNamespace(), o.GetName()}] {
		keys = append(keys, k)
	}
	return keys
}

// note replaces what is known of a pod; nil: it is gone.
func (r *references) note(key loop.Key, pod *corev1.Pod) {
	var uses []object
	if pod != nil {
		uses = usesOf(pod)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byObject == nil {
		r.byObject, r.byPod = map[object]map[loop.Key]bool{}, map[loop.Key][]object{}
	}
	for _, o := range r.byPod[key] {
		delete(r.byObject[o], key)
		if len(r.byObject[o]) == 0 {
			delete(r.byObject, o)
		}
	}
	delete(r.byPod, key)
	for _, o := range uses {
		if r.byObject[o] == nil {
			r.byObject[o] = map[loop.Key]bool{}
		}
		r.byObject[o][key] = true
		r.byPod[key] = uses
	}
}

func usesOf(pod *corev1.Pod) []object {
	var all []object
	add := func(kind, name string) { all = append(all, object{kind, pod.Namespace, name}) }
	for _, v := range pod.Spec.Volumes {
		if v.ConfigMap != nil {
			add("ConfigMap", v.ConfigMap.Name)
		}
		if v.Secret != nil {
			add("Secret", v.Secret.SecretName)
		}
		if v.Projected == nil {
			continue
		}
		for _, s := range v.Projected.Sources {
			if s.ConfigMap != nil {
				add("ConfigMap", s.ConfigMap.Name)
			}
			if s.Secret != nil {
				add("Secret", s.Secret.Name)
			}
		}
	}
	for _, c := range append(append([]corev1.Container(nil), pod.Spec.InitContainers...), pod.Spec.Containers...) {
		for _, f := range c.EnvFrom {
			if f.ConfigMapRef != nil {
				add("ConfigMap", f.ConfigMapRef.Name)
			}
			if f.SecretRef != nil {
				add("Secret", f.SecretRef.Name)
			}
		}
		for _, e := range c.Env {
			if e.ValueFrom == nil {
				continue
			}
			if r := e.ValueFrom.ConfigMapKeyRef; r != nil {
				add("ConfigMap", r.Name)
			}
			if r := e.ValueFrom.SecretKeyRef; r != nil {
				add("Secret", r.Name)
			}
		}
	}
	return all
}
