// Package ledger keeps the generated values of template parameters in live state, one
// Secret for each instance of a template: a render must never reset a password.
//
// A value is written once and never overwritten; of two renders that race, both end up
// with the value that was first. Secrets are sealed at rest.
package ledger

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Project holds the ledger's Secrets.
const Project = "slipway"

// SecretType marks the ledger's Secrets.
const SecretType corev1.SecretType = "slipway.dev/parameters"

// Annotations that say, for people, what a Secret's name is the digest of, and when each of
// its values was made (a JSON object from key to time).
const (
	ApplicationAnnotation = "slipway.dev/application"
	InstanceAnnotation    = "slipway.dev/instance"
	MadeAnnotation        = "slipway.dev/made"
)

// Ledger keeps values in a client's live state. It implements render.Ledger.
type Ledger struct {
	Client client.Client
	// Clock tells when values are made; default time.Now.
	Clock func() time.Time
}

// Key is where an instance's values are kept: the name is a digest, because application
// and instance may hold any character. The lengths keep `a`+`bc` apart from `ab`+`c`.
func Key(application, instance string) types.NamespacedName {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d/%s/%s", len(application), application, instance))
	return types.NamespacedName{Namespace: Project, Name: "parameters-" + hex.EncodeToString(sum[:16])}
}

// Values returns what is kept for an instance; nothing is an empty map.
func (l Ledger) Values(ctx context.Context, application, instance string) (map[string]string, error) {
	s, err := l.read(ctx, application, instance)
	if apierrors.IsNotFound(err) {
		return map[string]string{}, nil
	}
	if err != nil {
		return nil, err
	}
	values := make(map[string]string, len(s.Data))
	for name, value := range s.Data {
		values[name] = string(value)
	}
	return values, nil
}

func (l Ledger) read(ctx context.Context, application, instance string) (*corev1.Secret, error) {
	var s corev1.Secret
	if err := l.Client.Get(ctx, Key(application, instance), &s); err != nil {
		return nil, err
	}
	if s.Type != SecretType || s.Annotations[ApplicationAnnotation] != application || s.Annotations[InstanceAnnotation] != instance {
		return nil, fmt.Errorf("secret %s/%s is not the ledger's for %s, %s", s.Namespace, s.Name, application, instance)
	}
	return &s, nil
}

func (l Ledger) now() time.Time {
	now := time.Now
	if l.Clock != nil {
		now = l.Clock
	}
	return now().UTC().Truncate(time.Second)
}

// Made tells when each value of a Secret of the ledger was made, as far as that is known.
func Made(s *corev1.Secret) map[string]time.Time {
	made := map[string]time.Time{}
	if json.Unmarshal([]byte(s.Annotations[MadeAnnotation]), &made) != nil {
		return map[string]time.Time{}
	}
	return made
}

// retries bounds how often a write that others got in the way of is tried again.
const retries = 20

// Keep adds values that are not kept yet. It does not change those that are: read back to
// see which value holds.
func (l Ledger) Keep(ctx context.Context, application, instance string, values map[string]string) error {
	var err error
	for range retries {
		if err = l.add(ctx, application, instance, values); !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
	return err
}

func (l Ledger) add(ctx context.Context, application, instance string, values map[string]string) error {
	s, err := l.read(ctx, application, instance)
	absent := apierrors.IsNotFound(err)
	if err != nil && !absent {
		return err
	}
	if absent {
		key := Key(application, instance)
		s = &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: key.Namespace, Name: key.Name,
				Annotations: map[string]string{ApplicationAnnotation: application, InstanceAnnotation: instance},
			},
			Type: SecretType,
		}
	}
	if s.Data == nil {
		s.Data = map[string][]byte{}
	}
	changed := absent
	made := Made(s)
	for name, value := range values {
		if _, kept := s.Data[name]; !kept {
			s.Data[name], made[name], changed = []byte(value), l.now(), true
		}
	}
	raw, err := json.Marshal(made)
	if err != nil {
		return err
	}
	s.Annotations[MadeAnnotation] = string(raw)
	switch {
	case absent:
		return l.Client.Create(ctx, s)
	case changed:
		return l.Client.Update(ctx, s)
	}
	return nil
}
