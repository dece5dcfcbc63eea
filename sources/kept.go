package sources

// kept remembers what was read lately, up to a limit. It is two generations of half the
// limit: when the young one is full, the old one is forgotten and the young one becomes
// the old one. It is not safe for concurrent use.
type kept[K comparable, V any] struct {
	// limit of what is kept, in the unit of put's cost.
	limit      int
	young, old map[K]keptValue[V]
	spent      int
}

type keptValue[V any] struct {
	value V
	cost  int
}

func newKept[K comparable, V any](limit int) kept[K, V] {
	return kept[K, V]{limit: limit, young: map[K]keptValue[V]{}}
}

func (k *kept[K, V]) get(key K) (V, bool) {
	v, ok := k.young[key]
	if !ok {
		if v, ok = k.old[key]; ok {
			k.put(key, v.value, v.cost)
		}
	}
	return v.value, ok
}

// put keeps a value, unless it alone is more than half of the limit.
func (k *kept[K, V]) put(key K, value V, cost int) {
	if cost > k.limit/2 {
		return
	}
	if was, ok := k.young[key]; ok {
		k.spent -= was.cost
	}
	if k.spent+cost > k.limit/2 {
		k.old, k.young, k.spent = k.young, map[K]keptValue[V]{}, 0
	}
	k.young[key] = keptValue[V]{value, cost}
	k.spent += cost
}
