package sources

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
)

// shallows are the commits whose parents were left out of a fetch with a depth, kept in
// the file that git keeps them in.
type shallows struct {
	mu  sync.Mutex
	all map[plumbing.Hash]bool
}

func readShallows(dir string) (map[plumbing.Hash]bool, error) {
	all := map[plumbing.Hash]bool{}
	text, err := os.ReadFile(filepath.Join(dir, "shallow"))
	if errors.Is(err, fs.ErrNotExist) {
		return all, nil
	}
	for line := range strings.FieldsSeq(string(text)) {
		if isHash(line) {
			all[plumbing.NewHash(line)] = true
		}
	}
	return all, err
}

// cut asks a server for the mirror's depth of history, and says where it ended before.
func (r *Mirror) cut(req *packp.UploadPackRequest, adv *packp.AdvRefs) error {
	if r.depth <= 0 || !adv.Capabilities.Supports(capability.Shallow) {
		return nil
	}
	r.objects.shallows.mu.Lock()
	req.Shallows = slices.Collect(maps.Keys(r.objects.shallows.all))
	r.objects.shallows.mu.Unlock()
	req.Depth = packp.DepthCommits(r.depth)
	return req.Capabilities.Set(capability.Shallow)
}

// ends notes where history ends now. It is stored before any reference names a commit
// whose parents are not here.
func (r *Mirror) ends(update packp.ShallowUpdate) error {
	if len(update.Shallows) == 0 && len(update.Unshallows) == 0 {
		return nil
	}
	s := &r.objects.shallows
	s.mu.Lock()
	defer s.mu.Unlock()
	all := maps.Clone(s.all)
	for _, h := range update.Unshallows {
		delete(all, h)
	}
	for _, h := range update.Shallows {
		all[h] = true
	}
	var b bytes.Buffer
	for _, h := range slices.SortedFunc(maps.Keys(all), func(a, b plumbing.Hash) int { return bytes.Compare(a[:], b[:]) }) {
		b.WriteString(h.String() + "\n")
	}
	if err := replaceFile(filepath.Join(r.dir, "shallow"), b.Bytes()); err != nil {
		return err
	}
	s.all = all
	return nil
}
