package server

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/state/statetest"
)

func TestBootstrapKeepsTokensAndReplacesCredentials(t *testing.T) {
	t.Parallel()
	c := statetest.New(t)
	dir := t.TempDir()
	write := func(name, value string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(value), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	secret := func(name string) map[string][]byte {
		t.Helper()
		var s corev1.Secret
		if err := c.Get(t.Context(), types.NamespacedName{Namespace: System, Name: name}, &s); err != nil {
			t.Fatal(err)
		}
		return s.Data
	}
	write("username", "ada\n")
	write("password", "first\n")
	cfg := &Config{Repo: "https://git.example.com/config.git", RepoCredentials: dir}
	if err := bootstrap(t.Context(), c, cfg); err != nil {
		t.Fatal(err)
	}
	first := secret(Root)
	if string(first["username"]) != "ada" || string(first["password"]) != "first" || len(first[tokenKey]) != 48 {
		t.Fatalf("the root's secret: %q", first)
	}
	if hooks := secret(hooksSecret); len(hooks) != 1 || string(hooks[tokenKey]) == string(first[tokenKey]) {
		t.Errorf("the hooks' secret: %q", hooks)
	}
	write("password", "second")
	if err := bootstrap(t.Context(), c, cfg); err != nil {
		t.Fatal(err)
	}
	if again := secret(Root); string(again["password"]) != "second" || string(again[tokenKey]) != string(first[tokenKey]) {
		t.Errorf("after another start: %q", again)
	}
	var repo v1alpha1.GitRepository
	if err := c.Get(t.Context(), types.NamespacedName{Namespace: System, Name: Root}, &repo); err != nil {
		t.Fatal(err)
	}
	if repo.Spec.SecretRef == nil || repo.Spec.SecretRef.Name != Root {
		t.Errorf("the root's secretRef: %+v", repo.Spec.SecretRef)
	}
	cfg.RepoCredentials = t.TempDir()
	if err := bootstrap(t.Context(), c, cfg); err == nil || !strings.Contains(err.Error(), "known_hosts") {
		t.Errorf("a folder without credentials: %v", err)
	}
}
