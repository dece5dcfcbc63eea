package sources

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
	corev1 "k8s.io/api/core/v1"
)

// keyring is whose signatures a repository asks for.
type keyring struct {
	pgp openpgp.EntityList
	ssh []allowedSigner
}

// maxKeyring bounds one key of a Secret of public keys.
const maxKeyring = 1 << 20

// keyringFrom reads a Secret: keys whose names end in allowed_signers are ssh-keygen's
// files, those that end in .pub hold one SSH public key, every other one armored
// OpenPGP public keys. What cannot be read is an error: a signer who is left out by
// mistake must not go unseen.
func keyringFrom(secret *corev1.Secret) (keyring, error) {
	var k keyring
	for _, name := range slices.Sorted(maps.Keys(secret.Data)) {
		text := secret.Data[name]
		err := error(nil)
		switch {
		case len(text) > maxKeyring:
			err = fmt.Errorf("more than %d bytes", maxKeyring)
		case strings.HasSuffix(name, "allowed_signers"):
			var more []allowedSigner
			more, err = parseAllowedSigners(string(text))
			k.ssh = append(k.ssh, more...)
		case strings.HasSuffix(name, ".pub"):
			err = k.publicKey(name, text)
		default:
			var more openpgp.EntityList
			if more, err = openpgp.ReadArmoredKeyRing(bytes.NewReader(text)); err != nil {
				err = errors.New("no armored OpenPGP public keys")
			}
			k.pgp = append(k.pgp, more...)
		}
		if err != nil {
			return keyring{}, fmt.Errorf("key %q: %w", name, err)
		}
	}
	if len(k.pgp) == 0 && len(k.ssh) == 0 {
		return k, errors.New("it holds no public key")
	}
	return k, nil
}

func (k *keyring) publicKey(name string, text []byte) error {
	key, comment, options, rest, err := ssh.ParseAuthorizedKey(text)
	if err != nil || len(options) > 0 || len(bytes.TrimSpace(rest)) > 0 {
		return errors.New("not one SSH public key")
	}
	if comment == "" {
		comment = strings.TrimSuffix(name, ".pub")
	}
	k.ssh = append(k.ssh, allowedSigner{principals: comment, key: key})
	return checkKey(key)
}

// check says who signed an object. The key must be good when the object says that it
// was made, and now, which is zero for what has been in force before.
func (k keyring) check(o signedObject, now time.Time) (signer string, err error) {
	switch {
	case o.signature == "":
		return "", errNotSigned
	case strings.HasPrefix(o.signature, "-----BEGIN SSH SIGNATURE-----"):
		return k.checkSSH(o, now)
	case strings.HasPrefix(o.signature, "-----BEGIN PGP SIGNATURE-----"):
		return k.checkPGP(o, now)
	}
	return "", errors.New("its signature is neither OpenPGP's nor SSH's")
}

func (k keyring) checkSSH(o signedObject, now time.Time) (string, error) {
	sig, err := sshsig.Unarmor([]byte(o.signature))
	if err != nil {
		return "", errors.New("its SSH signature cannot be read")
	}
	print := ssh.FingerprintSHA256(sig.PublicKey)
	refusal := fmt.Errorf("its key %s is not among the allowed signers", print)
	for _, s := range k.ssh {
		principal, ok, err := s.is(sig.PublicKey, o.when)
		if !ok {
			continue
		}
		if err == nil {
			err = s.allows(sshNamespace, o.when)
		}
		if err == nil && !now.IsZero() {
			if err = s.allows(sshNamespace, now); err == nil {
				_, _, err = s.is(sig.PublicKey, now)
			}
		}
		if err == nil {
			err = checkKey(sig.PublicKey)
		}
		if err != nil {
			refusal = fmt.Errorf("its key %s: %w", print, err)
			continue
		}
		if err := sshsig.Verify(bytes.NewReader(o.payload), sig, sig.PublicKey, sig.HashAlgorithm, sshNamespace); err != nil {
			return "", fmt.Errorf("its signature by %s: %w", print, err)
		}
		return principal + " (" + print + ")", nil
	}
	return "", refusal
}

// clockSkew is how much faster the clock of who signs may run.
const clockSkew = 2 * time.Minute

// strongHashes are those that a signature may use.
var strongHashes = []crypto.Hash{crypto.SHA224, crypto.SHA256, crypto.SHA384, crypto.SHA512, crypto.SHA3_256, crypto.SHA3_512}

func (k keyring) checkPGP(o signedObject, now time.Time) (string, error) {
	block, err := armor.Decode(strings.NewReader(o.signature))
	if err != nil || block.Type != openpgp.SignatureType {
		return "", errors.New("its OpenPGP signature cannot be read")
	}
	// An old object is judged as of its own time, which a revoked key does not survive.
	at := now
	if at.IsZero() {
		at = o.when
	}
	config := &packet.Config{Time: func() time.Time { return at.Add(clockSkew) }}
	who, err := openpgp.CheckDetachedSignatureAndHash(k.pgp, bytes.NewReader(o.payload), block.Body, strongHashes, config)
	if errors.Is(err, pgperrors.ErrUnknownIssuer) {
		return "", errors.New("its key is not among the OpenPGP keys")
	}
	if err != nil {
		return "", fmt.Errorf("its OpenPGP signature: %w", err)
	}
	if who == nil {
		return "", errors.New("its OpenPGP signature is nobody's")
	}
	name := ""
	if id := who.PrimaryIdentity(); id != nil {
		name = id.Name + " "
	}
	return name + "(" + strings.ToUpper(hex.EncodeToString(who.PrimaryKey.Fingerprint)) + ")", nil
}
