package secrets

import (
	"crypto/sha512"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"filippo.io/age"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/render/document"
)

// Keys open files.
type Keys struct {
	Identities []age.Identity
	// Digest is another one for other keys. It says nothing about them.
	Digest string
	// From says, for people, where keys are looked for.
	From string
}

// Opened is a value that was sealed.
type Opened struct {
	document.Leaf
	// Text is the plain value.
	Text string
	// Secret tells whether it belongs to a Secret, or to one of a List.
	Secret bool
	// Value tells whether it is among that Secret's data or stringData.
	Value bool
}

// initialMAC begins the checksum of files whose checksum is over sealed values only: with
// it, neither kind of checksum passes for the other. It is SOPS's.
var initialMAC = []byte{
	0x8a, 0x3f, 0xd2, 0xad, 0x54, 0xce, 0x66, 0x52, 0x7b, 0x10, 0x34, 0xf3, 0xd1, 0x47, 0xbe, 0x0b,
	0x0b, 0x97, 0x5b, 0x3b, 0xf4, 0x4f, 0x72, 0xc6, 0xfd, 0xad, 0xec, 0x81, 0x76, 0xf2, 0x7d, 0x69,
}

// Open opens the documents of an encrypted file in place. On problems, which say file, line
// and field and never a value, the documents are not to be used.
func Open(file string, docs []document.Document, keys Keys) ([]Opened, api.Problems) {
	sealed := docs[0].Sealed
	wrong := func(why error) api.Problems {
		return api.Problems{{File: file, Line: docs[0].Line, Field: "sops", Message: why.Error()}}
	}
	meta, err := readMetadata(sealed.Metadata)
	if err != nil {
		return nil, wrong(err)
	}
	key, err := meta.dataKey(keys)
	if err != nil {
		return nil, wrong(err)
	}
	opened, sum, problems := meta.openLeaves(file, docs, key)
	if len(problems) > 0 {
		return nil, problems
	}
	mac, err := open(key, meta.MAC, meta.modified.Format(time.RFC3339))
	text, _ := mac.(string)
	if err != nil || text == "" {
		return nil, wrong(errors.New("mac cannot be opened: it, or lastmodified, was altered"))
	}
	if subtle.ConstantTimeCompare([]byte(text), []byte(sum)) != 1 {
		return nil, wrong(errors.New("mac does not fit the values: one was altered, moved, added or taken away after the file was encrypted"))
	}
	return opened, nil
}

// openLeaves opens each sealed value and sums up what the checksum is over.
func (m *metadata) openLeaves(file string, docs []document.Document, key []byte) (opened []Opened, sum string, problems api.Problems) {
	hash := sha512.New()
	if m.MACOnlyEncrypted {
		hash.Write(initialMAC)
	}
	for _, leaf := range docs[0].Sealed.Leaves {
		if err := m.openLeaf(docs, leaf, key, hash.Write, &opened); err != nil {
			p := api.Problem{File: file, Field: leaf.Field, Message: err.Error()}
			if leaf.Document < len(docs) {
				d := docs[leaf.Document]
				p.Line = api.Origin{Line: d.Line, FieldLines: d.Lines}.LineOf(leaf.Field)
			}
			problems = append(problems, p)
		}
	}
	for i, o := range opened {
		opened[i].Secret, opened[i].Value = InSecret(docs[o.Document].Object, o.At)
	}
	for _, d := range docs {
		dropComments(map[string]any(d.Object))
	}
	return opened, strings.ToUpper(hex.EncodeToString(hash.Sum(nil))), problems
}

