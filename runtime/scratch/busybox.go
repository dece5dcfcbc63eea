package scratch

import (
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// BusyboxConfig is the configuration of an image of [Busybox].
var BusyboxConfig = Config{Cmd: []string{"sh"}, Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}}

// Busybox lists the files of a small system around this machine's static busybox: a
// shell, tar, httpd, wget, nc and the like. It fails if there is none.
func Busybox() ([]File, error) {
	path, err := exec.LookPath("busybox")
	if err != nil {
		return nil, fmt.Errorf("install a static busybox, on Debian with `apt-get install busybox-static` (%w)", err)
	}
	f, err := elf.Open(path)
	if err != nil {
		return nil, fmt.Errorf("busybox %s: %w", path, err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return nil, fmt.Errorf("busybox %s is not static: install a static one, on Debian with `apt-get install busybox-static`", path)
		}
	}
	binary, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("busybox: %w", err)
	}
	applets, err := exec.Command(path, "--list").Output()
	if err != nil {
		return nil, fmt.Errorf("busybox %s --list: %w", path, err)
	}
	files := []File{
		{Name: "bin", Mode: 0o755, Dir: true},
		{Name: "bin/busybox", Mode: 0o755, Data: binary},
		{Name: "etc", Mode: 0o755, Dir: true},
		{Name: "etc/passwd", Mode: 0o644, Data: []byte("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")},
		{Name: "etc/group", Mode: 0o644, Data: []byte("root:x:0:\nnogroup:x:65534:\n")},
		{Name: "root", Mode: 0o700, Dir: true},
		{Name: "tmp", Mode: 0o1777, Dir: true},
		{Name: "usr", Mode: 0o755, Dir: true},
		{Name: "usr/bin", Mode: 0o755, Dir: true},
		{Name: "usr/bin/env", Mode: 0o777, Link: "/bin/busybox"},
	}
	for _, applet := range strings.Fields(string(applets)) {
		if applet != "busybox" {
			files = append(files, File{Name: "bin/" + applet, Mode: 0o777, Link: "busybox"})
		}
	}
	return files, nil
}
