package sources

import (
	"bytes"
	"crypto/rsa"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// allowedSigner is one line of an allowed signers file, as ssh-keygen(1) describes it
// under ALLOWED SIGNERS, or one public key.
type allowedSigner struct {
	// principals are patterns, separated by commas.
	principals string
	key        ssh.PublicKey
	// authority says that key signs certificates whose keys sign.
	authority bool
	// namespaces are patterns; empty: all.
	namespaces string
	// after and before bound when a signature is good; zero: they do not.
	after, before time.Time
}

// parseAllowedSigners reads an allowed signers file; an error names the line.
func parseAllowedSigners(text string) ([]allowedSigner, error) {
	var all []allowedSigner
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		s, err := parseAllowedSigner(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		all = append(all, s)
	}
	return all, nil
}

func parseAllowedSigner(line string) (allowedSigner, error) {
	var s allowedSigner
	rest := ""
	if quoted, ok := strings.CutPrefix(line, `"`); ok {
		if s.principals, rest, ok = strings.Cut(quoted, `"`); !ok {
			return s, errors.New("the principals' quote is not closed")
		}
	} else if i := strings.IndexAny(line, " \t"); i > 0 {
		s.principals, rest = line[:i], line[i:]
	}
	rest = strings.TrimSpace(rest)
	if s.principals == "" || rest == "" {
		return s, errors.New("principals and a key are needed")
	}
	key, _, options, more, err := ssh.ParseAuthorizedKey([]byte(rest))
	if err != nil || len(more) > 0 {
		return s, errors.New("no public key after the principals and options")
	}
	s.key = key
	for _, o := range options {
		if err := s.option(o); err != nil {
			return s, err
		}
	}
	if !s.after.IsZero() && !s.before.IsZero() && !s.after.Before(s.before) {
		return s, errors.New("valid-after is not before valid-before")
	}
	return s, checkKey(key)
}

func (s *allowedSigner) option(o string) error {
	name, value, has := strings.Cut(o, "=")
	value = strings.Trim(value, `"`)
	var err error
	switch strings.ToLower(name) {
	case "cert-authority":
		s.authority = true
	case "namespaces":
		if s.namespaces = value; !has || value == "" {
			err = errors.New("namespaces is empty")
		}
	case "valid-after":
		s.after, err = signerTime(value)
	case "valid-before":
		s.before, err = signerTime(value)
	default:
		err = fmt.Errorf("option %.40q is not known", name)
	}
	return err
}

// signerTime reads YYYYMMDD and YYYYMMDDHHMM[SS], with Z for UTC; else it is local time.
func signerTime(value string) (time.Time, error) {
	where := time.Local
	digits, utc := strings.CutSuffix(value, "Z")
	if utc {
		where = time.UTC
	}
	layout, ok := map[int]string{8: "20060102", 12: "200601021504", 14: "20060102150405"}[len(digits)]
	if !ok {
		return time.Time{}, fmt.Errorf("%.40q is not a time such as 20300131 or 203001311200Z", value)
	}
	t, err := time.ParseInLocation(layout, digits, where)
	if err != nil {
		return t, fmt.Errorf("%.40q is not a time such as 20300131 or 203001311200Z", value)
	}
	return t, nil
}

// checkKey refuses keys that are too weak to stand for somebody.
func checkKey(key ssh.PublicKey) error {
	if key.Type() == "ssh-dss" {
		return errors.New("DSA keys are too weak")
	}
	if c, ok := key.(ssh.CryptoPublicKey); ok {
		if k, ok := c.CryptoPublicKey().(*rsa.PublicKey); ok && k.N.BitLen() < 2048 {
			return fmt.Errorf("an RSA key of %d bits is too weak", k.N.BitLen())
		}
	}
	return nil
}

// is says whether the line is about the key of a signature; for a certificate it
// answers the principal that it is for.
func (s allowedSigner) is(key ssh.PublicKey, at time.Time) (principal string, ok bool, err error) {
	cert, isCert := key.(*ssh.Certificate)
	if !s.authority || !isCert {
		return s.principals, !s.authority && !isCert && bytes.Equal(s.key.Marshal(), key.Marshal()), nil
	}
	if !bytes.Equal(cert.SignatureKey.Marshal(), s.key.Marshal()) {
		return "", false, nil
	}
	if cert.CertType != ssh.UserCert {
		return "", true, errors.New("the certificate is not a user's")
	}
	for _, p := range cert.ValidPrincipals {
		if matchList(s.principals, p) {
			checker := ssh.CertChecker{Clock: func() time.Time { return at }}
			return p, true, checker.CheckCert(p, cert)
		}
	}
	return "", true, errors.New("the certificate is for none of the principals")
}

// allows says what speaks against a signature for a namespace that was made at when.
func (s allowedSigner) allows(namespace string, when time.Time) error {
	switch {
	case s.namespaces != "" && !matchList(s.namespaces, namespace):
		return fmt.Errorf("the key is not allowed to sign for namespace %q", namespace)
	case !s.after.IsZero() && when.Before(s.after):
		return fmt.Errorf("the key is valid only after %s", s.after.UTC().Format(time.RFC3339))
	case !s.before.IsZero() && !when.Before(s.before):
		return fmt.Errorf("the key is valid only before %s: it has expired", s.before.UTC().Format(time.RFC3339))
	}
	return nil
}

// matchList matches OpenSSH's lists of patterns with `*` and `?`; a pattern with `!`
// that matches refuses.
func matchList(list, word string) bool {
	yes := false
	for pattern := range strings.SplitSeq(list, ",") {
		pattern, not := strings.CutPrefix(strings.TrimSpace(pattern), "!")
		if !matchPattern(pattern, word) {
			continue
		}
		if not {
			return false
		}
		yes = true
	}
	return yes
}

func matchPattern(pattern, word string) bool {
	// path.Match's other metacharacters and its separator have no meaning here.
	quote := strings.NewReplacer(`\`, `\\`, `[`, `\[`, `/`, "\x00")
	ok, err := path.Match(quote.Replace(pattern), strings.ReplaceAll(word, "/", "\x00"))
	return ok && err == nil
}
