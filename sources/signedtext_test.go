package sources

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

func TestSignedText(t *testing.T) {
	t.Parallel()
	key := func() ssh.Signer {
		_, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		signer, err := ssh.NewSignerFromKey(private)
		if err != nil {
			t.Fatal(err)
		}
		return signer
	}
	mine, other := key(), key()
	sign := func(by ssh.Signer, namespace, text string) string {
		sig, err := sshsig.Sign(strings.NewReader(text), by, sshsig.HashSHA512, namespace)
		if err != nil {
			t.Fatal(err)
		}
		return string(sshsig.Armor(sig))
	}
	const namespace = "slipway-override"
	line := "ada@example.org " + authorized(mine.PublicKey())
	for name, c := range map[string]struct {
		signers, as, text, signature, want string
	}{
		"good":                       {line, "ada@example.org", "text", sign(mine, namespace, "text"), ""},
		"for the namespace":          {"*@example.org namespaces=\"slipway-*\" " + authorized(mine.PublicKey()), "ada@example.org", "text", sign(mine, namespace, "text"), ""},
		"another text":               {line, "ada@example.org", "other", sign(mine, namespace, "text"), "signature by SHA256:"},
		"for another namespace":      {line, "ada@example.org", "text", sign(mine, "git", "text"), "namespace does not match"},
		"by a key that is not there": {line, "ada@example.org", "text", sign(other, namespace, "text"), "not among the allowed signers"},
		"as somebody else":           {line, "bo@example.org", "text", sign(mine, namespace, "text"), "may not sign as bo@example.org"},
		"only commits":               {"ada@example.org namespaces=\"git\" " + authorized(mine.PublicKey()), "ada@example.org", "text", sign(mine, namespace, "text"), "not allowed to sign for namespace"},
		"a key that has expired":     {"ada@example.org valid-before=\"20200101\" " + authorized(mine.PublicKey()), "ada@example.org", "text", sign(mine, namespace, "text"), "has expired"},
		"no signature":               {line, "ada@example.org", "text", "nonsense", "cannot be read"},
		"signers that are nonsense":  {"nonsense", "ada@example.org", "text", sign(mine, namespace, "text"), "line 1"},
	} {
		signer, err := SignedText(secretOf(map[string]string{"allowed_signers": c.signers}), namespace, c.as, []byte(c.text), c.signature, time.Now())
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %q, %v, want %q", name, signer, err, c.want)
		}
		if err == nil && !bytes.Contains([]byte(signer), []byte("SHA256:")) {
			t.Errorf("%s: signed by %q", name, signer)
		}
	}
	if _, err := SignedText(secretOf(nil), namespace, "ada@example.org", nil, "", time.Now()); err != ErrNoSigners {
		t.Errorf("no signers: %v", err)
	}
}
