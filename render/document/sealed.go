package document

import (
	"fmt"
	"strconv"
	"time"

	"go.yaml.in/yaml/v3"
)

// sealedKey is the top-level key under which SOPS keeps what it needs to open a file.
const sealedKey = "sops"

// Sealed is what a file that SOPS encrypted says beside its objects. The first document
// of such a file has it; the file's Lists are not split, because a value is bound to its
// place in the whole document.
type Sealed struct {
	// Metadata is what stands under the key `sops`.
	Metadata Object `json:"metadata"`
	// Leaves are all values of all documents that are not null, in the order of the file:
	// SOPS's checksum is over them in that order.
	Leaves []Leaf `json:"leaves"`
}

// Leaf is the place of a value.
type Leaf struct {
	// Document is the index of its document among the file's.
	Document int `json:"document"`
	// At is the way to it: keys of objects, and indices of lists.
	At []string `json:"at"`
	// Field is the same way as validation writes it.
	Field string `json:"field"`
	// Time is set where YAML takes the text for a point in time: that time, by RFC 3339.
	Time string `json:"time,omitempty"`
}

// sealed finds SOPS's metadata in a file's first document; nil: the file is not encrypted.
func sealed(nodes []*yaml.Node) *yaml.Node {
	if len(nodes) == 0 || nodes[0].Kind != yaml.MappingNode {
		return nil
	}
	meta := child(nodes[0], sealedKey)
	if meta == nil || meta.Kind != yaml.MappingNode || child(meta, "mac") == nil {
		return nil
	}
	return meta
}

// sealedDocuments converts the documents of an encrypted file. If anything is wrong with
// it there are none: a part of it cannot be verified.
func (c *converter) sealedDocuments(meta *yaml.Node, nodes []*yaml.Node) []Document {
	var docs []Document
	s := &Sealed{}
	s.Metadata, _ = c.value(meta, sealedKey, 0).(map[string]any)
	for _, n := range nodes {
		if n.Kind != yaml.MappingNode {
			c.problem(n, "", "is %s, not an object", describe(n))
			continue
		}
		without(n, sealedKey)
		made := c.document(n)
		docs = append(docs, made...)
		if len(made) == 1 {
			c.leaves(s, len(docs)-1, n, nil, "")
		}
	}
	if len(c.problems) > 0 || len(docs) == 0 {
		return nil
	}
	docs[0].Sealed = s
	return docs
}

// without takes a key out of a mapping.
func without(n *yaml.Node, key string) {
	kept := n.Content[:0:0]
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value != key {
			kept = append(kept, n.Content[i], n.Content[i+1])
		}
	}
	n.Content = kept
}

func (c *converter) leaves(s *Sealed, doc int, n *yaml.Node, at []string, field string) {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			k := n.Content[i]
			if k.ShortTag() == "!!merge" || k.Kind != yaml.ScalarNode {
				c.problem(k, field, "an encrypted file holds no aliases and no merges")
				continue
			}
			c.leaves(s, doc, n.Content[i+1], append(at[:len(at):len(at)], k.Value), join(field, k.Value))
		}
	case yaml.SequenceNode:
		for i, item := range n.Content {
			c.leaves(s, doc, item, append(at[:len(at):len(at)], strconv.Itoa(i)), fmt.Sprintf("%s[%d]", field, i))
		}
	case yaml.AliasNode:
		c.problem(n, field, "an encrypted file holds no aliases and no merges")
	case yaml.ScalarNode:
		leaf := Leaf{Document: doc, At: at, Field: field}
		if n.ShortTag() == "!!null" {
			return
		}
		var when time.Time
		if n.ShortTag() == "!!timestamp" && n.Decode(&when) == nil {
			if text, err := when.MarshalText(); err == nil {
				leaf.Time = string(text)
			}
		}
		s.Leaves = append(s.Leaves, leaf)
	}
}
