package secrets

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// The environment that keys are taken from; the names are SOPS's.
const (
	EnvKey     = "SOPS_AGE_KEY"
	EnvKeyFile = "SOPS_AGE_KEY_FILE"
)

// SecretName is that of the Secret beside an Application that holds its keys: every value
// under a name that ends in KeySuffix, as Flux has it.
const (
	SecretName = "sops-age"
	KeySuffix  = ".agekey"
)

// Own are the keys of this process: those of the environment, read when the process begins.
type Own struct {
	text []byte
	from []string
}

// OwnKeys reads the keys that the environment gives: SOPS_AGE_KEY itself, and the file that
// SOPS_AGE_KEY_FILE names. No key is no error.
func OwnKeys(getenv func(string) string) (Own, error) {
	var o Own
	if text := getenv(EnvKey); text != "" {
		o.text, o.from = append(o.text, text+"\n"...), append(o.from, EnvKey)
		if _, err := ParseIdentities([]byte(text)); err != nil {
			return Own{}, fmt.Errorf("%s: %w", EnvKey, err)
		}
	}
	if file := getenv(EnvKeyFile); file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return Own{}, fmt.Errorf("%s: %w", EnvKeyFile, err)
		}
		if _, err := ParseIdentities(text); err != nil {
			return Own{}, fmt.Errorf("%s: %s: %w", EnvKeyFile, file, err)
		}
		o.text, o.from = append(append(o.text, text...), '\n'), append(o.from, EnvKeyFile)
	}
	return o, nil
}

// Any tells whether there is a key at all.
func (o Own) Any() bool { return len(o.text) > 0 }

// Keys implements render.Keyring for commands without a server: the process's own keys open
// everything.
func (o Own) Keys(context.Context, string) (Keys, error) {
	return keysFrom(o.text, EnvKey+" and "+EnvKeyFile)
}

// Keyring finds the keys of Applications. The server's own keys open only what Applications
// of the system project render: nobody else may have files opened that were meant for
// the administrators. The Secret sops-age in an Application's own namespace adds to them.
type Keyring struct {
	Client client.Reader
	// System is the administrators' project, whose Applications may use Own.
	System string
	Own    Own
}

// Keys implements render.Keyring. A Secret that is not there is no error; one that cannot
// be read is.
func (k Keyring) Keys(ctx context.Context, application string) (Keys, error) {
	namespace, _, _ := strings.Cut(application, "/")
	var text []byte
	from := "Secret " + namespace + "/" + SecretName
	if namespace == k.System {
		text = append(text, k.Own.text...)
		from += ", " + EnvKey + " and " + EnvKeyFile + " of the server"
	}
	var s corev1.Secret
	err := k.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: SecretName}, &s)
	if err != nil && !apierrors.IsNotFound(err) {
		return Keys{}, err
	}
	for _, name := range slices.Sorted(maps.Keys(s.Data)) {
		if !strings.HasSuffix(name, KeySuffix) {
			continue
		}
		if _, err := ParseIdentities(s.Data[name]); err != nil {
			return Keys{}, fmt.Errorf("secret %s/%s: %s: %w", namespace, SecretName, name, err)
		}
		text = append(append(text, s.Data[name]...), '\n')
	}
	return keysFrom(text, from)
}

func keysFrom(text []byte, from string) (Keys, error) {
	identities, err := ParseIdentities(text)
	if err != nil {
		return Keys{}, err
	}
	sum := sha256.Sum256(bytes.TrimSpace(text))
	return Keys{Identities: identities, Digest: hex.EncodeToString(sum[:8]), From: from}, nil
}
