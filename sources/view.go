package sources

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"

	"slipway.dev/slipway/api"
)

// ErrSubmodule says that a path is a submodule, or below one, that is not read.
var ErrSubmodule = errors.New("submodule")

// unreadError is an error that is api.ErrUnread, in words of its own.
type unreadError struct{ error }

func unread(format string, args ...any) error { return unreadError{fmt.Errorf(format, args...)} }

func (e unreadError) Unwrap() error      { return e.error }
func (unreadError) Is(target error) bool { return target == api.ErrUnread }

// view says what is seen of a commit's tree.
type view struct {
	// spec are the patterns of spec.ignore, which come after all others; nil: none.
	spec *rules
	// parsed caches rules by what they are made from.
	parsed sync.Map
	// modules are the submodules that are read, by path; nil: none is.
	modules map[string]module
	// pointers says that git LFS pointers are read as they are.
	pointers bool
	// lfs has the content of git LFS pointers; nil: they are refused.
	lfs *lfsStore
}

func newView(ignore string) *view {
	return &view{spec: parseRules(ignore, nil, nil)}
}

// module is a submodule's tree.
type module struct {
	objects *objects
	root    plumbing.Hash
}

// enter is the root of the submodule n.
func (v *view) enter(n node) (node, error) {
	name := strings.Join(n.path, "/")
	if v == nil || v.modules == nil {
		return n, unread("%w %s is not read: set spec.recurseSubmodules of the GitRepository, or keep it away from what is rendered", ErrSubmodule, name)
	}
	m, ok := v.modules[name]
	if !ok {
		return n, unread("%w %s is not in .gitmodules", ErrSubmodule, name)
	}
	n.objects, n.entry.Mode, n.entry.Hash = m.objects, filemode.Dir, m.root
	return n, nil
}

// marks tells the digests of views apart that see different things at one object.
func (v *view) marks() string {
	if v == nil {
		return ""
	}
	marks := v.spec.digest()
	if v.modules != nil {
		marks += "+submodules"
	}
	if v.lfs != nil {
		marks += "+lfs"
	}
	return marks
}

// ErrLFS says that a file's content is in git LFS, and what git holds is a pointer to it.
var ErrLFS = errors.New("content in git LFS")

// maxPointer is longer than any pointer is.
const maxPointer = 1024

// pointer is how every git LFS pointer begins.
var pointer = []byte("version https://git-lfs.github.com/spec/v1\n")

// smudge puts the content in the place of a pointer, or refuses it: who reads one as if it
// were the content goes wrong quietly. Without a view, and for builds, a file is what git holds.
func (v *view) smudge(n node, content []byte) ([]byte, error) {
	if v == nil || v.pointers || len(content) > maxPointer || !bytes.HasPrefix(content, pointer) {
		return content, nil
	}
	name := strings.Join(n.path, "/")
	if v.lfs == nil {
		return nil, unread("%w is not read: set spec.lfs of the GitRepository, or keep %s in git itself, or away from what is rendered", ErrLFS, name)
	}
	p, ok := parsePointer(content)
	if !ok {
		return nil, unread("%w: %s is a pointer that cannot be read", ErrLFS, name)
	}
	content, err := v.lfs.read(p)
	if errors.Is(err, os.ErrNotExist) {
		return nil, unread("%w: that of %s is not here: pointers in submodules are not followed", ErrLFS, name)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrLFS, name, err)
	}
	return content, nil
}
