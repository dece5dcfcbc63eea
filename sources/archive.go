package sources

import (
	"archive/tar"
	"fmt"
	"io"
	"io/fs"
	"time"
)

// Archive writes a tree, or the folder dir of it, as a tar: the same tree always as
// the same bytes. Links are written as links, also where they lead out of the tree:
// what unpacks them must not follow them.
func Archive(w io.Writer, tree fs.FS, dir string) error {
	if dir != "" && dir != "." {
		sub, err := fs.Sub(tree, dir)
		if err != nil {
			return err
		}
		tree = sub
	}
	out := tar.NewWriter(w)
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		return archiveOne(out, tree, name, d)
	})
	if err != nil {
		return err
	}
	return out.Close()
}

func archiveOne(out *tar.Writer, tree fs.FS, name string, d fs.DirEntry) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	h := &tar.Header{Name: name, Mode: int64(info.Mode().Perm()), ModTime: info.ModTime().UTC().Truncate(time.Second), Format: tar.FormatPAX}
	var content []byte
	switch {
	case d.IsDir():
		h.Typeflag, h.Name = tar.TypeDir, name+"/"
	case d.Type() == fs.ModeSymlink:
		h.Typeflag = tar.TypeSymlink
		if h.Linkname, err = fs.ReadLink(tree, name); err != nil {
			return err
		}
	case d.Type().IsRegular():
		h.Typeflag = tar.TypeReg
		if content, err = fs.ReadFile(tree, name); err != nil {
			return err
		}
		h.Size = int64(len(content))
	default:
		return fmt.Errorf("archive: %s is neither a file, a folder nor a link", name)
	}
	if err := out.WriteHeader(h); err != nil {
		return fmt.Errorf("archive: %s: %w", name, err)
	}
	_, err = out.Write(content)
	return err
}
