package document

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"slipway.dev/slipway/api"
)

var (
	wholeNumber = regexp.MustCompile(`^[-+]?[0-9][0-9_]*$`)
	anyNumber   = regexp.MustCompile(`^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$`)
	plainTags   = map[string]bool{"!!str": true, "!!int": true, "!!float": true, "!!bool": true, "!!null": true, "!!map": true, "!!seq": true, "!!merge": true}
)

// converter turns syntax trees into values. The budget is shared by all documents of a file.
type converter struct {
	file     string
	problems api.Problems
	lines    map[string]int
	budget   int
	spent    bool
	// open holds the anchors that are being unfolded: one that holds itself has no end.
	open map[*yaml.Node]bool
}

// documents converts a document, or each item of a List.
func (c *converter) documents(n *yaml.Node) []Document {
	if n.Kind != yaml.MappingNode {
		c.problem(n, "", "is %s, not an object", describe(n))
		return nil
	}
	kind, items := child(n, "kind"), child(n, "items")
	if kind == nil || items == nil || items.Kind != yaml.SequenceNode || !strings.HasSuffix(kind.Value, "List") {
		return c.document(n)
	}
	var docs []Document
	for i, item := range items.Content {
		if item.Kind != yaml.MappingNode {
			c.problem(item, fmt.Sprintf("items[%d]", i), "is %s, not an object", describe(item))
			continue
		}
		for _, d := range c.documents(item) {
			if version := child(n, "apiVersion"); kind.Value != "List" && version != nil && d.Object["kind"] == nil {
				d.Object["kind"], d.Object["apiVersion"] = strings.TrimSuffix(kind.Value, "List"), version.Value
			}
			docs = append(docs, d)
		}
	}
	return docs
}

func (c *converter) document(n *yaml.Node) []Document {
	before := len(c.problems)
	c.lines = map[string]int{}
	object, _ := c.value(n, "", 0).(map[string]any)
	for i := before; i < len(c.problems); i++ {
		c.problems[i].Object = nameOf(object)
	}
	if object == nil || c.spent {
		return nil
	}
	return []Document{{Object: object, Line: n.Line, Lines: c.lines}}
}

// nameOf is `kind/name` as far as a broken object says it.
func nameOf(o map[string]any) string {
	kind, _ := o["kind"].(string)
	meta, _ := o["metadata"].(map[string]any)
	name, _ := meta["name"].(string)
	return strings.Trim(strings.ToLower(kind)+"/"+name, "/")
}

func (c *converter) problem(n *yaml.Node, path, format string, args ...any) {
	c.problems = append(c.problems, api.Problem{File: c.file, Line: n.Line, Field: path, Message: fmt.Sprintf(format, args...)})
}

// value converts a tree. After the budget is spent it returns nil all the way out.
func (c *converter) value(n *yaml.Node, path string, depth int) any {
	if c.budget--; c.budget < 0 || depth > MaxDepth {
		if !c.spent && c.budget < 0 {
			c.problem(n, path, "the file holds more than %d values once its aliases are unfolded", MaxValues)
		} else if !c.spent {
			c.problem(n, path, "nests deeper than %d levels", MaxDepth)
		}
		c.spent = true
		return nil
	}
	if _, known := c.lines[path]; c.lines != nil && path != "" && !known {
		c.lines[path] = n.Line
	}
	if !plainTags[n.ShortTag()] && n.Kind != yaml.AliasNode && !(n.Kind == yaml.ScalarNode && n.Style&yaml.TaggedStyle == 0) {
		c.problem(n, path, "tag %s is not allowed", n.Tag)
		return nil
	}
	switch n.Kind {
	case yaml.MappingNode:
		return c.mapping(n, path, depth)
	case yaml.SequenceNode:
		list := make([]any, len(n.Content))
		for i, item := range n.Content {
			list[i] = c.value(item, fmt.Sprintf("%s[%d]", path, i), depth+1)
		}
		return list
	case yaml.AliasNode:
		var v any
		c.follow(n, path, func(target *yaml.Node) { v = c.value(target, path, depth+1) })
		return v
	}
	return c.scalar(n, path)
}

