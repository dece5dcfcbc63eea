package state_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/state"
)

const rotated = 3

// sealedStore has secrets, and other objects.
func sealedStore(t *testing.T, o state.Options) {
	t.Helper()
	s, err := state.Open(t.Context(), o)
	must(t, err)
	defer s.Close()
	for i := range rotated {
		must(t, s.Client().Create(t.Context(), secret(fmt.Sprintf("s%d", i))))
	}
	must(t, s.Client().Create(t.Context(), configMap("a", "x", "k", "v")))
}

// readable checks that nothing was lost.
func readable(t *testing.T, what string, o state.Options) {
	t.Helper()
	s, err := state.Open(t.Context(), o)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	defer s.Close()
	for i := range rotated {
		var got corev1.Secret
		if err := s.Client().Get(t.Context(), client.ObjectKey{Namespace: "a", Name: fmt.Sprintf("s%d", i)}, &got); err != nil || string(got.Data["k"]) != canary {
			t.Fatalf("%s: secret %d: %q, %v", what, i, got.Data, err)
		}
	}
	must(t, s.Client().Get(t.Context(), client.ObjectKey{Namespace: "a", Name: "x"}, &corev1.ConfigMap{}))
}

func TestRotateKey(t *testing.T) {
	t.Parallel()
	o := state.Options{DataDir: t.TempDir(), NoSync: true}
	file, old := filepath.Join(o.DataDir, "seal.key"), filepath.Join(t.TempDir(), "old.key")
	sealedStore(t, o)
	key, err := os.ReadFile(file)
	must(t, err)
	must(t, os.WriteFile(old, key, 0o600))
	n, err := state.RotateKey(t.Context(), o)
	if err != nil || n != rotated {
		t.Errorf("rotated %d, %v", n, err)
	}
	readable(t, "rotated", o)
	if now, err := os.ReadFile(file); err != nil || len(now) != len(key) || string(now) == string(key) {
		t.Errorf("key file: %d bytes, %v", len(now), err)
	}
	o.KeyFile = old
	if s, err := state.Open(t.Context(), o); err == nil {
		s.Close()
		t.Error("the old key still opens live state")
	}
}

// Killed before or after each single write, rotation loses nothing and can be finished.
func TestRotateKeyIsInterrupted(t *testing.T) {
	t.Parallel()
	for n := range rotated + 1 {
		for _, after := range []bool{false, true} {
			what := fmt.Sprintf("killed at write %d, after it %v", n, after)
			o := state.Options{DataDir: t.TempDir(), NoSync: true}
			sealedStore(t, o)
			s, err := state.Open(t.Context(), o)
			must(t, err)
			s.FailWrite(n, after)
			if _, err := s.Rotate(t.Context()); err == nil || !strings.Contains(err.Error(), "killed") {
				t.Fatalf("%s: %v", what, err)
			}
			s.Close()
			readable(t, what, o)
			want := rotated - n
			if after {
				want--
			}
			if left, err := state.RotateKey(t.Context(), o); err != nil || left != max(want, 0) {
				t.Errorf("%s: then %d sealed anew, want %d, %v", what, left, want, err)
			}
			readable(t, what+", and finished", o)
			if key, err := os.ReadFile(filepath.Join(o.DataDir, "seal.key")); err != nil || len(key) != 32 {
				t.Errorf("%s: key file has %d bytes, %v", what, len(key), err)
			}
		}
	}
}

func TestRotateKeyRefuses(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o := state.Options{Endpoints: []string{cluster(t)}, KeyFile: filepath.Join(t.TempDir(), "seal.key")}
	sealedStore(t, o)
	s := open(t, o)
	leading, ended := make(chan bool), make(chan error)
	go func() {
		ended <- s.Client().Lead(ctx, "server", func(ctx context.Context) { leading <- true; <-ctx.Done() })
	}()
	<-leading
	if _, err := state.RotateKey(t.Context(), o); err == nil || !strings.Contains(err.Error(), "stop it") {
		t.Errorf("under a running server: %v", err)
	}
	cancel()
	<-ended
	// A value that cannot be opened would be lost with the old key.
	must(t, s.Client().PutRaw(t.Context(), "/slipway/core/secrets/a/bad", "\x00slipway-sealed-1\x00rubbish-that-is-long-enough-to-be-one"))
	if _, err := state.RotateKey(t.Context(), o); err == nil || !strings.Contains(err.Error(), "secrets/a/bad") {
		t.Errorf("with a value that does not open: %v", err)
	}
	must(t, s.Client().DeleteRaw(t.Context(), "/slipway/core/secrets/a/bad"))
	if n, err := state.RotateKey(t.Context(), o); err != nil || n > rotated {
		t.Errorf("rotated %d, %v", n, err)
	}
	readable(t, "rotated", o)
}
