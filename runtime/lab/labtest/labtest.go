// Package labtest gives tests a lab: several Docker hosts on this machine.
package labtest

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"strings"
	"testing"

	"slipway.dev/slipway/runtime/lab"
	"slipway.dev/slipway/runtime/scratch"
)

// New makes a lab as o says, in a folder of its own unless o names one. At the test's end
// everything is taken away, however the test ended. It needs root.
func New(t testing.TB, o lab.Options) *lab.Lab {
	t.Helper()
	if o.Dir == "" {
		dir, err := os.MkdirTemp("", "slip-lab-")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := os.RemoveAll(dir); err != nil {
				t.Error(err)
			}
		})
		o.Dir = dir
	}
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(output{t}, nil))
	}
	l, err := lab.Up(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Down(); err != nil {
			t.Error(err)
		}
	})
	return l
}

type output struct{ t testing.TB }

func (o output) Write(b []byte) (int, error) {
	o.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

// Busybox loads an image with a static busybox (sh, httpd, nc, wget …) into every host, under a name.
func Busybox(t testing.TB, l *lab.Lab, name string) {
	t.Helper()
	files, err := scratch.Busybox()
	if err != nil {
		t.Fatal(err)
	}
	archive, _, err := scratch.Archive(name, files, scratch.BusyboxConfig)
	if err != nil {
		t.Fatal(err)
	}
	for i := range l.Hosts {
		if err := l.Hosts[i].LoadArchive(context.Background(), bytes.NewReader(archive)); err != nil {
			t.Fatal(err)
		}
	}
}
