package builder

import (
	"archive/tar"
	"errors"
	"io"
	"io/fs"
	"path"
	"time"
)

// file is a file that is added to a tar, or stands in for one of the tree.
type file struct {
	name string
	data []byte
	mode fs.FileMode
}

// writeTree writes a tree below prefix, without its .git and without what skip names.
// Only folders, regular files and their executable bits get in: a tree can carry no
// device, no hard link and no symlink out of itself into a build.
func writeTree(w *tar.Writer, tree fs.FS, prefix string, skip func(name string) bool, when time.Time) error {
	return fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name == "." {
			return nil
		}
		if path.Base(name) == ".git" || skip(name) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		switch {
		case d.IsDir():
			return w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: path.Join(prefix, name) + "/", Mode: 0o755, ModTime: when})
		case !info.Mode().IsRegular():
			return nil
		}
		return copyFile(w, tree, name, path.Join(prefix, name), info, when)
	})
}

func copyFile(w *tar.Writer, tree fs.FS, name, as string, info fs.FileInfo, when time.Time) (err error) {
	mode := int64(0o644)
	if info.Mode()&0o111 != 0 {
		mode = 0o755
	}
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: as, Mode: mode, Size: info.Size(), ModTime: when}); err != nil {
		return err
	}
	f, err := tree.Open(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = io.Copy(w, f)
	return err
}

func writeFile(w *tar.Writer, f file, when time.Time) error {
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: int64(f.mode), Size: int64(len(f.data)), ModTime: when}); err != nil {
		return err
	}
	_, err := w.Write(f.data)
	return err
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

func nothing(string) bool { return false }
