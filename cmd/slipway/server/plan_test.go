package server

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"net/http"
	"testing"
)

func zipped(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, content := range files {
		w, err := z.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestAWorkingCopyIsATree(t *testing.T) {
	t.Parallel()
	tree, err := openArchive(zipped(t, map[string]string{"projects/shop/a.yaml": "a", "lib/b.libsonnet": "b", "../escape": "c"}))
	if err != nil {
		t.Fatal(err)
	}
	if content, err := fs.ReadFile(tree, "projects/shop/a.yaml"); err != nil || string(content) != "a" {
		t.Errorf("%q, %v", content, err)
	}
	if list, err := fs.ReadDir(tree, "projects"); err != nil || len(list) != 1 || !list[0].IsDir() {
		t.Errorf("%v, %v", list, err)
	}
	if _, err := fs.ReadFile(tree, "../escape"); err == nil {
		t.Error("a path that escapes is read")
	}
}

func TestAWorkingCopyIsBounded(t *testing.T) {
	t.Parallel()
	zeros := string(make([]byte, maxUnpacked/2+1))
	bomb := zipped(t, map[string]string{"a": zeros, "b": zeros})
	var no refusal
	if _, err := openArchive(bomb); !errors.As(err, &no) || no.code != http.StatusRequestEntityTooLarge {
		t.Errorf("a bomb: %v", err)
	}
	if _, err := openArchive([]byte("nonsense")); !errors.As(err, &no) || no.code != http.StatusBadRequest {
		t.Errorf("nonsense: %v", err)
	}

	// An archive that lies about its size is read as far as it said.
	small := zipped(t, map[string]string{"a": zeros})
	at := bytes.LastIndex(small, []byte("PK\x01\x02"))
	binary.LittleEndian.PutUint32(small[at+24:], 10)
	tree, err := openArchive(small)
	if err != nil {
		t.Fatal(err)
	}
	if content, err := fs.ReadFile(tree, "a"); err == nil || len(content) > 1<<20 {
		t.Errorf("%d bytes of 10, %v", len(content), err)
	}
}
