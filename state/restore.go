package state

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"filippo.io/age"
	clientv3 "go.etcd.io/etcd/client/v3"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// maxBackupFile bounds one file of a backup; etcd holds no larger value, and the manifest of a million
// objects is smaller.
const maxBackupFile = 256 << 20

// Restore makes a data directory, which must be empty or not exist, from a backup. The backup is read and
// verified as a whole before anything is written; the directory is there only once it is complete.
// Options other than DataDir and Log are those of the server that will run on it. Identities decrypt the sealing
// key of a backup that was made for recipients. All resourceVersions are new.
func Restore(ctx context.Context, file string, o Options, identities ...age.Identity) (Manifest, error) {
	b := backup{file: file, identities: identities}
	if err := b.verify(); err != nil {
		return b.manifest, fmt.Errorf("restore %s: %w", file, err)
	}
	target := filepath.Clean(o.DataDir)
	if err := vacant(target); err != nil {
		return b.manifest, err
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
		return b.manifest, fmt.Errorf("restore: %w", err)
	}
	dir, err := os.MkdirTemp(filepath.Dir(target), ".slipway-restore-*")
	if err != nil {
		return b.manifest, fmt.Errorf("restore: %w", err)
	}
	defer os.RemoveAll(dir)
	o.DataDir, o.KeyFile, o.Prefix, o.Endpoints = dir, "", b.manifest.Prefix, nil
	if err := b.fill(ctx, o); err != nil {
		return b.manifest, fmt.Errorf("restore %s: %w", file, err)
	}
	// A rename replaces an empty directory and no other.
	if err := os.Rename(dir, target); err != nil {
		return b.manifest, fmt.Errorf("restore: %w", err)
	}
	return b.manifest, syncDir(filepath.Dir(target))
}

var eventKind = schema.GroupKind{Kind: "Event"}

// vacant: there is nothing in dir that a restore could destroy.
func vacant(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if len(entries) > 0 {
		return fmt.Errorf("restore: %s is not empty (it holds %s): restore to a new directory", dir, entries[0].Name())
	}
	return nil
}

// backup is a file that is read twice: to verify it, and to restore what is in it.
type backup struct {
	file       string
	identities []age.Identity
	manifest   Manifest
	keys       []byte
}

// each calls do for every file in order.
func (b *backup) each(do func(name string, data []byte) error) error {
	f, err := os.Open(b.file)
	if err != nil {
		return err
	}
	defer f.Close()
	zip, err := gzip.NewReader(f)
	if err != nil {
		return fmt.Errorf("is not a backup: %w", err)
	}
	in := tar.NewReader(zip)
	for {
		h, err := in.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("is truncated or altered: %w", err)
		}
		if h.Typeflag != tar.TypeReg || h.Size > maxBackupFile {
			return fmt.Errorf("%s: does not belong in a backup", h.Name)
		}
		data, err := io.ReadAll(in)
		if err != nil {
			return fmt.Errorf("%s: is truncated or altered: %w", h.Name, err)
		}
		if err := do(h.Name, data); err != nil {
			return fmt.Errorf("%s: %w", h.Name, err)
		}
	}
	// What follows the archive must be no more than its padding, and end as gzip ends.
	if rest, err := io.ReadAll(io.LimitReader(zip, maxBackupFile)); err != nil || len(bytes.Trim(rest, "\x00")) > 0 {
		return errors.Join(errors.New("is truncated or altered after its manifest"), err)
	}
	return nil
}

// verify reads the whole backup, compares every digest and the seal, and that every sealed value opens.
func (b *backup) verify() error {
	digests, last := map[string]string{}, ""
	sealed := map[string][]byte{}
	err := b.each(func(name string, data []byte) error {
		if last == backupManifest {
			return errors.New("comes after the manifest")
		}
		last = name
		if name == backupManifest {
			return json.Unmarshal(data, &b.manifest)
		}
		if _, ok := digests[name]; ok {
			return errors.New("is there twice")
		}
		sum := sha256.Sum256(data)
		digests[name] = hex.EncodeToString(sum[:])
		if bytes.HasPrefix(data, []byte(sealHeader)) {
			sealed[name] = data
		}
		return b.readKey(name, data)
	})
	if err != nil {
		return err
	}
	if last != backupManifest {
		return errors.New("is truncated: it ends without a manifest")
	}
	return b.check(digests, sealed)
}

