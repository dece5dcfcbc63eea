package runtime

import (
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slipway.dev/slipway/runtime/mounts"
)

func TestPayloadShowsWholeVersionsOnly(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "v")
	for _, p := range []payload{
		{"a": {"1", 0o644}, "sub/b": {"2", 0o600}},
		{"a": {"changed", 0o644}, "c": {"3", 0o644}},
		{},
		{"a": {"again", 0o400}},
	} {
		for range 2 {
			if err := p.write(dir, -1); err != nil {
				t.Fatal(err)
			}
		}
		seen := 0
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if !strings.HasPrefix(e.Name(), "..") {
				seen++
			}
		}
		if seen != len(p) || len(entries) != len(p)+2 {
			t.Errorf("%v shows %v", p, entries)
		}
		for name, want := range p {
			path := filepath.Join(dir, name)
			b, err := os.ReadFile(path)
			if err != nil || string(b) != want.data {
				t.Errorf("%s: %q, %v", name, b, err)
			}
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want.mode {
				t.Errorf("%s: %v, %v", name, info.Mode(), err)
			}
		}
	}
}

func TestPathsStayInTheVolume(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"", ".", "..", "../x", "a/../../x", "/etc/passwd", "..data", "..x/y"} {
		if err := (payload{}).put(path, "", 0o644); err == nil {
			t.Errorf("%q is taken", path)
		}
	}
}

func TestSubPathIsNotLedAway(t *testing.T) {
	t.Parallel()
	volume, outside := t.TempDir(), t.TempDir()
	target := filepath.Join(t.TempDir(), "mounted")
	if err := os.WriteFile(filepath.Join(outside, "canary"), []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{"absolute": outside, "relative": "../../../../../../../../" + outside} {
		if err := os.Symlink(to, filepath.Join(volume, name)); err != nil {
			t.Fatal(err)
		}
		for _, sub := range []string{name, name + "/canary", name + "/new"} {
			if _, err := subPath(volume, sub, target); err == nil {
				t.Errorf("%s leads out of the volume", sub)
			}
		}
	}
	for _, sub := range []string{"..", "../x", "/etc"} {
		if _, err := subPath(volume, sub, target); err == nil {
			t.Errorf("%s leads out of the volume", sub)
		}
	}
	t.Cleanup(func() {
		if err := mounts.UndoBelow(filepath.Dir(target)); err != nil {
			t.Error(err)
		}
	})
	shared := fs.FileMode(0o770) | fs.ModeSetgid
	if err := os.Chmod(volume, shared); err != nil {
		t.Fatal(err)
	}
	if _, err := subPath(volume, "data/deep", target); err != nil {
		t.Fatal(err)
	}
	for _, made := range []string{"data", "data/deep"} {
		if info, err := os.Stat(filepath.Join(volume, made)); err != nil || info.Mode() != shared|fs.ModeDir {
			t.Errorf("%s: %v, %v; want the volume's mode %v", made, info.Mode(), err, shared)
		}
	}
	if err := os.WriteFile(filepath.Join(target, "f"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(volume, "data/deep/f")); err != nil {
		t.Errorf("it is not the volume's directory: %v", err)
	}
}

func TestEtc(t *testing.T) {
	t.Parallel()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}}
	dir := t.TempDir()
	paths, err := writeEtc(dir, pod, netip.MustParseAddr("10.128.0.2"), netip.MustParseAddr("10.128.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		"/etc/hostname":    "web\n",
		"/etc/resolv.conf": "nameserver 10.128.0.1\nsearch shop.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n",
		"/etc/hosts":       "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n10.128.0.2\tweb\n",
	} {
		b, err := os.ReadFile(paths[file])
		if err != nil || string(b) != want {
			t.Errorf("%s: %q, %v", file, b, err)
		}
	}
}
