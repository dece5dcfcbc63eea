package server

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/state"
)

// What `up` keeps is backed up while it runs, gets another sealing key while it does not, and comes back in
// another data directory with the passwords that were generated.
func TestBackupOfADataDirectory(t *testing.T) {
	t.Parallel()
	dir, ctx := t.TempDir(), t.Context()
	c := Config{Repo: "-", DataDir: dir, Listen: DefaultListen, Registry: DefaultRegistry, Name: "slipway",
		ClusterNetwork: "10.128.0.0/14", ServiceNetwork: "172.30.0.0/16"}
	if err := c.complete(); err != nil {
		t.Fatal(err)
	}
	if err := c.save(); err != nil {
		t.Fatal(err)
	}
	running, err := openState(ctx, &c)
	if err != nil {
		t.Fatal(err)
	}
	defer running.Close()
	password := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "s"}, Data: map[string][]byte{"password": []byte("generated")}}
	if err := running.Client().Create(ctx, password); err != nil {
		t.Fatal(err)
	}
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	file, identity := filepath.Join(t.TempDir(), "b.tgz"), filepath.Join(t.TempDir(), "id")
	if err := os.WriteFile(identity, []byte(id.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Backup(ctx, dir, nil, file, []string{"age1nonsense"}); err == nil || !strings.Contains(err.Error(), "age1nonsense") {
		t.Errorf("a recipient that is none: %v", err)
	}
	if m, err := Backup(ctx, dir, nil, file, []string{id.Recipient().String()}); err != nil || m.Objects() != 1 {
		t.Fatalf("backup of %d objects: %v", m.Objects(), err)
	}
	running.Close()
	if n, err := RotateKey(ctx, dir, nil); err != nil || n != 1 {
		t.Errorf("rotated %d: %v", n, err)
	}
	other := t.TempDir()
	if _, err := Restore(ctx, other, file, ""); err == nil {
		t.Error("restored without the identity")
	}
	if _, err := Restore(ctx, other, file, identity); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(ctx, other, file, identity); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("restored over live state: %v", err)
	}
	for _, d := range []string{dir, other} {
		s, err := state.Open(ctx, state.Options{DataDir: filepath.Join(d, "state")})
		if err != nil {
			t.Fatal(err)
		}
		var got corev1.Secret
		if err := s.Client().Get(ctx, client.ObjectKeyFromObject(password), &got); err != nil || string(got.Data["password"]) != "generated" {
			t.Errorf("%s: %q, %v", d, got.Data, err)
		}
		s.Close()
	}
	if _, err := Backup(ctx, t.TempDir(), nil, file, nil); err == nil {
		t.Error("backed up nothing")
	}
}
