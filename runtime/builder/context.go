package builder

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// file is a file that is added to a tar.
type file struct {
	name string
	data []byte
	mode fs.FileMode
}

// layer is a tar whose entries have one owner and one time.
type layer struct {
	*tar.Writer
	when     time.Time
	uid, gid int
	// executable makes every file executable.
	executable bool
}

func (l *layer) header(h *tar.Header) error {
	h.Uid, h.Gid, h.ModTime, h.Format = l.uid, l.gid, l.when, tar.FormatPAX
	return l.WriteHeader(h)
}

func (l *layer) dir(name string) error {
	return l.header(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755})
}

// dirs writes a folder below prefix and those above it: what the engine makes up for
// itself belongs to root.
func (l *layer) dirs(prefix, dir string) error {
	for part := range strings.SplitSeq(dir, "/") {
		if part == "." || part == "" {
			continue
		}
		prefix = path.Join(prefix, part)
		if err := l.dir(prefix); err != nil {
			return err
		}
	}
	return nil
}

func (l *layer) file(f file) error {
	if err := l.header(&tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: int64(f.mode), Size: int64(len(f.data))}); err != nil {
		return err
	}
	_, err := l.Write(f.data)
	return err
}

// tree writes a tree below prefix, without its .git and without what is ignored. Folders,
// regular files with their executable bits, and symbolic links get in: a link is resolved
// where it is unpacked, within the image or the engine's copy of the context, and never
// on the node.
func (l *layer) tree(tree fs.FS, prefix string, skip ignore) error {
	return fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		switch {
		case name == ".":
			return nil
		case path.Base(name) == ".git":
			return skipped(d)
		case skip.out(name):
			if d.IsDir() && skip.bringsBack() {
				return nil // something below may come back
			}
			return skipped(d)
		}
		return l.entry(tree, name, path.Join(prefix, name), d)
	})
}

func skipped(d fs.DirEntry) error {
	if d.IsDir() {
		return fs.SkipDir
	}
	return nil
}

func (l *layer) entry(tree fs.FS, name, as string, d fs.DirEntry) error {
	switch {
	case d.IsDir():
		return l.dir(as)
	case d.Type() == fs.ModeSymlink:
		to, err := fs.ReadLink(tree, name)
		if err != nil {
			return err
		}
		return l.header(&tar.Header{Typeflag: tar.TypeSymlink, Name: as, Linkname: to, Mode: 0o777})
	case !d.Type().IsRegular():
		return nil
	}
	return l.copyFile(tree, name, as)
}

func (l *layer) copyFile(tree fs.FS, name, as string) (err error) {
	f, err := tree.Open(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := l.header(&tar.Header{Typeflag: tar.TypeReg, Name: as, Mode: l.mode(int64(info.Mode())), Size: info.Size()}); err != nil {
		return err
	}
	_, err = io.Copy(l, f)
	return err
}

func (l *layer) mode(m int64) int64 {
	if m&0o111 != 0 || l.executable {
		return 0o755
	}
	return 0o644
}

// retar copies a tar that an image's files, or an image's script, made. rename says where
// an entry goes, or that it stays out. Nothing gets in but folders, files and links; an
// entry, or a hard link's target, outside the place it is copied to is an error.
func (l *layer) retar(r io.Reader, prefix string, rename func(name string) (string, bool)) error {
	place := func(name string) (string, bool, error) {
		name, ok := rename(strings.TrimLeft(path.Clean(name), "/"))
		if !ok || name == "." || name == "" {
			return "", false, nil
		}
		if !filepath.IsLocal(name) {
			return "", false, fmt.Errorf("entry %q leads out of the folder", name)
		}
		return path.Join(prefix, name), true, nil
	}
	for t := tar.NewReader(r); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name, ok, err := place(h.Name)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		out := &tar.Header{Typeflag: h.Typeflag, Name: name, Mode: h.Mode & 0o777, Linkname: h.Linkname}
		switch h.Typeflag {
		case tar.TypeDir:
			out.Name += "/"
		case tar.TypeReg:
			out.Size = h.Size
		case tar.TypeLink:
			if out.Linkname, ok, err = place(h.Linkname); err != nil || !ok {
				return errors.Join(err, fmt.Errorf("hard link %q has no target", h.Name))
			}
		case tar.TypeSymlink:
		default:
			continue
		}
		if err := l.header(out); err != nil {
			return err
		}
		if _, err := io.CopyN(l, t, out.Size); err != nil {
			return err
		}
	}
}

// stream makes a tar of what write puts in, read as it is written.
func stream(write func(*tar.Writer) error) io.ReadCloser {
	r, w := io.Pipe()
	go func() {
		t := tar.NewWriter(w)
		err := write(t)
		if err == nil {
			err = t.Close()
		}
		w.CloseWithError(err)
	}()
	return r
}
