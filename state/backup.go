package state

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"filippo.io/age"
)

// A backup is a gzipped tar: one file for each key of etcd below objects/, as it is stored (what is sealed
// stays sealed), the key file, and last the manifest with everything's SHA-256.
const (
	backupObjects  = "objects"
	backupKey      = "seal.key"
	backupAgeKey   = "seal.key.age"
	backupManifest = "manifest.json"
	backupFormat   = 1
)

// Manifest is the last file of a backup.
type Manifest struct {
	// Format is 1.
	Format int `json:"format"`
	// Made is when, in UTC, and Revision as of which revision of etcd.
	Made     time.Time `json:"made"`
	Revision int64     `json:"revision"`
	// Prefix is what every key began with.
	Prefix string `json:"prefix"`
	// Digests are the SHA-256 of every other file of the backup, in hexadecimal, by name.
	Digests map[string]string `json:"digests"`
	// Seal is the HMAC-SHA-256 of the manifest without it, with the newest sealing key: only who has the key
	// can change a backup.
	Seal string `json:"seal"`
}

// Objects is how many objects the backup holds.
func (m Manifest) Objects() int { return len(m.Digests) - 1 }

func (m Manifest) seal(key []byte) string {
	m.Seal = ""
	data, err := json.Marshal(m)
	if err != nil {
		panic(err) // strings and numbers always marshal
	}
	h := hmac.New(sha256.New, key)
	h.Write(data)
	return hex.EncodeToString(h.Sum(nil))
}

// Attach opens live state whether or not a server runs on its data directory: through the server's socket, if
// there is one that answers, otherwise by itself. The directory must be there already.
func Attach(ctx context.Context, o Options) (*Store, error) {
	if len(o.Endpoints) == 0 {
		if _, err := os.Stat(filepath.Join(o.DataDir, "etcd")); err != nil {
			return nil, fmt.Errorf("%s holds no live state: %w", o.DataDir, err)
		}
		if conn, err := net.Dial("unix", strings.TrimPrefix(Socket(o.DataDir), "unix://")); err == nil {
			conn.Close()
			o.Endpoints = []string{Socket(o.DataDir)}
		}
	}
	return Open(ctx, o)
}

// Backup writes everything, as of one revision, to w. The sealing key is encrypted to the recipients, or where
// there are none, lies open in it.
func (s *Store) Backup(ctx context.Context, w io.Writer, to ...age.Recipient) (Manifest, error) {
	c := s.client
	m := Manifest{Format: backupFormat, Made: c.opts.Now().UTC().Truncate(time.Second), Prefix: c.opts.Prefix, Digests: map[string]string{}}
	zip := gzip.NewWriter(w)
	out := &archive{tar: tar.NewWriter(zip), made: m.Made, digests: m.Digests}
	keys, err := readKeys(c.opts.KeyFile)
	if err != nil {
		return m, err
	}
	if err := out.addKey(keys, to); err != nil {
		return m, err
	}
	all := &snapshot{c: c}
	for !all.done {
		kvs, err := all.next(ctx)
		if err != nil {
			return m, err
		}
		for _, kv := range kvs {
			key := string(kv.Key)
			if !c.own(key) {
				continue
			}
			if err := out.add(backupObjects+strings.TrimPrefix(key, c.opts.Prefix), kv.Value); err != nil {
				return m, err
			}
		}
	}
	m.Revision = all.rev
	m.Seal = m.seal(keys[0])
	data, err := json.Marshal(m)
	if err != nil {
		return m, err
	}
	if err := out.add(backupManifest, data); err != nil {
		return m, err
	}
	return m, errors.Join(out.tar.Close(), zip.Close())
}

// BackupFile is Backup to a file that must not exist yet. It has mode 0600 and is there only once it is whole.
func (s *Store) BackupFile(ctx context.Context, file string, to ...age.Recipient) (m Manifest, err error) {
	tmp, err := os.CreateTemp(filepath.Dir(file), ".slipway-backup-*")
	if err != nil {
		return m, fmt.Errorf("backup: %w", err)
	}
	defer os.Remove(tmp.Name())
	m, err = s.Backup(ctx, tmp, to...)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err == nil {
		// Unlike a rename, a link never replaces.
		err = os.Link(tmp.Name(), file)
	}
	if err == nil {
		err = syncDir(filepath.Dir(file))
	}
	if err != nil {
		return m, fmt.Errorf("backup to %s: %w", file, err)
	}
	return m, nil
}

// archive writes files and keeps their digests.
type archive struct {
	tar     *tar.Writer
	made    time.Time
	digests map[string]string
}

func (a *archive) add(name string, data []byte) error {
	h := &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o600, Size: int64(len(data)), ModTime: a.made}
	if err := a.tar.WriteHeader(h); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if _, err := a.tar.Write(data); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if name != backupManifest {
		sum := sha256.Sum256(data)
		a.digests[name] = hex.EncodeToString(sum[:])
	}
	return nil
}

func (a *archive) addKey(keys [][]byte, to []age.Recipient) error {
	var plain []byte
	for _, k := range keys {
		plain = append(plain, k...)
	}
	if len(to) == 0 {
		return a.add(backupKey, plain)
	}
	var out strings.Builder
	w, err := age.Encrypt(&out, to...)
	if err != nil {
		return fmt.Errorf("encrypt the sealing key: %w", err)
	}
	_, err = w.Write(plain)
	if err := errors.Join(err, w.Close()); err != nil {
		return fmt.Errorf("encrypt the sealing key: %w", err)
	}
	return a.add(backupAgeKey, []byte(out.String()))
}
