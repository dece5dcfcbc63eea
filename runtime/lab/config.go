package lab

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// configHead begins the files that labs write, so that no other file is overwritten or removed.
const configHead = "# Written by slipway lab up.\n"

// checkConfig refuses a file that is somebody else's.
func checkConfig(file string) error {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && !bytes.HasPrefix(data, []byte(configHead)) {
		err = fmt.Errorf("%s is there already, and no lab has written it: name another file", file)
	}
	if err != nil {
		return fmt.Errorf("--config: %w", err)
	}
	return nil
}

// config is a kubeconfig file with a context per server, the first of them current: for `slipway get --config`,
// and for kubectl, to read with. With the token `slipway exec --config` runs commands in pods.
func (l *Lab) config() []byte {
	var clusters, contexts, users bytes.Buffer
	for _, s := range l.servers() {
		fmt.Fprintf(&clusters, "- name: %s\n  cluster:\n    server: %s\n", s.Name, s.API())
		fmt.Fprintf(&contexts, "- name: %s\n  context:\n    cluster: %[1]s\n    user: %[1]s\n", s.Name)
		fmt.Fprintf(&users, "- name: %s\n  user:\n    tokenFile: %s\n", s.Name, s.execToken())
	}
	return fmt.Appendf(nil, "%sapiVersion: v1\nkind: Config\nclusters:\n%scontexts:\n%susers:\n%scurrent-context: %s\n",
		configHead, &clusters, &contexts, &users, l.servers()[0].Name)
}

func (l *Lab) writeConfig() error {
	if l.Config == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(l.Config), 0o755); err != nil {
		return err
	}
	return os.WriteFile(l.Config, l.config(), 0o600)
}

// removeConfig leaves a file alone that has become another lab's since.
func (l *Lab) removeConfig() error {
	if l.Config == "" || len(l.servers()) == 0 {
		return nil
	}
	data, err := os.ReadFile(l.Config)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !bytes.Equal(data, l.config()) {
		return nil
	}
	if err != nil {
		return err
	}
	return os.Remove(l.Config)
}
