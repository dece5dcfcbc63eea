package state

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// A sealed value is this header, a random nonce, and the AES-256-GCM ciphertext of the JSON. The
// etcd key is additional data: a value copied to another key does not open there.
const (
	sealHeader = "\x00slipway-sealed-1\x00"
	keyBytes   = 32
)

// sealer encrypts values at rest. Its errors never hold any of the plain text.
type sealer struct{ aead cipher.AEAD }

func newSealer(key []byte) (*sealer, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	return &sealer{aead}, nil
}

func (s *sealer) seal(key string, plain []byte) []byte {
	return s.aead.Seal([]byte(sealHeader), nil, plain, []byte(key))
}

// open refuses a value that is not sealed: whoever can write to etcd must not be able to slip in a
// Secret without knowing the sealing key.
func (s *sealer) open(key string, value []byte) ([]byte, error) {
	if len(value) < len(sealHeader) || string(value[:len(sealHeader)]) != sealHeader {
		return nil, fmt.Errorf("%s: is not sealed", key)
	}
	plain, err := s.aead.Open(nil, nil, value[len(sealHeader):], []byte(key))
	if err != nil {
		return nil, fmt.Errorf("%s: cannot be unsealed: it was changed, moved, or sealed with another key", key)
	}
	return plain, nil
}

// openSealer reads the key file, or makes it where live state was never sealed before, and compares
// the key with the fingerprint in live state. A lost key file is an error, not a new key: a
// new key would make every Secret unreadable one by one and much later.
func openSealer(ctx context.Context, kv *clientv3.Client, prefix, file string) (*sealer, error) {
	mark := prefix + "/" + sealSegment
	got, err := kv.Get(ctx, mark)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", mark, err)
	}
	key, err := readKey(file)
	if errors.Is(err, fs.ErrNotExist) {
		if len(got.Kvs) > 0 {
			return nil, fmt.Errorf("sealing key %s is missing, and live state has secrets sealed with it: restore the file", file)
		}
		key, err = makeKey(file)
	}
	if err != nil {
		return nil, err
	}
	print := fingerprint(key)
	resp, err := kv.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(mark), "=", 0)).
		Then(clientv3.OpPut(mark, print)).Else(clientv3.OpGet(mark)).Commit()
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", mark, err)
	}
	if !resp.Succeeded && string(resp.Responses[0].GetResponseRange().Kvs[0].Value) != print {
		return nil, fmt.Errorf("sealing key %s is not the one that live state was sealed with", file)
	}
	return newSealer(key)
}

func fingerprint(key []byte) string {
	m := hmac.New(sha256.New, key)
	m.Write([]byte("slipway sealing key fingerprint"))
	return hex.EncodeToString(m.Sum(nil))
}

func readKey(file string) ([]byte, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, fmt.Errorf("sealing key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("sealing key %s: mode %o lets others read it: chmod 600", file, info.Mode().Perm())
	}
	key, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("sealing key: %w", err)
	}
	if len(key) != keyBytes {
		return nil, fmt.Errorf("sealing key %s: has %d bytes, want %d", file, len(key), keyBytes)
	}
	return key, nil
}

// makeKey writes a new key so that the file is either whole or absent, and lets the first of two
// processes win.
func makeKey(file string) ([]byte, error) {
	key := make([]byte, keyBytes)
	rand.Read(key)
	tmp, err := os.CreateTemp(filepath.Dir(file), ".seal-*")
	if err != nil {
		return nil, fmt.Errorf("sealing key: %w", err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(key)
	err = errors.Join(err, tmp.Chmod(0o600), tmp.Sync(), tmp.Close())
	if err != nil {
		return nil, fmt.Errorf("sealing key: %w", err)
	}
	if err := os.Link(tmp.Name(), file); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("sealing key: %w", err)
	}
	return readKey(file)
}
