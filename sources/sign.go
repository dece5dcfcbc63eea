package sources

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/memory"
	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"

	"slipway.dev/slipway/api"
)

// sshNamespace is what git signs commits and tags for.
const sshNamespace = "git"

// signer signs what Slipway writes; nil signs nothing.
type signer struct{ key ssh.Signer }

// signer is the key in the Secret, else the server's own.
func (c Credentials) signer(server ssh.Signer) (*signer, error) {
	switch {
	case len(c.signingKey) > 0:
		key, err := parseKey(c.signingKey, c.signingPassword)
		if err != nil {
			// Never fall back to another key, or to none: what is not signed may not be followed.
			return nil, fmt.Errorf("%w: signingKey is not an SSH private key that signingKeyPassword opens", ErrCredentials)
		}
		return &signer{key}, nil
	case server != nil:
		return &signer{server}, nil
	}
	return nil, nil
}

func parseKey(pem []byte, password string) (ssh.Signer, error) {
	if password != "" {
		return ssh.ParsePrivateKeyWithPassphrase(pem, []byte(password))
	}
	return ssh.ParsePrivateKey(pem)
}

// sign is the armored signature of an object's bytes; empty without a key.
func (s *signer) sign(encode func(plumbing.EncodedObject) error) (string, error) {
	if s == nil {
		return "", nil
	}
	raw := &plumbing.MemoryObject{}
	if err := encode(raw); err != nil {
		return "", err
	}
	r, err := raw.Reader()
	if err != nil {
		return "", err
	}
	content, err := io.ReadAll(r)
	if err != nil {
		return "", err
	}
	sig, err := sshsig.Sign(bytes.NewReader(content), s.key, sshsig.HashSHA512, sshNamespace)
	if err != nil {
		return "", fmt.Errorf("signing: %w", err)
	}
	return string(sshsig.Armor(sig)), nil
}

// write makes the commit object.
func (a attempt) write(made *memory.Storage, tree plumbing.Hash, parents []plumbing.Hash) (plumbing.Hash, error) {
	req, now := a.req, a.now().UTC().Truncate(time.Second)
	by := signature(a.by, now)
	who := by
	if req.Author.Name != "" {
		who = signature(req.Author, now)
	}
	trailers := req.Trailers
	if req.ID != "" {
		trailers = append(trailers[:len(trailers):len(trailers)], api.Trailer{Key: requestTrailer, Value: req.ID})
	}
	c := object.Commit{Author: who, Committer: by, Message: message(req.Message, trailers), TreeHash: tree, ParentHashes: parents}
	var err error
	if c.PGPSignature, err = a.signer.sign(c.EncodeWithoutSignature); err != nil {
		return plumbing.ZeroHash, err
	}
	obj := &plumbing.MemoryObject{}
	if err := c.Encode(obj); err != nil {
		return plumbing.ZeroHash, err
	}
	return made.SetEncodedObject(obj)
}

func signature(who api.Identity, when time.Time) object.Signature {
	s := object.Signature{Name: clean(who.Name), Email: clean(who.Email), When: when}
	if s.Name == "" {
		s.Name, s.Email = "Slipway", "slipway@localhost"
	}
	return s
}

// clean keeps a name from ending its header line.
func clean(s string) string {
	return strings.Join(strings.Fields(strings.NewReplacer("<", "", ">", "", "\x00", "").Replace(s)), " ")
}
