package server

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	projectv1 "github.com/openshift/api/project/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api/v1alpha1"
)

// hooksSecret holds what webhooks of repositories are signed with, for those that a
// configuration declares; the root's Secret has a token and credentials of its own, which
// are shown to no other repository's host.
const (
	hooksSecret = "hooks"
	tokenKey    = "token"
)

// bootstrap makes the objects that everything else begins with: Slipway's own project,
// and the repository and the application that `up` names. Only what differs is written.
func bootstrap(ctx context.Context, c client.Client, cfg *Config) error {
	if err := ensure(ctx, c, &projectv1.Project{ObjectMeta: metav1.ObjectMeta{Name: System}}, nil); err != nil {
		return err
	}
	if err := ensureSecret(ctx, c, hooksSecret, nil); err != nil {
		return err
	}
	credentials, err := cfg.credentials()
	if err != nil {
		return err
	}
	if err := ensureSecret(ctx, c, Root, credentials); err != nil {
		return err
	}
	repo := &v1alpha1.GitRepository{ObjectMeta: metav1.ObjectMeta{Namespace: System, Name: Root}}
	if err := ensure(ctx, c, repo, func() {
		repo.Spec.URL = cfg.Repo
		repo.Spec.Reference = nil
		if cfg.Branch != "" {
			repo.Spec.Reference = &v1alpha1.GitRepositoryRef{Branch: cfg.Branch}
		}
		repo.Spec.SecretRef = &corev1.LocalObjectReference{Name: Root}
	}); err != nil {
		return err
	}
	app := &v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Namespace: System, Name: Root}}
	return ensure(ctx, c, app, func() {
		app.Spec.SourceRef = v1alpha1.SourceReference{Name: Root, Namespace: System}
		app.Spec.Path = cfg.Path
		app.Spec.Parameters = cfg.Parameters
		if len(cfg.Parameters) == 0 {
			app.Spec.Parameters = nil
		}
	})
}

// ensureSecret makes a Secret with a token for webhooks, which stays the same, and with
// the values given, which are replaced.
func ensureSecret(ctx context.Context, c client.Client, name string, values map[string][]byte) error {
	fresh := make([]byte, 24)
	if _, err := rand.Read(fresh); err != nil {
		return err
	}
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: System, Name: name}}
	return ensure(ctx, c, s, func() {
		token := s.Data[tokenKey]
		if len(token) == 0 {
			token = []byte(hex.EncodeToString(fresh))
		}
		s.Data = map[string][]byte{tokenKey: token}
		maps.Copy(s.Data, values)
	})
}

// credentialKeys are what a GitRepository's Secret may hold, as Flux names them.
var credentialKeys = []string{"username", "password", "bearerToken", "identity", "known_hosts"}

// credentials reads the folder of --repo-credentials: a file for each key.
func (c *Config) credentials() (map[string][]byte, error) {
	if c.RepoCredentials == "" {
		return nil, nil
	}
	out := map[string][]byte{}
	for _, key := range credentialKeys {
		data, err := os.ReadFile(filepath.Join(c.RepoCredentials, key))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("--repo-credentials: %w", err)
		}
		if key != "identity" && key != "known_hosts" {
			data = bytes.TrimSpace(data)
		}
		out[key] = data
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("--repo-credentials: %s holds none of the files %s", c.RepoCredentials, strings.Join(credentialKeys, ", "))
	}
	return out, nil
}

// ensure makes an object, or changes one that differs; change nil: an object that
// exists is left alone.
func ensure(ctx context.Context, c client.Client, o client.Object, change func()) error {
	fresh := o.DeepCopyObject().(client.Object)
	err := c.Get(ctx, client.ObjectKeyFromObject(o), o)
	if apierrors.IsNotFound(err) {
		reflect.ValueOf(o).Elem().Set(reflect.ValueOf(fresh).Elem())
		if change != nil {
			change()
		}
		err = c.Create(ctx, o)
	} else if err == nil && change != nil {
		before := o.DeepCopyObject()
		change()
		if !reflect.DeepEqual(before, o) {
			err = c.Update(ctx, o)
		}
	}
	if err != nil {
		return fmt.Errorf("set up %s: %w", o.GetName(), err)
	}
	return nil
}
