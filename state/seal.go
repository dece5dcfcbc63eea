package state

import (
	"bytes"
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
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// A sealed value is this header, a random nonce, and the AES-256-GCM ciphertext of the JSON. The
// etcd key is additional data: a value copied to another key does not open there.
const (
	sealHeader = "\x00slipway-sealed-1\x00"
	keyBytes   = 32
)

// sealer encrypts values at rest with the first of its keys, and opens what was sealed with any. Its
// errors never hold any of the plain text.
type sealer struct{ aeads []cipher.AEAD }

func newSealer(keys [][]byte) (*sealer, error) {
	s := &sealer{}
	for _, key := range keys {
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, err
		}
		aead, err := cipher.NewGCMWithRandomNonce(block)
		if err != nil {
			return nil, err
		}
		s.aeads = append(s.aeads, aead)
	}
	return s, nil
}

func (s *sealer) seal(key string, plain []byte) []byte {
	return s.aeads[0].Seal([]byte(sealHeader), nil, plain, []byte(key))
}

// open refuses a value that is not sealed: whoever can write to etcd must not be able to slip in a
// Secret without knowing the sealing key.
func (s *sealer) open(key string, value []byte) ([]byte, error) {
	if len(value) < len(sealHeader) || string(value[:len(sealHeader)]) != sealHeader {
		return nil, fmt.Errorf("%s: is not sealed", key)
	}
	for _, aead := range s.aeads {
		if plain, err := aead.Open(nil, nil, value[len(sealHeader):], []byte(key)); err == nil {
			return plain, nil
		}
	}
	return nil, fmt.Errorf("%s: cannot be unsealed: it was changed, moved, or sealed with another key", key)
}

// current: a value that opens is sealed with the first key.
func (s *sealer) current(key string, value []byte) bool {
	_, err := s.aeads[0].Open(nil, nil, value[len(sealHeader):], []byte(key))
	return err == nil
}

// openSealer reads the key file, or makes it where live state was never sealed before, and compares
// its keys with the fingerprint in live state: one of them it must be. A lost key file is an error, not a new key: a
// new key would make every Secret unreadable one by one and much later.
func openSealer(ctx context.Context, kv *clientv3.Client, prefix, file string) (*sealer, error) {
	mark := prefix + "/" + sealSegment
	got, err := kv.Get(ctx, mark)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", mark, err)
	}
	keys, err := readKeys(file)
	if errors.Is(err, fs.ErrNotExist) {
		if len(got.Kvs) > 0 {
			return nil, fmt.Errorf("sealing key %s is missing, and live state has secrets sealed with it: restore the file", file)
		}
		keys, err = makeKey(file)
	}
	if err != nil {
		return nil, err
	}
	resp, err := kv.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(mark), "=", 0)).
		Then(clientv3.OpPut(mark, fingerprint(keys[0]))).Else(clientv3.OpGet(mark)).Commit()
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", mark, err)
	}
	if !resp.Succeeded {
		print := string(resp.Responses[0].GetResponseRange().Kvs[0].Value)
		if !slices.ContainsFunc(keys, func(key []byte) bool { return fingerprint(key) == print }) {
			return nil, fmt.Errorf("sealing key %s is not the one that live state was sealed with", file)
		}
	}
	return newSealer(keys)
}

func fingerprint(key []byte) string {
	m := hmac.New(sha256.New, key)
	m.Write([]byte("slipway sealing key fingerprint"))
	return hex.EncodeToString(m.Sum(nil))
}

// readKeys reads a key file: one key, or while keys are being rotated several, the newest first.
func readKeys(file string) ([][]byte, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, fmt.Errorf("sealing key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("sealing key %s: mode %o lets others read it: chmod 600", file, info.Mode().Perm())
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("sealing key: %w", err)
	}
	if len(data) == 0 || len(data)%keyBytes != 0 {
		return nil, fmt.Errorf("sealing key %s: has %d bytes, want %d for each key", file, len(data), keyBytes)
	}
	return slices.Collect(slices.Chunk(data, keyBytes)), nil
}

func newKey() []byte {
	key := make([]byte, keyBytes)
	rand.Read(key)
	return key
}

// makeKey writes a new key so that the file is either whole or absent, and lets the first of two
// processes win.
func makeKey(file string) ([][]byte, error) {
	tmp, err := writeKeys(file, newKey())
	if err != nil {
		return nil, err
	}
	defer os.Remove(tmp)
	if err := os.Link(tmp, file); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("sealing key: %w", err)
	}
	return readKeys(file)
}

// replaceKeys puts other keys into the key file, all at once.
func replaceKeys(file string, keys ...[]byte) error {
	tmp, err := writeKeys(file, keys...)
	if err != nil {
		return err
	}
	if err = os.Rename(tmp, file); err == nil {
		err = syncDir(filepath.Dir(file))
	}
	if err != nil {
		return fmt.Errorf("sealing key: %w", err)
	}
	return nil
}

// writeKeys writes keys to a new file beside the key file, and to the disk.
func writeKeys(file string, keys ...[]byte) (string, error) {
	tmp, err := os.CreateTemp(filepath.Dir(file), ".seal-*")
	if err != nil {
		return "", fmt.Errorf("sealing key: %w", err)
	}
	_, err = tmp.Write(bytes.Join(keys, nil))
	if err = errors.Join(err, tmp.Chmod(0o600), tmp.Sync(), tmp.Close()); err != nil {
		os.Remove(tmp.Name())
		return "", fmt.Errorf("sealing key: %w", err)
	}
	return tmp.Name(), nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
