package runtime

import (
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
)

func TestWhereAProgramIsLookedFor(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name       string
		pod, image []string
		want       []string
	}{
		{"/bin/sh", nil, nil, []string{"/bin/sh"}},
		{"./run", []string{"PATH=/a"}, nil, []string{"./run"}},
		{"sh", []string{"PATH=/a:/b"}, []string{"PATH=/c"}, []string{"/a/sh", "/b/sh"}},
		{"sh", []string{"X=1"}, []string{"PATH=/c::d:/e/"}, []string{"/c/sh", "/e/sh"}},
		{"sh", nil, nil, []string{"/usr/local/sbin/sh", "/usr/local/bin/sh", "/usr/sbin/sh", "/usr/bin/sh", "/sbin/sh", "/bin/sh"}},
	} {
		if got := places(c.name, c.pod, c.image); !slices.Equal(got, c.want) {
			t.Errorf("%s, %v, %v: %v", c.name, c.pod, c.image, got)
		}
	}
}

func TestWhatBeginsAtTheGate(t *testing.T) {
	t.Parallel()
	image := Image{Entrypoint: []string{"/entry"}, Cmd: []string{"of-image"}}
	for name, c := range map[string]struct {
		image         Image
		command, args []string
		want          []string // behind the gate; nil: there is none
	}{
		"the image's":           {image, nil, nil, []string{"/entry", "of-image"}},
		"its arguments changed": {image, nil, []string{"x"}, []string{"/entry", "x"}},
		"another command":       {image, []string{"/other"}, nil, []string{"/other"}},
		"both":                  {image, []string{"/other"}, []string{"x", ""}, []string{"/other", "x", ""}},
		"nothing":               {Image{}, nil, nil, nil},
		"an empty word":         {Image{}, []string{""}, []string{"x"}, nil},
	} {
		m := made{&container.Config{Entrypoint: c.command, Cmd: c.args, Labels: map[string]string{}, Env: []string{"HOSTNAME=mine"}}, &container.HostConfig{}}
		behindGate(&m, c.image, "/dir", "web")
		got := []string(m.Config.Entrypoint)
		if c.want == nil {
			if m.Config.Labels[LabelGate] != "" || len(m.Host.Mounts) != 0 || !slices.Equal(got, c.command) {
				t.Errorf("%s: %v %v", name, got, m.Host.Mounts)
			}
			continue
		}
		i := slices.Index(got, "")
		if i < 0 || !slices.Equal(got[i+1:], c.want) || got[0] != "/dev/.slipway/start" || m.Config.Cmd != nil || m.Config.Labels[LabelGate] != c.want[0] {
			t.Errorf("%s: %q %q", name, got, m.Config.Cmd)
		}
		if len(m.Config.Env) != 1 || len(m.Host.Mounts) != 1 || !m.Host.Mounts[0].ReadOnly {
			t.Errorf("%s: %v %v", name, m.Config.Env, m.Host.Mounts)
		}
	}
}

func TestThePoolWaitsUntilNothingIsStarted(t *testing.T) {
	t.Parallel()
	var b busy
	if b.rest() > 0 {
		t.Error("nothing was ever started")
	}
	first, second := b.begin(), b.begin()
	first()
	if b.rest() != poolCalm {
		t.Error("one is being started")
	}
	second()
	if rest := b.rest(); rest > poolCalm {
		t.Errorf("%v, and nothing is being started", rest)
	}
	b.last = time.Now().Add(-poolCalm)
	if b.rest() > 0 {
		t.Error("that is long ago")
	}
}

func TestNoSandboxesAreKeptWhereGatesCannotRun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if runsNothing(dir) {
		t.Fatal("programs run here")
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_NOEXEC, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	if !runsNothing(dir) {
		t.Error("it is mounted noexec")
	}
}
