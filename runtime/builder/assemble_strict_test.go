package builder

import (
	"archive/tar"
	"io"
	"io/fs"
	"testing"
	"testing/fstest"
)

// strictTree refuses sub-trees that are not there, as trees of git repositories do.
type strictTree struct{ fstest.MapFS }

func (t strictTree) Sub(dir string) (fs.FS, error) {
	if _, err := fs.Stat(t.MapFS, dir); err != nil {
		return nil, err
	}
	return fs.Sub(t.MapFS, dir)
}

func TestSourceWithoutScriptsOfItsOwn(t *testing.T) {
	t.Parallel()
	l := &layer{Writer: tar.NewWriter(io.Discard)}
	if err := l.scripts(strictTree{fstest.MapFS{"index.html": {Data: []byte("x")}}}, "scripts"); err != nil {
		t.Error(err)
	}
}
