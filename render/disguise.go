package render

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	mathrand "math/rand/v2"
	"strings"

	"slipway.dev/slipway/render/template"
)

// disguise is the key that stand-ins are made with. They tell values apart, so that one
// which takes another's place is seen, and say nothing of them.
type disguise []byte

func newDisguise() disguise {
	key := make([]byte, sha256.Size)
	// It does not fail: crypto/rand ends the program before.
	_, _ = rand.Read(key)
	return key
}

func (d disguise) sum(of ...string) [sha256.Size]byte {
	h := hmac.New(sha256.New, d)
	h.Write([]byte(strings.Join(of, "\x00")))
	return [sha256.Size]byte(h.Sum(nil))
}

// generated stands for a parameter's value, in the form that its expression asks for.
func (d disguise) generated(expression string, of ...string) (string, error) {
	return template.Disguise(expression, mathrand.NewChaCha8(d.sum(of...)))
}

// encrypted stands for what a ciphertext holds; without a key all are alike.
func (d disguise) encrypted(ciphertext string) string {
	if d == nil {
		return Concealed
	}
	sum := d.sum(ciphertext)
	return Concealed + "-" + hex.EncodeToString(sum[:6])
}
