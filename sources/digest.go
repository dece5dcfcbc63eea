package sources

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/filemode"
)

// Digest is the mode and git object of a file or folder: equal digests, equal content.
// What a folder shows also follows from the patterns that hide part of it, so that
// they are part of its digest where there are any.
func (f treeFS) Digest(name string) (string, bool) {
	n, err := f.look("digest", name)
	if err != nil {
		return "", false
	}
	return f.digest(n), true
}

func (f treeFS) digest(n node) string {
	plain := n.entry.Mode.String() + ":" + n.entry.Hash.String()
	if n.entry.Mode != filemode.Dir && n.entry.Mode != filemode.Submodule {
		return plain
	}
	marks := f.view.marks() + n.rules.digest()
	if marks == "" {
		return plain
	}
	// Patterns match by the whole path, so that the same folder elsewhere may look different.
	sum := sha256.Sum256([]byte(marks + "\x00" + strings.Join(n.path, "/")))
	return plain + ":" + hex.EncodeToString(sum[:16])
}
