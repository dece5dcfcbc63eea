package rules

import (
	"maps"
	"slices"
	"sync"
)

// Table is the elements that are wanted, by owner. Where two owners want the same element, the owner
// whose name sorts first decides what it holds. It may be used from several
// goroutines.
type Table struct {
	mu     sync.Mutex
	owners map[string]Elements  // guarded by mu
	claims map[Element]claim    // guarded by mu
	dirty  map[Element]struct{} // guarded by mu; changed since the last take or all
}

// claim is who wants an element, and what it shall hold. Almost every element has one owner.
type claim struct {
	owner, value string            // whose name sorts first
	others       map[string]string // owner → value; nil: nobody else
}

// NewTable is an empty table.
func NewTable() *Table {
	return &Table{owners: map[string]Elements{}, claims: map[Element]claim{}, dirty: map[Element]struct{}{}}
}

// Put replaces what an owner wants; nothing: the owner is gone.
func (t *Table) Put(owner string, want Elements) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for e := range t.owners[owner] {
		if _, still := want[e]; !still {
			t.drop(e, owner)
			t.dirty[e] = struct{}{}
		}
	}
	for e, v := range want {
		if t.claim(e, owner, v) {
			t.dirty[e] = struct{}{}
		}
	}
	delete(t.owners, owner)
	if len(want) > 0 {
		t.owners[owner] = want
	}
}

// claim says whether that is new. It needs mu held, as do drop and elements.
func (t *Table) claim(e Element, owner, value string) bool {
	c, has := t.claims[e]
	switch old, had := c.others[owner]; {
	case has && c.owner == owner && c.value == value, had && old == value:
		return false
	case !has || c.owner == owner:
		c.owner, c.value = owner, value
	default:
		if c.others == nil {
			c.others = map[string]string{}
		}
		if owner < c.owner {
			c.others[c.owner] = c.value
			c.owner, c.value = owner, value
		} else {
			c.others[owner] = value
		}
	}
	t.claims[e] = c
	return true
}

func (t *Table) drop(e Element, owner string) {
	c := t.claims[e]
	switch {
	case c.owner != owner:
		delete(c.others, owner)
	case len(c.others) == 0:
		delete(t.claims, e)
	default:
		c.owner = slices.Min(slices.Collect(maps.Keys(c.others)))
		c.value = c.others[c.owner]
		delete(c.others, c.owner)
		t.claims[e] = c
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
	return t.elements()
}

func (t *Table) elements() Elements {
	out := make(Elements, len(t.claims))
	for e, c := range t.claims {
		out[e] = c.value
	}
	return out
}

// change is what an element shall be: present with a value, or gone.
type change struct {
	value  string
	wanted bool
}

// take gives what changed since it or all was last called.
func (t *Table) take() map[Element]change {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make(map[Element]change, len(t.dirty))
	for e := range t.dirty {
		c, wanted := t.claims[e]
		out[e] = change{c.value, wanted}
	}
	// A map that once was large stays so, and to walk it costs what it could hold.
	t.dirty = map[Element]struct{}{}
	return out
}

// all gives everything that is wanted, so that nothing is left to take.
func (t *Table) all() Elements {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dirty = map[Element]struct{}{}
	return t.elements()
}
