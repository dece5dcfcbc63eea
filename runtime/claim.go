package runtime

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"slipway.dev/slipway/state/loop"
)

// claim says which sandbox of the pool is a pod's.
type claim struct {
	ID      string `json:"id"`
	Attempt int    `json:"attempt"`
}

func claimFile(dir string) string { return filepath.Join(dir, "sandbox") }

// claim writes down that a sandbox is a pod's.
func (f files) claim(dir string, c claim) error {
	b, err := json.Marshal(c)
	if err != nil {
		return err
	}
	next := claimFile(dir) + ".next"
	if err := os.WriteFile(next, b, 0o600); err != nil {
		return err
	}
	return os.Rename(next, claimFile(dir))
}

// claimed is the sandbox of the pool that a pod has; without an id: none.
func (f files) claimed(key types.NamespacedName, uid types.UID) (c claim, err error) {
	b, err := os.ReadFile(claimFile(f.dir(key, uid)))
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err != nil {
		return c, fmt.Errorf("pod %s: %w", key, err)
	}
	return c, nil
}

// claims are all pods' sandboxes of the pool, by id.
func (f files) claims() (map[string]owner, error) {
	entries, err := f.entries()
	if err != nil {
		return nil, err
	}
	all := map[string]owner{}
	for _, e := range entries {
		parts := strings.SplitN(e, "_", 3)
		if len(parts) != 3 {
			continue
		}
		o := owner{loop.Key{Namespace: parts[0], Name: parts[1]}, types.UID(parts[2])}
		c, err := f.claimed(o.key, o.uid)
		if err != nil {
			return nil, err
		}
		if c.ID != "" {
			all[c.ID] = o
		}
	}
	return all, nil
}
