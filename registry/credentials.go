package registry

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Credentials are the user and password of pushes to the registry whose store is in
// dir, for an administrator of the machine; the registry has run there once.
func Credentials(dir string) (user, password string, err error) {
	b, err := os.ReadFile(filepath.Join(dir, "builder-token"))
	if err != nil {
		return "", "", fmt.Errorf("registry: %w", err)
	}
	return Builder, strings.TrimSpace(string(b)), nil
}
