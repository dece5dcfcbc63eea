package rules

import (
	"maps"
	"sync"
)

// Table is the elements that are wanted, by owner. Where two owners want the same element, the owner
// whose name sorts first decides what it holds. It may be used from several
// goroutines.
type Table struct {
	mu     sync.Mutex
	owners map[string]Elements           // guarded by mu
	claims map[Element]map[string]string // guarded by mu; element → owner → value
	dirty  map[Element]struct{}          // guarded by mu; changed since the last Changes
}

// NewTable is an empty table.
func NewTable() *Table {
	return &Table{owners: map[string]Elements{}, claims: map[Element]map[string]string{}, dirty: map[Element]struct{}{}}
}

// Put replaces what an owner wants; nothing: the owner is gone.
func (t *Table) Put(owner string, want Elements) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for e := range t.owners[owner] {
		if _, still := want[e]; !still {
			delete(t.claims[e], owner)
			if len(t.claims[e]) == 0 {
				delete(t.claims, e)
			}
			t.dirty[e] = struct{}{}
		}
	}
	for e, v := range want {
		if old, had := t.claims[e][owner]; had && old == v {
			continue
		}
		if t.claims[e] == nil {
			t.claims[e] = map[string]string{}
		}
		t.claims[e][owner] = v
		t.dirty[e] = struct{}{}
	}
	delete(t.owners, owner)
	if len(want) > 0 {
		t.owners[owner] = want
	}
}

// Of is what an owner wants.
func (t *Table) Of(owner string) Elements {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.owners[owner])
}

// Elements is everything that is wanted.
func (t *Table) Elements() Elements {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make(Elements, len(t.claims))
	for e := range t.claims {
		out[e], _ = t.value(e)
	}
	return out
}

// change is what an element shall be: present with a value, or gone.
type change struct {
	value  string
	wanted bool
}

// take gives what changed since it was last called, or everything wanted.
func (t *Table) take() map[Element]change {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make(map[Element]change, len(t.dirty))
	for e := range t.dirty {
		v, wanted := t.value(e)
		out[e] = change{v, wanted}
	}
	// A map that once was large stays so, and to walk it costs what it could hold.
	t.dirty = map[Element]struct{}{}
	return out
}

// value needs mu held.
func (t *Table) value(e Element) (string, bool) {
	first, value, found := "", "", false
	for owner, v := range t.claims[e] {
		if !found || owner < first {
			first, value, found = owner, v, true
		}
	}
	return value, found
}
