package server

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"filippo.io/age"

	"slipway.dev/slipway/state"
)

// stateOptions are those of the live state of a data directory; etcd names other endpoints than `up` had.
func stateOptions(dataDir string, etcd []string) (state.Options, error) {
	c, err := load(dataDir)
	if err != nil {
		return state.Options{}, err
	}
	if len(etcd) > 0 {
		c.Etcd = etcd
	}
	return state.Options{DataDir: c.stateDir(), Endpoints: c.Etcd, Log: slog.New(slog.DiscardHandler)}, nil
}

// Backup writes live state to a new file, while the server runs or not. The sealing key is encrypted to the
// recipients (age1…); without any the file holds it open.
func Backup(ctx context.Context, dataDir string, etcd []string, file string, recipients []string) (state.Manifest, error) {
	var to []age.Recipient
	for _, r := range recipients {
		recipient, err := age.ParseX25519Recipient(r)
		if err != nil {
			return state.Manifest{}, fmt.Errorf("--recipient %q: %w", r, err)
		}
		to = append(to, recipient)
	}
	o, err := stateOptions(dataDir, etcd)
	if err != nil {
		return state.Manifest{}, err
	}
	s, err := state.Attach(ctx, o)
	if err != nil {
		return state.Manifest{}, err
	}
	defer s.Close()
	return s.BackupFile(ctx, file, to...)
}

// Restore makes the live state of a data directory, which must have none, from a backup. identities is a file
// of age identities, for a backup with an encrypted key.
func Restore(ctx context.Context, dataDir, file, identities string) (state.Manifest, error) {
	var ids []age.Identity
	if identities != "" {
		f, err := os.Open(identities)
		if err != nil {
			return state.Manifest{}, err
		}
		defer f.Close()
		if ids, err = age.ParseIdentities(f); err != nil {
			return state.Manifest{}, fmt.Errorf("--identity %s: %w", identities, err)
		}
	}
	c := Config{DataDir: dataDir}
	return state.Restore(ctx, filepath.Clean(file), state.Options{DataDir: c.stateDir(), Log: slog.New(slog.DiscardHandler)}, ids...)
}

// RotateKey seals all that is sealed in live state with a new key. The server must not run.
func RotateKey(ctx context.Context, dataDir string, etcd []string) (int, error) {
	o, err := stateOptions(dataDir, etcd)
	if err != nil {
		return 0, err
	}
	return state.RotateKey(ctx, o)
}
