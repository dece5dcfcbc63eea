package sources

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

// signedObject is a commit or annotated tag, taken apart into what was signed and the
// signature, from the very bytes that its hash names.
type signedObject struct {
	hash plumbing.Hash
	// payload is what the signature is over.
	payload []byte
	// signature is armored; empty: the object is not signed.
	signature string
	// headers are the lines before the message, without signatures.
	headers map[string]string
	// when is the committer's or tagger's time.
	when time.Time
}

var errNotSigned = errors.New("it is not signed")

// signed reads a commit or tag. An object whose bytes do not have its hash is refused.
func (o *objects) signed(h plumbing.Hash, kind plumbing.ObjectType) (signedObject, error) {
	raw, err := o.raw(h, kind)
	if err != nil {
		return signedObject{}, err
	}
	if plumbing.ComputeHash(kind, raw) != h {
		return signedObject{}, fmt.Errorf("the object's content is not that of %s", h)
	}
	s := signedObject{hash: h}
	if kind == plumbing.TagObject {
		s.payload, s.signature = splitTag(raw)
	} else if s.payload, s.signature, err = splitCommit(raw); err != nil {
		return s, err
	}
	return s, s.read(kind)
}

// raw is an object's content.
func (o *objects) raw(h plumbing.Hash, kind plumbing.ObjectType) ([]byte, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	raw, err := o.read(kind, h)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", kind, h, err)
	}
	return slices.Clone(raw), nil
}

// splitCommit takes the gpgsig headers out of a commit, as git does to verify it. A
// commit with two signatures is refused: which one counts would be a guess.
func splitCommit(raw []byte) (payload []byte, signature string, err error) {
	var kept, sig bytes.Buffer
	found, in := 0, ""
	for rest := raw; len(rest) > 0; {
		line, after, _ := bytes.Cut(rest, []byte("\n"))
		if len(line) == 0 { // the message follows
			kept.Write(rest)
			break
		}
		whole := rest[:len(rest)-len(after)]
		rest = after
		name, value, _ := strings.Cut(string(line), " ")
		switch {
		case line[0] == ' ' && in != "":
			if in == "gpgsig" {
				sig.Write(line[1:])
				sig.WriteByte('\n')
			}
			continue
		case line[0] == ' ':
		case name == "gpgsig" || name == "gpgsig-sha256":
			if in = name; name == "gpgsig" {
				found++
				sig.WriteString(value + "\n")
			}
			continue
		default:
			in = ""
		}
		kept.Write(whole)
	}
	if found > 1 {
		return nil, "", errors.New("it has more than one signature")
	}
	return kept.Bytes(), sig.String(), nil
}

var armors = []string{"-----BEGIN PGP SIGNATURE-----", "-----BEGIN PGP MESSAGE-----", "-----BEGIN SSH SIGNATURE-----", "-----BEGIN SIGNED MESSAGE-----"}

// splitTag cuts the signature off a tag's end: it begins at the last line that opens one.
func splitTag(raw []byte) (payload []byte, signature string) {
	cut := len(raw)
	for at := 0; at < len(raw); {
		line := raw[at:]
		if i := bytes.IndexByte(line, '\n'); i >= 0 {
			line = line[:i]
		}
		for _, armor := range armors {
			if strings.HasPrefix(string(line), armor) {
				cut = at
			}
		}
		at += len(line) + 1
	}
	return raw[:cut], string(raw[cut:])
}

// read takes the headers out of the payload.
func (s *signedObject) read(kind plumbing.ObjectType) error {
	s.headers = map[string]string{}
	for line := range strings.Lines(string(s.payload)) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" {
			break
		}
		name, value, _ := strings.Cut(line, " ")
		if _, twice := s.headers[name]; twice && name != "parent" && name != "" && name != "mergetag" {
			return fmt.Errorf("it has two headers %q", name)
		}
		s.headers[name] = value
	}
	by := "committer"
	if kind == plumbing.TagObject {
		by = "tagger"
	}
	fields := strings.Fields(s.headers[by][strings.LastIndex(s.headers[by], ">")+1:])
	if len(fields) == 0 {
		return fmt.Errorf("it does not say when it was made")
	}
	seconds, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		return fmt.Errorf("it does not say when it was made")
	}
	s.when = time.Unix(seconds, 0)
	return nil
}
