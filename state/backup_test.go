package state_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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

func identity(t *testing.T) *age.X25519Identity {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	must(t, err)
	return id
}

// backedUp is the backup of a live state with secrets, an event and more objects than one page.
func backedUp(t *testing.T, to ...age.Recipient) string {
	t.Helper()
	o := state.Options{DataDir: t.TempDir(), NoSync: true}
	sealedStore(t, o)
	s := open(t, o)
	for _, r := range s.Client().ApplyMany(t.Context(), manifests(700), client.ApplyOptions{FieldManager: "git"}) {
		must(t, r.Err)
	}
	must(t, s.Client().Create(t.Context(), &corev1.Event{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "e"}, Message: "happened"}))
	file := filepath.Join(t.TempDir(), "backup.tgz")
	// By the socket, as beside a running server.
	beside, err := state.Attach(t.Context(), o)
	must(t, err)
	defer beside.Close()
	m, err := beside.BackupFile(t.Context(), file, to...)
	must(t, err)
	if m.Objects() != 700+rotated+2 || m.Revision == 0 {
		t.Errorf("%d objects at revision %d", m.Objects(), m.Revision)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if _, err := beside.BackupFile(t.Context(), file); err == nil {
		t.Error("a backup replaced another")
	}
	return file
}

func TestBackupAndRestore(t *testing.T) {
	t.Parallel()
	id := identity(t)
	for name, tc := range map[string]struct {
		to []age.Recipient
		id []age.Identity
	}{"open key": {}, "encrypted key": {[]age.Recipient{id.Recipient()}, []age.Identity{id}}} {
		file := backedUp(t, tc.to...)
		if raw := unpacked(t, file); len(tc.to) > 0 && raw["seal.key"] != nil {
			t.Errorf("%s: the key lies open", name)
		}
		dir := filepath.Join(t.TempDir(), "new", "data")
		o := state.Options{DataDir: dir, NoSync: true}
		_, err := state.Restore(t.Context(), file, o, tc.id...)
		must(t, err)
		readable(t, name, o) // the generated values too: they are Secrets
		s := open(t, o)
		var l corev1.ServiceList
		must(t, s.Client().List(t.Context(), &l))
		if len(l.Items) != 175 {
			t.Errorf("%s: %d services", name, len(l.Items))
		}
		var e corev1.Event
		must(t, s.Client().Get(t.Context(), client.ObjectKey{Namespace: "a", Name: "e"}, &e))
		for _, r := range s.Client().ApplyMany(t.Context(), manifests(700), client.ApplyOptions{FieldManager: "git"}) {
			if r.Err != nil || r.Changed {
				t.Fatalf("%s: what was restored differs: %v", name, r.Err)
			}
		}
		if _, err := state.Restore(t.Context(), file, o, tc.id...); err == nil || !strings.Contains(err.Error(), "not empty") {
			t.Errorf("%s: restored over live state: %v", name, err)
		}
	}
}

// unpacked are the files of a backup.
func unpacked(t *testing.T, file string) map[string][]byte {
	t.Helper()
	data, err := os.ReadFile(file)
	must(t, err)
	zip, err := gzip.NewReader(bytes.NewReader(data))
	must(t, err)
	out, in := map[string][]byte{}, tar.NewReader(zip)
	for {
		h, err := in.Next()
		if err == io.EOF {
			return out
		}
		must(t, err)
		out[h.Name], err = io.ReadAll(in)
		must(t, err)
	}
}

// repacked is a backup with its files changed, in the order of a real one.
func repacked(t *testing.T, files map[string][]byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	zip := gzip.NewWriter(&buf)
	out := tar.NewWriter(zip)
	put := func(name string) {
		must(t, out.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o600, Size: int64(len(files[name]))}))
		_, err := out.Write(files[name])
		must(t, err)
	}
	for name := range files {
		if name != "manifest.json" {
			put(name)
		}
	}
	if files["manifest.json"] != nil {
		put("manifest.json")
	}
	must(t, out.Close())
	must(t, zip.Close())
	return buf.Bytes()
}

