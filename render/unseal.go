package render

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/render/document"
	"slipway.dev/slipway/render/secrets"
)

// Keyring gives the keys that open an application's encrypted files. No key is no error:
// whatever is encrypted is a mistake of the file then.
type Keyring interface {
	Keys(ctx context.Context, application string) (secrets.Keys, error)
}

// Concealed is what stands for an encrypted value where there is no keyring.
const Concealed = "encrypted"

// identities asks the keyring once for each render.
func (v *values) identities(ctx context.Context) (secrets.Keys, error) {
	if v.keys != nil {
		return *v.keys, nil
	}
	keys := secrets.Keys{}
	if v.keyring != nil {
		var err error
		if keys, err = v.keyring.Keys(ctx, v.application); err != nil {
			return keys, fmt.Errorf("keys for encrypted files of %s: %w", v.application, err)
		}
	}
	v.keys = &keys
	return keys, nil
}

// unseal opens the encrypted files among the sources, in place. A file that cannot be
// opened as a whole gives no objects.
func (r *rendering) unseal(ctx context.Context, sources []source) (problems api.Problems, err error) {
	for i := range sources {
		s := &sources[i]
		if len(s.documents) == 0 || s.documents[0].Sealed == nil {
			continue
		}
		s.opened = true
		wrong, err := r.unsealOne(ctx, s)
		if err != nil {
			return nil, err
		}
		if len(wrong) > 0 {
			problems, s.documents = append(problems, wrong...), nil
		}
	}
	return problems, nil
}

func (r *rendering) unsealOne(ctx context.Context, s *source) (api.Problems, error) {
	keys, err := r.values.identities(ctx)
	if err != nil {
		return nil, err
	}
	if r.values.keyring == nil {
		problems := secrets.Conceal(s.file, s.documents, func(l document.Leaf, ciphertext string) string {
			return standIn(s.documents[l.Document].Object, l, r.values.disguise.encrypted(ciphertext))
		})
		s.documents = slices.DeleteFunc(splitLists(s.documents), func(d document.Document) bool {
			// Nothing can be said of an object whose kind is not known.
			return isConcealed(d.Object["kind"]) || isConcealed(d.Object["apiVersion"])
		})
		return problems, nil
	}
	opened, problems := secrets.Open(s.file, s.documents, keys)
	if len(problems) > 0 {
		return problems, nil
	}
	for _, o := range opened {
		d := s.documents[o.Document]
		if !o.Secret {
			origin := api.Origin{Line: d.Line, FieldLines: d.Lines}
			problems = append(problems, api.Problem{
				File: s.file, Line: origin.LineOf(o.Field), Field: o.Field,
				Message: "is encrypted, and not in a Secret: whatever else is neither sealed at rest nor masked where it is shown; encrypt with `--encrypted-regex '^(data|stringData)$'`",
			})
		}
		if o.Value {
			r.values.hide(o.Text)
		}
	}
	s.documents = splitLists(s.documents)
	return problems, nil
}

// standIn is what conceals a value: of the form that its field needs.
func standIn(object map[string]any, l document.Leaf, text string) string {
	_, value := secrets.InSecret(object, l.At)
	if value && len(l.At) >= 2 && l.At[len(l.At)-2] == "data" {
		return base64.StdEncoding.EncodeToString([]byte(text))
	}
	return text
}

func isConcealed(v any) bool {
	text, _ := v.(string)
	return strings.HasPrefix(text, Concealed)
}

// hide keeps a text, and what it encodes, out of messages. Texts of a few characters stand
// in messages anyway.
func (v *values) hide(text string) {
	if len(text) >= 4 {
		v.opened = append(v.opened, text)
	}
	if plain, err := base64.StdEncoding.DecodeString(text); err == nil && len(plain) >= 4 {
		v.opened = append(v.opened, string(plain))
	}
}

// splitLists replaces each List by its items, as the parser does with files that are plain.
func splitLists(docs []document.Document) []document.Document {
	var out []document.Document
	for _, d := range docs {
		kind, _ := d.Object["kind"].(string)
		items, isList := d.Object["items"].([]any)
		if !isList || !strings.HasSuffix(kind, "List") {
			out = append(out, d)
			continue
		}
		lines := linesOfObjects(d.Lines, "items[")
		for i, item := range items {
			m, ok := item.(map[string]any)
			if !ok {
				m = map[string]any{"items": item}
			}
			at := api.Origin{Line: d.Line, FieldLines: d.Lines}.LineOf(fmt.Sprintf("items[%d]", i))
			out = append(out, document.Document{Object: m, Line: at, Lines: lines[i]})
		}
	}
	return out
}
