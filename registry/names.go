package registry

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"hash"
	"regexp"
	"strconv"
	"strings"
)

// The grammars are those of the OCI distribution specification 1.1.
var (
	nameGrammar = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)
	tagGrammar  = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)
	idGrammar   = regexp.MustCompile(`^[0-9a-f]{32}$`)
)

// maxName is the longest repository name, in bytes; clients limit host and name
// together to 255.
const maxName = 255

func validName(name string) bool { return len(name) <= maxName && nameGrammar.MatchString(name) }
func validTag(tag string) bool   { return tagGrammar.MatchString(tag) }

// digest is an algorithm and the lower-case hexadecimal sum of some content.
type digest struct {
	alg string
	hex string
}

func (d digest) String() string { return d.alg + ":" + d.hex }
func (d digest) zero() bool     { return d.alg == "" }

// hashes are the algorithms that the specification registers.
var hashes = map[string]func() hash.Hash{"sha256": sha256.New, "sha512": sha512.New}

// parseDigest accepts sha256 and sha512 in their one canonical spelling.
func parseDigest(s string) (digest, error) {
	alg, sum, ok := strings.Cut(s, ":")
	newHash := hashes[alg]
	if !ok || newHash == nil {
		return digest{}, fmt.Errorf("digest %q: want sha256:<hex> or sha512:<hex>", clip(s))
	}
	if len(sum) != 2*newHash().Size() || sum != strings.ToLower(sum) {
		return digest{}, fmt.Errorf("digest %q: want %d lower-case hexadecimal digits", clip(s), 2*newHash().Size())
	}
	if _, err := hex.DecodeString(sum); err != nil {
		return digest{}, fmt.Errorf("digest %q: not hexadecimal", clip(s))
	}
	return digest{alg, sum}, nil
}

func digestOf(alg string, content []byte) digest {
	h := hashes[alg]()
	h.Write(content)
	return sum(alg, h)
}

func sum(alg string, h hash.Hash) digest { return digest{alg, hex.EncodeToString(h.Sum(nil))} }

// chunk is the Content-Range of an upload's part: both ends inclusive.
type chunk struct{ first, last int64 }

func (c chunk) length() int64 { return c.last - c.first + 1 }

// parseChunk reads `first-last`, the form that the specification gives Content-Range
// on uploads. It has neither a unit nor a total.
func parseChunk(s string) (chunk, error) {
	a, b, ok := strings.Cut(s, "-")
	first, err1 := parseSize(a)
	last, err2 := parseSize(b)
	if !ok || err1 != nil || err2 != nil || last < first {
		return chunk{}, fmt.Errorf("Content-Range %q: want <first>-<last>", clip(s))
	}
	return chunk{first, last}, nil
}

// parseSize reads a number of bytes below 2^62; signs and spaces are refused.
func parseSize(s string) (int64, error) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, fmt.Errorf("%q is not a number", clip(s))
	}
	return strconv.ParseInt(s, 10, 63)
}

// clip keeps hostile values short in errors and logs.
func clip(s string) string {
	if len(s) > 120 {
		return s[:120] + "…"
	}
	return s
}