func TestRestoreRefuses(t *testing.T) {
	t.Parallel()
	id := identity(t)
	sealed, plain := backedUp(t, id.Recipient()), backedUp(t)
	whole, err := os.ReadFile(plain)
	must(t, err)
	changed := func(change func(map[string][]byte)) []byte {
		files := unpacked(t, plain)
		change(files)
		return repacked(t, files)
	}
	const object = "objects/core/configmaps/a/x"
	for name, tc := range map[string]struct {
		data []byte
		want string
	}{
		"truncated by half":   {whole[:len(whole)/2], "truncated"},
		"truncated by a byte": {whole[:len(whole)-1], "truncated"},
		"empty":               {nil, "not a backup"},
		"not a backup":        {[]byte("hello"), "not a backup"},
		"a bit flipped":       {append(append([]byte(nil), whole[:len(whole)/2]...), append([]byte{whole[len(whole)/2] ^ 4}, whole[len(whole)/2+1:]...)...), ""},
		"an object altered":   {changed(func(f map[string][]byte) { f[object] = bytes.Replace(f[object], []byte(`"v"`), []byte(`"w"`), 1) }), object + ": was altered"},
		"an object missing":   {changed(func(f map[string][]byte) { delete(f, object) }), object + ": is missing"},
		"an object added":     {changed(func(f map[string][]byte) { f[object+"2"] = f[object] }), "does not know"},
		"a foreign file":      {changed(func(f map[string][]byte) { f["../etc/passwd"] = nil }), "does not belong"},
		"no manifest":         {changed(func(f map[string][]byte) { delete(f, "manifest.json") }), "without a manifest"},
		"no key":              {changed(func(f map[string][]byte) { delete(f, "seal.key") }), "seal.key: is missing"},
		"another key":         {changed(func(f map[string][]byte) { f["seal.key"] = bytes.Repeat([]byte{1}, 32) }), "seal.key: was altered"},
		"the manifest altered": {changed(func(f map[string][]byte) {
			f["manifest.json"] = bytes.Replace(f["manifest.json"], []byte(`"made":"2`), []byte(`"made":"1`), 1)
		}), "was altered"},
		"both altered": {changed(func(f map[string][]byte) {
			old := sha256.Sum256(f[object])
			f[object] = bytes.Replace(f[object], []byte(`"v"`), []byte(`"w"`), 1)
			f["manifest.json"] = bytes.Replace(f["manifest.json"], fmt.Appendf(nil, "%x", old), fmt.Appendf(nil, "%x", sha256.Sum256(f[object])), 1)
		}), "was altered"},
	} {
		file := filepath.Join(t.TempDir(), "backup")
		must(t, os.WriteFile(file, tc.data, 0o600))
		dir := filepath.Join(t.TempDir(), "data")
		if _, err := state.Restore(t.Context(), file, state.Options{DataDir: dir, NoSync: true}); err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v", name, err)
		}
		if entries, _ := os.ReadDir(filepath.Dir(dir)); len(entries) != 0 {
			t.Errorf("%s: left %v", name, entries)
		}
	}
	for name, ids := range map[string][]age.Identity{"no identity": nil, "another identity": {identity(t)}} {
		if _, err := state.Restore(t.Context(), sealed, state.Options{DataDir: filepath.Join(t.TempDir(), "data")}, ids...); err == nil || !strings.Contains(err.Error(), "seal.key.age") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A backup is of one revision, however much is written meanwhile: of two objects that always change
// together, it has the same version.
func TestBackupIsConsistent(t *testing.T) {
	t.Parallel()
	s := open(t, state.Options{DataDir: t.TempDir(), NoSync: true})
	c, ctx := s.Client(), t.Context()
	for _, r := range c.ApplyMany(ctx, manifests(1200), client.ApplyOptions{FieldManager: "git"}) {
		must(t, r.Err)
	}
	// The keys lie at the two ends, so that pages are read between them.
	first, last := configMap("a", "first", "n", "0"), configMap("zz", "last", "n", "0")
	must(t, c.Create(ctx, first))
	must(t, c.Create(ctx, last))
	stop, done := make(chan bool), make(chan bool)
	go func() {
		defer close(done)
		for n := 1; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			// last is written first: a backup that reads on may see it newer, never one of a revision.
			for _, cm := range []*corev1.ConfigMap{last, first} {
				cm.Data["n"] = strings.Repeat("i", n)
				if err := c.Update(ctx, cm); err != nil {
					t.Error(err)
					return
				}
			}
		}
	}()
	for range 10 {
		file := filepath.Join(t.TempDir(), "b")
		_, err := s.BackupFile(ctx, file)
		must(t, err)
		files := unpacked(t, file)
		version := func(name string) int {
			var cm corev1.ConfigMap
			must(t, json.Unmarshal(files["objects/core/configmaps/"+name], &cm))
			return len(cm.Data["n"])
		}
		if ahead := version("zz/last") - version("a/first"); ahead != 0 && ahead != 1 {
			t.Errorf("last is %d versions ahead of first", ahead)
		}
	}
	close(stop)
	<-done
}

// FuzzRestore: whatever the file holds, restore ends with an error or with what was backed up.
func FuzzRestore(f *testing.F) {
	f.Add([]byte("hello"))
	f.Add([]byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff\x01\x00\x00\xff\xff\x00\x00\x00\x00\x00\x00\x00\x00"))
	var buf bytes.Buffer
	zip := gzip.NewWriter(&buf)
	out := tar.NewWriter(zip)
	for name, data := range map[string]string{"seal.key": strings.Repeat("k", 32), "objects/core/configmaps/a/x": "{}", "manifest.json": `{"format":1,"prefix":"/slipway"}`} {
		if err := out.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Size: int64(len(data))}); err != nil {
			f.Fatal(err)
		}
		if _, err := out.Write([]byte(data)); err != nil {
			f.Fatal(err)
		}
	}
	if err := errors.Join(out.Close(), zip.Close()); err != nil {
		f.Fatal(err)
	}
	f.Add(buf.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		file := filepath.Join(t.TempDir(), "b")
		must(t, os.WriteFile(file, data, 0o600))
		dir := filepath.Join(t.TempDir(), "data")
		if _, err := state.Restore(t.Context(), file, state.Options{DataDir: dir, NoSync: true}); err == nil {
			t.Error("restored")
		} else if _, err := os.Stat(dir); err == nil {
			t.Error("a refused backup left a directory")
		}
	})
}
