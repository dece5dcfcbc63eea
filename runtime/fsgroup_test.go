package runtime

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestAGroupGetsWhatIsInItsVolume(t *testing.T) {
	t.Parallel()
	dir, outside := t.TempDir(), filepath.Join(t.TempDir(), "f")
	file, sub, pipe, link := filepath.Join(dir, "sub/f"), filepath.Join(dir, "sub"), filepath.Join(dir, "pipe"), filepath.Join(dir, "link")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir(sub, 0o700))
	must(os.WriteFile(file, nil, 0o640))
	must(os.WriteFile(outside, nil, 0o600))
	must(syscall.Mkfifo(pipe, 0o600))
	must(os.Symlink(outside, link))
	of := func(path string) (gid uint32, mode uint32) {
		t.Helper()
		var s syscall.Stat_t
		must(syscall.Lstat(path, &s))
		return s.Gid, s.Mode & 0o7777
	}
	check := func(path string, gid, mode uint32) {
		t.Helper()
		if g, m := of(path); g != gid || mode != 0 && m != mode {
			t.Errorf("%s: group %d, mode %o", path, g, m)
		}
	}
	must(ownBy(dir, 4242, nil))
	check(dir, 4242, 0)
	check(sub, 4242, 0o2770)
	check(file, 4242, 0o660)
	check(pipe, 4242, 0o660)
	check(link, 4242, 0)
	check(outside, uint32(os.Getgid()), 0o600)

	policy := corev1.FSGroupChangeOnRootMismatch
	must(os.Chown(file, -1, 0))
	must(ownBy(dir, 4242, &policy))
	check(file, 0, 0o660)
	must(ownBy(dir, 4243, &policy))
	check(file, 4243, 0o660)
}
