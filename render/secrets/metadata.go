package secrets

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"
)

// defaultSuffix marks keys whose values stay plain where a file has no other rule.
const defaultSuffix = "_unencrypted"

// dataKeySize is that of AES-256, in bytes.
const dataKeySize = 32

// maxRecipients bounds how many keys a file may be sealed for.
const maxRecipients = 200

// metadata is what stands under a file's key `sops`.
type metadata struct {
	MAC                     string      `json:"mac"`
	LastModified            string      `json:"lastmodified"`
	Age                     []recipient `json:"age"`
	Groups                  []any       `json:"key_groups"`
	MACOnlyEncrypted        bool        `json:"mac_only_encrypted"`
	UnencryptedSuffix       string      `json:"unencrypted_suffix"`
	EncryptedSuffix         string      `json:"encrypted_suffix"`
	UnencryptedRegex        string      `json:"unencrypted_regex"`
	EncryptedRegex          string      `json:"encrypted_regex"`
	UnencryptedCommentRegex string      `json:"unencrypted_comment_regex"`
	EncryptedCommentRegex   string      `json:"encrypted_comment_regex"`

	modified time.Time
	pattern  *regexp.Regexp
}

// recipient is one for whom the data key is sealed.
type recipient struct {
	Name string `json:"recipient"`
	// Key is the sealed data key, armored.
	Key string `json:"enc"`
}

// readMetadata checks as much as can be checked without a key.
func readMetadata(m map[string]any) (*metadata, error) {
	raw, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	var meta metadata
	if err := json.Unmarshal(raw, &meta); err != nil {
		return nil, fmt.Errorf("has the wrong type: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	switch {
	case len(meta.Groups) > 0:
		return nil, errors.New("key_groups: data keys that are split among groups are not supported")
	case len(meta.Age) == 0:
		return nil, errors.New("holds no age recipient: encrypt the file with `sops --age`")
	case len(meta.Age) > maxRecipients:
		return nil, fmt.Errorf("holds more than %d recipients", maxRecipients)
	}
	if meta.modified, err = time.Parse(time.RFC3339, meta.LastModified); err != nil {
		return nil, errors.New("lastmodified is not a time as RFC 3339 writes it")
	}
	return &meta, meta.rule()
}

// rule prepares the one rule that a file may have about which values are sealed.
func (m *metadata) rule() (err error) {
	rules := []string{m.UnencryptedSuffix, m.EncryptedSuffix, m.UnencryptedRegex, m.EncryptedRegex, m.UnencryptedCommentRegex, m.EncryptedCommentRegex}
	given := len(rules) - len(slices.DeleteFunc(slices.Clone(rules), func(s string) bool { return s != "" }))
	switch {
	case given > 1:
		return errors.New("holds more than one rule about what is encrypted")
	case given == 0:
		m.UnencryptedSuffix = defaultSuffix
	}
	if pattern := m.UnencryptedRegex + m.EncryptedRegex; pattern != "" {
		if m.pattern, err = regexp.Compile(pattern); err != nil {
			return errors.New("encrypted_regex or unencrypted_regex is not a regular expression")
		}
	}
	return nil
}

// seals tells whether the value under these keys is sealed. Where comments decide, the
// value itself tells; the checksum holds it to that.
func (m *metadata) seals(keys []string, value any) bool {
	under := func(match func(string) bool) bool { return slices.ContainsFunc(keys, match) }
	switch {
	case m.UnencryptedSuffix != "":
		return !under(func(k string) bool { return strings.HasSuffix(k, m.UnencryptedSuffix) })
	case m.EncryptedSuffix != "":
		return under(func(k string) bool { return strings.HasSuffix(k, m.EncryptedSuffix) })
	case m.UnencryptedRegex != "":
		return !under(m.pattern.MatchString)
	case m.EncryptedRegex != "":
		return under(m.pattern.MatchString)
	}
	text, ok := value.(string)
	return ok && sealedValue.MatchString(text)
}

// dataKey opens the file's key with the first identity that fits.
func (m *metadata) dataKey(keys Keys) ([]byte, error) {
	var names []string
	for _, r := range m.Age {
		names = append(names, r.Name)
		if len(keys.Identities) == 0 {
			continue
		}
		opened, err := age.Decrypt(armor.NewReader(strings.NewReader(r.Key)), keys.Identities...)
		var none *age.NoIdentityMatchError
		if errors.As(err, &none) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("the data key for %s is damaged", r.Name)
		}
		key, err := io.ReadAll(io.LimitReader(opened, dataKeySize+1))
		if err != nil || len(key) != dataKeySize {
			return nil, fmt.Errorf("the data key for %s is damaged", r.Name)
		}
		return key, nil
	}
	where := "; keys come from " + keys.From
	if keys.From == "" {
		where = ""
	}
	if len(keys.Identities) == 0 {
		return nil, fmt.Errorf("is encrypted for %s, and there is no age key to open it%s", strings.Join(names, ", "), where)
	}
	return nil, fmt.Errorf("is encrypted for %s, and no age key at hand is one of these%s", strings.Join(names, ", "), where)
}

// ParseIdentities reads age keys as `age-keygen` writes them: one a line, `#` for comments.
// An error says the line, never the key.
func ParseIdentities(text []byte) ([]age.Identity, error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, nil
	}
	identities, err := age.ParseIdentities(bytes.NewReader(text))
	if err == nil {
		return identities, nil
	}
	line := 0
	for l := range strings.Lines(string(text)) {
		line++
		if l = strings.TrimSpace(l); l == "" || l[0] == '#' {
			continue
		}
		if _, err := age.ParseIdentities(strings.NewReader(l)); err != nil {
			return nil, fmt.Errorf("line %d is not an age key (AGE-SECRET-KEY-…)", line)
		}
	}
	return nil, errors.New("holds no age key (AGE-SECRET-KEY-…)")
}
