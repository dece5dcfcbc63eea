package render_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/render"
	"slipway.dev/slipway/render/secrets"
)

// ring is a keyring in memory.
type ring struct {
	text, digest string
	broken       error
}

func (r *ring) Keys(context.Context, string) (secrets.Keys, error) {
	identities, err := secrets.ParseIdentities([]byte(r.text))
	return secrets.Keys{Identities: identities, Digest: r.digest, From: "the test"}, errors.Join(err, r.broken)
}

func sealedFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("secrets/testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func renderSealed(t *testing.T, r *render.Renderer, files map[string]string) (api.Desired, error) {
	t.Helper()
	return r.Render(t.Context(), render.Request{Tree: tree(files), Project: "shop", Application: "shop/app"})
}

func TestEncryptedFiles(t *testing.T) {
	keys := &ring{text: sealedFile(t, "a.agekey"), digest: "a"}
	r := newRenderer(t, render.Options{Keyring: keys})
	files := map[string]string{
		"secret.yaml": sealedFile(t, "sealed/secret.yaml"),
		"list.yaml":   sealedFile(t, "sealed/list.yaml"),
	}
	got, err := renderSealed(t, r, files)
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]any{}
	for _, o := range got.Objects {
		values[o.GetName()] = o.Object["data"]
		if o.GetNamespace() != "shop" || o.Origin.Line == 0 || o.Object["sops"] != nil {
			t.Errorf("%s: %v, line %d", o.GetName(), o.Object, o.Origin.Line)
		}
	}
	if data, _ := values["database"].(map[string]any); len(values) != 3 || data["password"] != "Y2FuYXJ5LTdkMWY=" || data["token"] != "Y2FuYXJ5LWJhc2U2NA==" {
		t.Errorf("got %v", values)
	}

	// Another key makes another render: nothing that was opened once stays open.
	keys.text, keys.digest = sealedFile(t, "b.agekey"), "b"
	_, err = renderSealed(t, r, files)
	var problems api.Problems
	if !errors.As(err, &problems) || len(problems) != 2 || !strings.Contains(err.Error(), "secret.yaml:2: sops: is encrypted for age1") {
		t.Errorf("with another key: %v", err)
	}
	keys.text, keys.digest = "", ""
	if _, err = renderSealed(t, r, files); err == nil || !strings.Contains(err.Error(), "there is no age key to open it; keys come from the test") {
		t.Errorf("without a key: %v", err)
	}
	keys.text, keys.digest = sealedFile(t, "a.agekey"), "a"
	if _, err = renderSealed(t, r, files); err != nil {
		t.Errorf("with the key again: %v", err)
	}
	// Keys that cannot be read are a failure, not a mistake of the repository.
	keys.broken = errors.New("live state is away")
	if _, err := renderSealed(t, r, map[string]string{"s.yaml": files["secret.yaml"]}); err == nil || errors.As(err, &problems) {
		t.Errorf("got %v", err)
	}
}

// A file that is encrypted as a whole is opened as a whole.
func TestWholeFileEncrypted(t *testing.T) {
	r := newRenderer(t, render.Options{Keyring: &ring{text: sealedFile(t, "b.agekey"), digest: "b"}})
	got, err := renderSealed(t, r, map[string]string{"a.yaml": sealedFile(t, "sealed/two-recipients.yaml")})
	if err != nil || len(got.Objects) != 1 || got.Objects[0].GetName() != "database" || got.Objects[0].GetLabels()["team"] != "blue" {
		t.Errorf("got %v, %v", got.Objects, err)
	}
}

// What was encrypted stands in no message: whatever is wrong with the object that holds
// it, or with what a template makes of it.
func TestCanaryInNoMessage(t *testing.T) {
	r := newRenderer(t, render.Options{Keyring: &ring{text: sealedFile(t, "a.agekey"), digest: "a"}, Ledger: &memory{}})
	secret := sealedFile(t, "sealed/secret.yaml")
	for name, files := range map[string]map[string]string{
		"not in a Secret": {"a.yaml": strings.Replace(sealedFile(t, "sealed/mac-only-encrypted.yaml"), "kind: Secret", "kind: ConfigMap", 1)},
		"wrong type":      {"a.yaml": strings.Replace(sealedFile(t, "sealed/mac-only-encrypted.yaml"), "kind: Secret", "kind: Secret\ntype: kubernetes.io/tls", 1)},
		"through a template": {"a.yaml": secret, "b.yaml": `apiVersion: template.openshift.io/v1
kind: TemplateInstance
metadata: {name: i}
spec:
  secret: {name: database}
  template:
    parameters: [{name: password}, {name: token}, {name: user}, {name: empty}, {name: text}]
    objects:
    - {apiVersion: v1, kind: Service, metadata: {name: s}, spec: {ports: [{port: 1, name: "${password}"}, {port: "${{token}}"}]}}
`},
	} {
		_, err := renderSealed(t, r, files)
		var problems api.Problems
		if !errors.As(err, &problems) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", name, err)
		}
		if name == "not in a Secret" && !strings.Contains(err.Error(), "a.yaml:11: stringData.password: is encrypted, and not in a Secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Without a keyring a repository can still be checked.
func TestConcealedWithoutKeyring(t *testing.T) {
	r := newRenderer(t, render.Options{})
	got, err := renderSealed(t, r, map[string]string{
		"a.yaml": sealedFile(t, "sealed/secret.yaml"), "b.yaml": sealedFile(t, "sealed/list.yaml"), "c.yaml": sealedFile(t, "sealed/two-recipients.yaml"),
	})
	if err != nil || len(got.Objects) != 3 {
		t.Fatalf("%d objects, %v", len(got.Objects), err)
	}
	if data := got.Objects[0].Object["data"].(map[string]any); data["password"] != "ZW5jcnlwdGVk" || data["token"] != "ZW5jcnlwdGVk" {
		t.Errorf("got %v", data)
	}
}
