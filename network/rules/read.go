package rules

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"
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
	if have[trust] != nil {
		if err := k.readEpoch(c); err != nil {
			return false, err
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
		var key string
		if l.ranges {
			key, err = decodeRange(el.Key, el.KeyEnd, l.key)
		} else {
			key, err = decode(el.Key, l.key)
		}
		if err != nil {
			return fmt.Errorf("set %s: %w", name, err)
		}
		value := ""
		switch {
		case l.isMap() && l.value[0].Name == verdict.Name:
			value = verdictText(el.Val)
		case l.isMap():
			if value, err = decode(el.Val, l.value); err != nil {
				return fmt.Errorf("set %s: %w", name, err)
			}
		}
		into[Element{name, key}] = value
	}
	return nil
}

// verdictText is a verdict as "goto chain", from its attributes (each: length, type, data, on
// four bytes).
func verdictText(b []byte) string {
	const header = 4
	kind, chain := "", ""
	for len(b) >= header {
		n := int(binary.NativeEndian.Uint16(b))
		if n < header || n > len(b) {
			break
		}
		data := b[header:n]
		switch binary.NativeEndian.Uint16(b[2:]) & 0x3fff {
		case unix.NFTA_VERDICT_CODE:
			for name, k := range verdictKinds {
				if len(data) == 4 && int32(binary.BigEndian.Uint32(data)) == int32(k) {
					kind = name
				}
			}
		case unix.NFTA_VERDICT_CHAIN:
			chain = strings.TrimRight(string(data), "\x00")
		}
		b = b[min((n+3)&^3, len(b)):]
	}
	return kind + " " + chain
}
