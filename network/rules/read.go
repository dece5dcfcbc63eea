package rules

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/userdata"
)

// read is what the kernel holds of the table; intact says that its constant part is as
// the frame wants it. Without a table it is not intact; an error is never taken for that.
func (k *Kernel) read(c *nftables.Conn) (have Elements, intact bool, err error) {
	if intact, err = k.readChains(c); err != nil || !intact {
		return nil, false, err
	}
	sets, err := c.GetSets(k.table())
	if err != nil {
		return nil, false, err
	}
	for _, name := range setNames() {
		if !slices.ContainsFunc(sets, func(s *nftables.Set) bool { return s.Name == string(name) }) {
			return nil, false, nil
		}
	}
	have = Elements{}
	for _, name := range setNames() {
		if layouts[name].learned > 0 {
			continue
		}
		if err := k.readElements(c, name, have); err != nil {
			return nil, false, err
		}
	}
	return have, true, nil
}

// readChains compares chains with the frame, and learns which spreading chains there are.
func (k *Kernel) readChains(c *nftables.Conn) (bool, error) {
	all, err := c.ListChainsOfTableFamily(nftables.TableFamilyIPv4)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	have := map[string]*nftables.Chain{}
	for _, ch := range all {
		if ch.Table.Name == k.frame.Table {
			have[ch.Name] = ch
		}
	}
	want := k.frame.chains()
	for _, w := range want {
		if have[w.name] == nil || !sameHook(w, have[w.name]) {
			return false, nil
		}
	}
	k.chains = map[string]bool{}
	for name := range have {
		if slices.ContainsFunc(want, func(w chain) bool { return w.name == name }) {
			continue
		}
		spread, err := spreading(name)
		if err != nil {
			return false, nil
		}
		want = append(want, spread)
		k.chains[name] = true
	}
	for _, w := range want {
		got, err := c.GetRules(k.table(), have[w.name])
		if err != nil {
			return false, err
		}
		if !slices.EqualFunc(w.rules, got, func(w rule, g *nftables.Rule) bool {
			text, _ := userdata.GetString(g.UserData, userdata.TypeComment)
			return text == w.text && len(g.Exprs) == len(w.exprs)
		}) {
			return false, nil
		}
	}
	return true, nil
}

func sameHook(w chain, h *nftables.Chain) bool {
	if w.hook == nil || h.Hooknum == nil {
		return w.hook == nil && h.Hooknum == nil
	}
	return *w.hook == *h.Hooknum && h.Priority != nil && *w.priority == *h.Priority && w.kind == h.Type
}

func (k *Kernel) readElements(c *nftables.Conn, name Set, into Elements) error {
	elements, err := c.GetSetElements(k.set(name))
	if err != nil {
		return fmt.Errorf("set %s: %w", name, err)
	}
	l := layouts[name]
	for _, el := range elements {
		key, err := decode(el.Key, l.key)
		if err != nil {
			return fmt.Errorf("set %s: %w", name, err)
		}
		value := ""
		switch {
		case l.isMap() && l.value[0].Name == verdict.Name:
			value = "goto " + verdictChain(el.Val)
		case l.isMap():
			if value, err = decode(el.Val, l.value); err != nil {
				return fmt.Errorf("set %s: %w", name, err)
			}
		}
		into[Element{name, key}] = value
	}
	return nil
}

// verdictChain finds the chain in a verdict's attributes (each: length, type, data, on
// four bytes), where it is the attribute NFTA_VERDICT_CHAIN.
func verdictChain(b []byte) string {
	const header, chainAttribute = 4, 2
	for len(b) >= header {
		n := int(binary.NativeEndian.Uint16(b))
		if n < header || n > len(b) {
			return ""
		}
		if binary.NativeEndian.Uint16(b[2:])&0x3fff == chainAttribute {
			chain := b[header:n]
			for len(chain) > 0 && chain[len(chain)-1] == 0 {
				chain = chain[:len(chain)-1]
			}
			return string(chain)
		}
		b = b[min((n+3)&^3, len(b)):]
	}
	return ""
}
