package rules

import (
	"fmt"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// batch queues elements for one transaction of a connection, some hundred to a message.
type batch struct {
	k           *Kernel
	c           *nftables.Conn
	remove, add map[Set]*part
	// chains that verdicts go to and that the kernel does not have yet.
	chains map[string]bool
}

// part is the elements of one message.
type part struct {
	elements []nftables.SetElement
	bytes    []byte // what the elements' keys and values are made of
}

// elementsPerMessage keeps a message's attribute below its limit of 64 KiB.
const elementsPerMessage = 400

func (k *Kernel) batch(c *nftables.Conn) *batch {
	return &batch{k: k, c: c, remove: map[Set]*part{}, add: map[Set]*part{}, chains: map[string]bool{}}
}

// put queues an element to be added. What is to be removed goes first.
func (b *batch) put(e Element, value string) error {
	p := partOf(b.add, e.Set)
	if err := p.append(e, value); err != nil {
		return err
	}
	if v := p.elements[len(p.elements)-1].VerdictData; v != nil && v.Kind == expr.VerdictGoto && !b.k.chains[v.Chain] && !b.chains[v.Chain] {
		ch, err := spreading(v.Chain)
		if err != nil {
			return err
		}
		b.k.addChain(b.c, ch)
		b.chains[v.Chain] = true
	}
	if len(p.elements) < elementsPerMessage {
		return nil
	}
	return p.queue(b.c.SetAddElements, b.k.set(e.Set))
}

func (b *batch) drop(e Element) error {
	p := partOf(b.remove, e.Set)
	if err := p.append(e, ""); err != nil {
		return err
	}
	if len(p.elements) < elementsPerMessage {
		return nil
	}
	return p.queue(b.c.SetDeleteElements, b.k.set(e.Set))
}

func partOf(parts map[Set]*part, name Set) *part {
	p := parts[name]
	if p == nil {
		p = &part{}
		parts[name] = p
	}
	return p
}

func (p *part) append(e Element, value string) (err error) {
	var el nftables.SetElement
	el, p.bytes, err = elementIn(p.bytes, e, value)
	p.elements = append(p.elements, el)
	return err
}

// queue turns the elements to a message, after which nothing refers to them.
func (p *part) queue(queue func(*nftables.Set, []nftables.SetElement) error, to *nftables.Set) error {
	if len(p.elements) == 0 {
		return nil
	}
	err := queue(to, p.elements)
	p.elements, p.bytes = p.elements[:0], p.bytes[:0]
	return err
}

// send sends what is queued as one transaction.
func (b *batch) send() error {
	for _, name := range setNames() {
		if err := partOf(b.remove, name).queue(b.c.SetDeleteElements, b.k.set(name)); err != nil {
			return err
		}
	}
	for _, name := range setNames() {
		if err := partOf(b.add, name).queue(b.c.SetAddElements, b.k.set(name)); err != nil {
			return err
		}
	}
	if err := b.c.Flush(); err != nil {
		return err
	}
	for name := range b.chains {
		b.k.chains[name] = true
	}
	// Were somebody else's change counted in between, the next Check finds it out.
	b.k.generation++
	b.k.own++
	return nil
}

// verdictKinds are the words before a chain.
var verdictKinds = map[string]expr.VerdictKind{"goto": expr.VerdictGoto, "jump": expr.VerdictJump}

func elementOf(e Element, value string) (nftables.SetElement, error) {
	out, _, err := elementIn(nil, e, value)
	return out, err
}

// elementIn makes an element out of bytes that it appends to.
func elementIn(bytes []byte, e Element, value string) (out nftables.SetElement, _ []byte, err error) {
	l, ok := layouts[e.Set]
	if !ok {
		return out, bytes, fmt.Errorf("there is no set %q", e.Set)
	}
	if l.ranges {
		out.Key, out.KeyEnd, err = encodeRange(e.Key, l.key)
	} else {
		out.Key, bytes, err = encodeIn(bytes, e.Key, l.key)
	}
	if err != nil || !l.isMap() || value == "" {
		return out, bytes, err
	}
	if l.value[0].Name == verdict.Name {
		kind, target, _ := strings.Cut(value, " ")
		out.VerdictData = &expr.Verdict{Kind: verdictKinds[kind], Chain: target}
		return out, bytes, nil
	}
	out.Val, bytes, err = encodeIn(bytes, value, l.value)
	return out, bytes, err
}