func (b *backup) readKey(name string, data []byte) (err error) {
	switch name {
	case backupKey:
		b.keys = data
	case backupAgeKey:
		if len(b.identities) == 0 {
			return errors.New("is encrypted: the identity that it was made for is needed")
		}
		r, err := age.Decrypt(bytes.NewReader(data), b.identities...)
		if err != nil {
			return err
		}
		if b.keys, err = io.ReadAll(r); err != nil {
			return err
		}
	default:
		if !strings.HasPrefix(name, backupObjects+"/") {
			return errors.New("does not belong in a backup")
		}
		return nil
	}
	if len(b.keys) == 0 || len(b.keys)%keyBytes != 0 {
		return fmt.Errorf("has %d bytes, want %d for each key", len(b.keys), keyBytes)
	}
	return nil
}

func (b *backup) check(digests map[string]string, sealed map[string][]byte) error {
	m := b.manifest
	if m.Format != backupFormat {
		return fmt.Errorf("has format %d, this version reads %d", m.Format, backupFormat)
	}
	for name, digest := range m.Digests {
		if digests[name] == "" {
			return fmt.Errorf("%s: is missing", name)
		}
		if digests[name] != digest {
			return fmt.Errorf("%s: was altered: its SHA-256 is %s, the manifest says %s", name, digests[name], digest)
		}
	}
	if len(digests) != len(m.Digests) {
		return errors.New("holds files that the manifest does not know")
	}
	if b.keys == nil {
		return errors.New("has no sealing key")
	}
	keys := slices.Collect(slices.Chunk(b.keys, keyBytes))
	if !hmac.Equal([]byte(m.Seal), []byte(m.seal(keys[0]))) {
		return errors.New("was altered: its manifest was not sealed with the backup's sealing key")
	}
	s, err := newSealer(keys)
	if err != nil {
		return err
	}
	for name, value := range sealed {
		if _, err := s.open(b.key(name), value); err != nil {
			return err
		}
	}
	return nil
}

// key is the key of etcd that a file was.
func (b *backup) key(name string) string {
	return b.manifest.Prefix + strings.TrimPrefix(name, backupObjects)
}

// fill puts everything into a new live state.
func (b *backup) fill(ctx context.Context, o Options) error {
	if err := os.WriteFile(filepath.Join(o.DataDir, backupKey), b.keys, 0o600); err != nil {
		return err
	}
	s, err := Open(ctx, o)
	if err != nil {
		return err
	}
	defer s.Close()
	events := prefixOf(o.Prefix, catalogue()[eventKind].Kind, "")
	var ops []clientv3.Op
	size := 0
	flush := func() error {
		if len(ops) == 0 {
			return nil
		}
		_, err := s.kv.Txn(ctx).Then(ops...).Commit()
		ops, size = nil, 0
		return err
	}
	err = b.each(func(name string, data []byte) error {
		if !strings.HasPrefix(name, backupObjects+"/") {
			return nil
		}
		key := b.key(name)
		if len(ops) == batchObjects || size+len(data) > batchBytes {
			if err := flush(); err != nil {
				return err
			}
		}
		var opts []clientv3.OpOption
		if strings.HasPrefix(key, events) {
			lease, err := s.client.events.next(ctx)
			if err != nil {
				return err
			}
			opts = append(opts, clientv3.WithLease(lease))
		}
		ops, size = append(ops, clientv3.OpPut(key, string(data), opts...)), size+len(key)+len(data)
		return nil
	})
	return errors.Join(err, flush())
}