func (m *metadata) openLeaf(docs []document.Document, leaf document.Leaf, key []byte, add func([]byte) (int, error), opened *[]Opened) error {
	if leaf.Document < 0 || leaf.Document >= len(docs) {
		return errLost
	}
	at, err := find(docs[leaf.Document].Object, leaf.At)
	if err != nil {
		return err
	}
	value := at.value
	if leaf.Time != "" {
		if value, err = time.Parse(time.RFC3339Nano, leaf.Time); err != nil {
			return errLost
		}
	}
	isSealed := m.seals(at.keys, value)
	if isSealed {
		text, ok := value.(string)
		if !ok {
			return errNotSealed
		}
		if value, err = open(key, text, strings.Join(at.keys, ":")+":"); err != nil {
			return err
		}
	}
	if _, is := value.(comment); is {
		at.set(value)
		return nil
	}
	raw, err := bytesOf(value)
	if err != nil {
		return err
	}
	if isSealed || !m.MACOnlyEncrypted {
		_, _ = add(raw) // A hash takes everything.
	}
	if !isSealed {
		return nil
	}
	if !utf8.Valid(raw) {
		return errors.New("holds bytes that are not text: encode them by base64 before the file is encrypted")
	}
	if _, isTime := value.(time.Time); isTime {
		value = string(raw)
	}
	at.set(value)
	*opened = append(*opened, Opened{Leaf: leaf, Text: string(raw)})
	return nil
}

// InSecret tells whether a place is in a Secret, or in one of a List, and whether it is
// among its values. A List's own kind, version and metadata belong to no object.
func InSecret(object map[string]any, at []string) (secret, value bool) {
	for len(at) >= 2 && at[0] == "items" {
		items, _ := object["items"].([]any)
		i, err := strconv.Atoi(at[1])
		if err != nil || i < 0 || i >= len(items) {
			return false, false
		}
		object, _ = items[i].(map[string]any)
		at = at[2:]
	}
	kind, _ := object["kind"].(string)
	if kind == "Secret" {
		return true, len(at) > 0 && (at[0] == "data" || at[0] == "stringData")
	}
	return strings.HasSuffix(kind, "List"), false
}

// dropComments takes opened comments out of lists: SOPS seals a comment there as an item.
func dropComments(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, one := range v {
			v[k] = dropComments(one)
		}
	case []any:
		kept := v[:0]
		for _, one := range v {
			if _, is := one.(comment); !is {
				kept = append(kept, dropComments(one))
			}
		}
		return kept
	}
	return v
}

// errLost is a place that the child named and that is not there.
var errLost = errors.New("is not where the file's reader found it")

// spot is a value in a tree.
type spot struct {
	value any
	set   func(any)
	// keys are those of the objects above it; indices of lists are not among them.
	keys []string
}

func find(root map[string]any, at []string) (spot, error) {
	s := spot{value: map[string]any(root)}
	for _, step := range at {
		switch in := s.value.(type) {
		case map[string]any:
			v, ok := in[step]
			if !ok {
				return s, errLost
			}
			s.value, s.keys, s.set = v, append(s.keys, step), func(v any) { in[step] = v }
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(in) {
				return s, errLost
			}
			s.value, s.set = in[i], func(v any) { in[i] = v }
		default:
			return s, errLost
		}
	}
	if s.set == nil {
		return s, errLost
	}
	return s, nil
}

// Conceal puts stand-ins in the place of all sealed values, for checks without keys: a
// number where a number is sealed, else the text that stand gives for the ciphertext. The
// checksum is not looked at.
func Conceal(file string, docs []document.Document, stand func(at document.Leaf, ciphertext string) string) api.Problems {
	meta, err := readMetadata(docs[0].Sealed.Metadata)
	if err != nil {
		return api.Problems{{File: file, Line: docs[0].Line, Field: "sops", Message: err.Error()}}
	}
	var problems api.Problems
	for _, leaf := range slices.Clone(docs[0].Sealed.Leaves) {
		at, err := find(docs[leaf.Document].Object, leaf.At)
		if err != nil || !meta.seals(at.keys, at.value) {
			continue
		}
		text, _ := at.value.(string)
		switch kind := sealedValue.FindStringSubmatch(text); {
		case kind == nil && text != "":
			d := docs[leaf.Document]
			problems = append(problems, api.Problem{File: file, Line: api.Origin{Line: d.Line, FieldLines: d.Lines}.LineOf(leaf.Field), Field: leaf.Field, Message: fmt.Sprint(errNotSealed)})
		case kind == nil:
		case kind[4] == "int" || kind[4] == "float":
			at.set(int64(1))
		case kind[4] == "comment":
			at.set(comment{})
		case kind[4] == "bool":
			at.set(false)
		default:
			at.set(stand(leaf, text))
		}
	}
	for _, d := range docs {
		dropComments(map[string]any(d.Object))
	}
	return problems
}
