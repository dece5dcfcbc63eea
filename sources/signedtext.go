package sources

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
	corev1 "k8s.io/api/core/v1"
)

// ErrNoSigners says that nobody is allowed to sign.
var ErrNoSigners = errors.New("there are no allowed signers")

// SignedText verifies an armored SSH signature, made for a namespace (ssh-keygen -Y sign -n),
// of a text that is no git object. The signers are those of a Secret, as for commits; the
// one whose key it is must be allowed to sign as the person with the address `as`, for that
// namespace, now. It answers who signed: `principals (key's fingerprint)`.
func SignedText(signers *corev1.Secret, namespace, as string, text []byte, armored string, now time.Time) (string, error) {
	if len(signers.Data) == 0 {
		return "", ErrNoSigners
	}
	k, err := keyringFrom(signers)
	if err != nil {
		return "", fmt.Errorf("secret %s: %w", signers.Name, err)
	}
	sig, err := sshsig.Unarmor([]byte(armored))
	if err != nil {
		return "", errors.New("the SSH signature cannot be read")
	}
	print := ssh.FingerprintSHA256(sig.PublicKey)
	refusal := fmt.Errorf("the key %s is not among the allowed signers", print)
	for _, s := range k.ssh {
		principals, ok, err := s.is(sig.PublicKey, now)
		if !ok {
			continue
		}
		if err == nil {
			err = s.allows(namespace, now)
		}
		if err == nil && !matchList(principals, as) {
			err = fmt.Errorf("it may not sign as %s", as)
		}
		if err == nil {
			err = checkKey(sig.PublicKey)
		}
		if err != nil {
			refusal = fmt.Errorf("the key %s: %w", print, err)
			continue
		}
		if err := sshsig.Verify(bytes.NewReader(text), sig, sig.PublicKey, sig.HashAlgorithm, namespace); err != nil {
			return "", fmt.Errorf("the signature by %s: %w", print, err)
		}
		return principals + " (" + print + ")", nil
	}
	return "", refusal
}
