package secrets

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slipway.dev/slipway/state/statetest"
)

func TestOwnKeys(t *testing.T) {
	a, b := read(t, "testdata/a.agekey"), "testdata/b.agekey"
	env := func(m map[string]string) func(string) string { return func(k string) string { return m[k] } }
	own, err := OwnKeys(env(map[string]string{EnvKey: strings.TrimSpace(a), EnvKeyFile: b}))
	if err != nil || !own.Any() {
		t.Fatal(own, err)
	}
	keys, err := own.Keys(t.Context(), "any/one")
	if err != nil || len(keys.Identities) != 2 || keys.Digest == "" {
		t.Errorf("got %d, %v", len(keys.Identities), err)
	}
	if none, err := OwnKeys(env(nil)); err != nil || none.Any() {
		t.Error(none, err)
	}
	bad := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(bad, []byte("AGE-SECRET-KEY-1CANARY"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, m := range map[string]map[string]string{
		"SOPS_AGE_KEY: line 1 is not an age key":    {EnvKey: "CANARY"},
		bad + ": line 1 is not an age key":          {EnvKeyFile: bad},
		"nowhere: no such file":                     {EnvKeyFile: "nowhere"},
		"SOPS_AGE_KEY_FILE: open nowhere: no such ": {EnvKeyFile: "nowhere"},
	} {
		if _, err := OwnKeys(env(m)); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestKeyring(t *testing.T) {
	c := statetest.New(t)
	own := Own{text: []byte(read(t, "testdata/a.agekey"))}
	k := Keyring{Client: c, System: "slipway", Own: own}
	count := func(application string) (int, string) {
		t.Helper()
		keys, err := k.Keys(t.Context(), application)
		if err != nil {
			t.Fatal(err)
		}
		return len(keys.Identities), keys.Digest
	}
	if n, _ := count("slipway/shop"); n != 1 {
		t.Errorf("the administrators' applications have %d keys", n)
	}
	// The server's keys open nothing that a tenant's Application renders.
	if n, _ := count("tenant/shop"); n != 0 {
		t.Errorf("a tenant's applications have %d keys", n)
	}
	_, before := count("tenant/shop")
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "tenant", Name: SecretName}, Data: map[string][]byte{
		"one.agekey": []byte(read(t, "testdata/b.agekey")), "notes": []byte("not a key"),
	}}
	if err := c.Create(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if n, digest := count("tenant/shop"); n != 1 || digest == before {
		t.Errorf("with a secret: %d keys, digest %s", n, digest)
	}
	if n, _ := count("tenants/shop"); n != 0 {
		t.Errorf("another project has %d of them", n)
	}
	s.Data["two.agekey"] = []byte("AGE-SECRET-KEY-1CANARY")
	if err := c.Update(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Keys(t.Context(), "tenant/shop"); err == nil || err.Error() != "secret tenant/sops-age: two.agekey: line 1 is not an age key (AGE-SECRET-KEY-…)" {
		t.Error(err)
	}
}
