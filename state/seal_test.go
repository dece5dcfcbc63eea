package state_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/state"
)

const canary = "canary-3f9c1d"

func secret(name string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: name}, Data: map[string][]byte{"k": []byte(canary)}}
}

func TestSecretsAreSealedAtRest(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, state.Options{DataDir: dir})
	c, ctx := s.Client(), t.Context()
	must(t, c.Create(ctx, secret("s")))
	must(t, c.Create(ctx, configMap("a", "cm", "k", "visible-7a1b")))
	raw, err := c.Raw(ctx)
	must(t, err)
	for k, v := range raw {
		// The value is base64 in JSON: look for both forms.
		if strings.Contains(v, canary) || strings.Contains(v, "Y2FuYXJ5LTNmOWMxZ") {
			t.Errorf("%s holds the secret", k)
		}
	}
	var got corev1.Secret
	must(t, c.Get(ctx, client.ObjectKeyFromObject(secret("s")), &got))
	if string(got.Data["k"]) != canary {
		t.Errorf("got %q", got.Data)
	}
	s.Close()
	visible := false
	must(t, filepath.WalkDir(filepath.Join(dir, "etcd"), func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(p)
		visible = visible || bytes.Contains(data, []byte("visible-7a1b"))
		if bytes.Contains(data, []byte(canary)) || bytes.Contains(data, []byte("Y2FuYXJ5LTNmOWMxZ")) {
			t.Errorf("%s holds the secret", p)
		}
		return err
	}))
	if !visible {
		t.Error("the files hold no object at all: the search proves nothing")
	}
	info, err := os.Stat(filepath.Join(dir, "seal.key"))
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("key file mode %o", info.Mode().Perm())
	}
	again := open(t, state.Options{DataDir: dir})
	must(t, again.Client().Get(ctx, client.ObjectKeyFromObject(secret("s")), &got))
	if string(got.Data["k"]) != canary {
		t.Errorf("after a restart %q", got.Data)
	}
}

func TestSealedValuesOpenOnlyInTheirPlace(t *testing.T) {
	t.Parallel()
	c, ctx := open(t, state.Options{DataDir: t.TempDir()}).Client(), t.Context()
	must(t, c.Create(ctx, secret("s")))
	raw, err := c.Raw(ctx)
	must(t, err)
	for name, value := range map[string]string{
		"moved": raw["/slipway/core/secrets/a/s"],
		"plain": `{"metadata":{"namespace":"a","name":"x"},"data":{"k":"` + canary + `"}}`,
		"cut":   raw["/slipway/core/secrets/a/s"][:20],
		"empty": "",
	} {
		must(t, c.PutRaw(ctx, "/slipway/core/secrets/b/"+name, value))
		err := c.Get(ctx, client.ObjectKey{Namespace: "b", Name: name}, &corev1.Secret{})
		if err == nil || client.IgnoreNotFound(err) == nil || strings.Contains(err.Error(), canary) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
		if err := c.List(ctx, &corev1.SecretList{}, client.InNamespace("b")); err == nil {
			t.Errorf("%s: the list is taken for whole", name)
		}
		w, err := c.Watch(ctx, &corev1.SecretList{}, client.InNamespace("b"))
		must(t, err)
		if ev := next(t, w); ev.Type != "ERROR" {
			t.Errorf("%s: watch event %v", name, ev)
		}
		w.Stop()
		must(t, c.DeleteRaw(ctx, "/slipway/core/secrets/b/"+name))
	}
}

func TestErrorsHoldNoSecret(t *testing.T) {
	t.Parallel()
	o := state.Options{DataDir: t.TempDir(), Validate: func(obj runtime.Object) field.ErrorList {
		if s, ok := obj.(*corev1.Secret); ok && s.Labels["bad"] != "" {
			return field.ErrorList{field.Invalid(field.NewPath("data"), canary, "is bad")}
		}
		return nil
	}}
	c, ctx := open(t, o).Client(), t.Context()
	must(t, c.Create(ctx, secret("s"), client.FieldOwner("m")))
	bad := secret("bad")
	bad.Labels = map[string]string{"bad": "1"}
	raw := func(kind types.PatchType, data string) error {
		return c.Patch(ctx, secret("s"), client.RawPatch(kind, []byte(data)))
	}
	apply := func(text string) error {
		return c.Patch(ctx, manifest(t, "%s", text), client.Apply, client.FieldOwner("n"))
	}
	for name, err := range map[string]error{
		"invalid":       c.Create(ctx, bad),
		"exists":        c.Create(ctx, secret("s")),
		"merge":         raw(types.MergePatchType, `{"data":{"k":"`+canary+`%%"}}`),
		"not JSON":      raw(types.MergePatchType, `{"data":`+canary),
		"test":          raw(types.JSONPatchType, `[{"op":"test","path":"/data/k","value":"`+canary+`"}]`),
		"apply type":    apply(`{apiVersion: v1, kind: Secret, metadata: {namespace: a, name: s}, data: ["` + canary + `"]}`),
		"apply unknown": apply(`{apiVersion: v1, kind: Secret, metadata: {namespace: a, name: s}, ` + canary + `: {}}`),
		"apply base64":  apply(`{apiVersion: v1, kind: Secret, metadata: {namespace: a, name: t}, data: {k: "` + canary + `%%"}}`),
		"conflict":      apply(`{apiVersion: v1, kind: Secret, metadata: {namespace: a, name: s}, data: {k: "AAAA"}}`),
		"unstructured": c.Create(ctx, manifest(t, "%s",
			`{apiVersion: v1, kind: Secret, metadata: {namespace: a, name: u}, data: {k: "`+canary+`%%"}}`)),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		} else if strings.Contains(err.Error(), canary) {
			t.Errorf("%s: the error holds the secret: %v", name, err)
		}
	}
}

func TestSealingKey(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		spoil func(file string) error
		want  string
	}{
		"lost":     {os.Remove, "missing"},
		"replaced": {func(f string) error { return os.WriteFile(f, bytes.Repeat([]byte{1}, 32), 0o600) }, "not the one"},
		"short":    {func(f string) error { return os.WriteFile(f, []byte("x"), 0o600) }, "1 bytes"},
		"readable": {func(f string) error { return os.Chmod(f, 0o644) }, "chmod 600"},
	} {
		dir := t.TempDir()
		s, err := state.Open(t.Context(), state.Options{DataDir: dir})
		must(t, err)
		s.Close()
		file := filepath.Join(dir, "seal.key")
		must(t, tc.spoil(file))
		s, err = state.Open(t.Context(), state.Options{DataDir: dir})
		if err == nil {
			s.Close()
			t.Errorf("%s: opened", name)
		} else if !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
