package server

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"reflect"

	projectv1 "github.com/openshift/api/project/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api/v1alpha1"
)

// hooksSecret holds, under the key `token`, what webhooks of repositories are signed with.
const hooksSecret = "hooks"

// bootstrap makes the objects that everything else begins with: Slipway's own project,
// and the repository and the application that `up` names. Only what differs is written.
func bootstrap(ctx context.Context, c client.Client, cfg *Config) error {
	if err := ensure(ctx, c, &projectv1.Project{ObjectMeta: metav1.ObjectMeta{Name: System}}, nil); err != nil {
		return err
	}
	token := make([]byte, 24)
	if _, err := rand.Read(token); err != nil {
		return err
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: System, Name: hooksSecret},
		Data:       map[string][]byte{"token": []byte(hex.EncodeToString(token))},
	}
	if err := ensure(ctx, c, secret, nil); err != nil {
		return err
	}
	repo := &v1alpha1.GitRepository{ObjectMeta: metav1.ObjectMeta{Namespace: System, Name: Root}}
	if err := ensure(ctx, c, repo, func() {
		repo.Spec.URL = cfg.Repo
		repo.Spec.Reference = nil
		if cfg.Branch != "" {
			repo.Spec.Reference = &v1alpha1.GitRepositoryRef{Branch: cfg.Branch}
		}
		if repo.Spec.SecretRef == nil {
			repo.Spec.SecretRef = &corev1.LocalObjectReference{Name: hooksSecret}
		}
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
