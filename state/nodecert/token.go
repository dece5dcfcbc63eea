package nodecert

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"regexp"
)

// Token lets nodes join: ID names it, Secret proves it, Authority is the hash of whom the node may
// trust. It is written ID.SECRET.AUTHORITY, all in hex.
type Token struct{ ID, Secret, Authority string }

// NewToken makes a token with 128 random bits.
func NewToken(authority string) Token {
	var b [21]byte
	rand.Read(b[:]) // never fails, by its contract
	return Token{ID: hex.EncodeToString(b[:5]), Secret: hex.EncodeToString(b[5:]), Authority: authority}
}

func (t Token) String() string { return t.ID + "." + t.Secret + "." + t.Authority }

// Kept is what a server keeps of the token's secret: with it nobody can join.
func (t Token) Kept() string {
	sum := sha256.Sum256([]byte(t.Secret))
	return hex.EncodeToString(sum[:])
}

var tokenShape = regexp.MustCompile(`^([0-9a-f]{10})\.([0-9a-f]{32})\.([0-9a-f]{64})$`)

// ParseToken reads a token. The error does not show it.
func ParseToken(s string) (Token, error) {
	m := tokenShape.FindStringSubmatch(s)
	if m == nil {
		return Token{}, errors.New("this is no token as `slipway node token` prints it")
	}
	return Token{m[1], m[2], m[3]}, nil
}