// follow visits what an alias stands for, unless that is going on already.
func (c *converter) follow(n *yaml.Node, path string, visit func(*yaml.Node)) {
	if c.open[n.Alias] {
		c.problem(n, path, "alias *%s holds itself", n.Value)
		return
	}
	if c.open == nil {
		c.open = map[*yaml.Node]bool{}
	}
	c.open[n.Alias] = true
	visit(n.Alias)
	delete(c.open, n.Alias)
}

func (c *converter) mapping(n *yaml.Node, path string, depth int) map[string]any {
	m, seen := map[string]any{}, map[string]int{}
	var merges []*yaml.Node
	for i := 0; i+1 < len(n.Content) && !c.spent; i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if k.ShortTag() == "!!merge" {
			merges = append(merges, v)
			continue
		}
		key, ok := c.key(k, path)
		if !ok {
			continue
		}
		at := join(path, key)
		if first, twice := seen[key]; twice {
			c.problem(k, at, "is given twice: first on line %d", first)
			continue
		}
		seen[key] = k.Line
		if c.lines != nil {
			c.lines[at] = k.Line
		}
		m[key] = c.value(v, at, depth+1)
	}
	for _, merge := range merges {
		c.merge(m, merge, path, depth)
	}
	return m
}

// merge adds the keys that `<<` brings and that the mapping, or an earlier merge, does not have.
func (c *converter) merge(into map[string]any, n *yaml.Node, path string, depth int) {
	switch {
	case c.spent:
	case depth > MaxDepth:
		c.problem(n, path, "nests deeper than %d levels", MaxDepth)
		c.spent = true
	case n.Kind == yaml.AliasNode:
		c.follow(n, path, func(target *yaml.Node) { c.merge(into, target, path, depth+1) })
	case n.Kind == yaml.SequenceNode:
		for _, one := range n.Content {
			c.merge(into, one, path, depth+1)
		}
	case n.Kind == yaml.MappingNode:
		for key, value := range c.mapping(n, path, depth+1) {
			if _, has := into[key]; !has {
				into[key] = value
			}
		}
	default:
		c.problem(n, path, "<< takes a mapping, not %s", describe(n))
	}
}

// key gives a mapping's key as text, as JSON needs it: numbers and booleans are taken as written.
func (c *converter) key(k *yaml.Node, path string) (string, bool) {
	if k.Kind == yaml.AliasNode {
		k = k.Alias
	}
	if k.Kind != yaml.ScalarNode || k.ShortTag() == "!!null" {
		c.problem(k, path, "a key must be text, not %s", describe(k))
		return "", false
	}
	return k.Value, true
}

func (c *converter) scalar(n *yaml.Node, path string) any {
	tag := n.ShortTag()
	if tag == "!!timestamp" || tag == "!!str" {
		if n.Style == 0 && anyNumber.MatchString(n.Value) {
			c.problem(n, path, "number %s is out of range", cut(n.Value))
		}
		return n.Value
	}
	var v any
	if err := n.Decode(&v); err != nil {
		c.problem(n, path, "%s is not a valid %s", cut(n.Value), strings.TrimPrefix(tag, "!!"))
		return nil
	}
	switch number := v.(type) {
	case int:
		return int64(number)
	case uint64:
		c.problem(n, path, "integer %s is out of range", cut(n.Value))
		return nil
	case float64:
		if math.IsNaN(number) || math.IsInf(number, 0) {
			c.problem(n, path, "%s is not a number that JSON has", cut(n.Value))
			return nil
		}
		if wholeNumber.MatchString(n.Value) {
			c.problem(n, path, "integer %s is out of range", cut(n.Value))
			return nil
		}
	}
	return v
}

func cut(s string) string {
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// child is the value of a mapping's key, or nil.
func child(n *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "an object"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	switch n.ShortTag() {
	case "!!null":
		return "null"
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "a boolean"
	}
	return "the text " + strconv.Quote(cut(n.Value))
}
