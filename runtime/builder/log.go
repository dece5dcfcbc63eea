package builder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	buildv1 "github.com/openshift/api/build/v1"
	"k8s.io/apimachinery/pkg/types"
)

const (
	// maxLog is how many bytes of output a build's log keeps.
	maxLog = 16 << 20
	// snippetLines is how many lines of it the build's status repeats.
	snippetLines = 5
	snippetBytes = 4096
	// pollLog is how often a followed log is looked at.
	pollLog = 100 * time.Millisecond
)

// buildLog is a build's output on disk, cut at maxLog.
type buildLog struct {
	*os.File
	left int
}

func (l *buildLog) Write(p []byte) (int, error) {
	if l.left <= 0 {
		return len(p), nil
	}
	n := min(len(p), l.left)
	l.left -= n
	if _, err := l.File.Write(p[:n]); err != nil {
		return 0, err
	}
	if l.left == 0 {
		_, _ = l.File.WriteString("\n[the rest of the output is not kept]\n")
	}
	return len(p), nil
}

func (b *Builder) logPath(namespace, name string) string {
	return filepath.Join(b.Dir, "logs", namespace, name+".log")
}

func (b *Builder) openLog(build *buildv1.Build) (*buildLog, error) {
	p := b.logPath(build.Namespace, build.Name)
	if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(p, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	return &buildLog{File: f, left: maxLog}, nil
}

// Logs reads a build's output; follow goes on until the build ends.
func (b *Builder) Logs(ctx context.Context, key types.NamespacedName, follow bool) (io.ReadCloser, error) {
	f, err := os.Open(b.logPath(key.Namespace, key.Name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("build %s has no log on node %s yet", key, b.Node)
	}
	if err != nil || !follow {
		return f, err
	}
	return &followed{File: f, ctx: ctx, ended: func() bool {
		var build buildv1.Build
		if err := b.Client.Get(ctx, key, &build); err != nil {
			return true
		}
		return build.Status.CompletionTimestamp != nil
	}}, nil
}

type followed struct {
	*os.File
	ctx   context.Context
	ended func() bool
}

func (f *followed) Read(p []byte) (int, error) {
	for last := false; ; {
		n, err := f.File.Read(p)
		if n > 0 || !errors.Is(err, io.EOF) || last {
			return n, err
		}
		last = f.ended()
		if last {
			continue
		}
		select {
		case <-f.ctx.Done():
			return 0, f.ctx.Err()
		case <-time.After(pollLog):
		}
	}
}

// snippet is the end of a build's log: its last lines, of at most snippetBytes.
func (b *Builder) snippet(build *buildv1.Build) string {
	f, err := os.Open(b.logPath(build.Namespace, build.Name))
	if err != nil {
		return ""
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return ""
	}
	data, err := io.ReadAll(io.NewSectionReader(f, max(0, info.Size()-snippetBytes), snippetBytes))
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(strings.ToValidUTF8(string(data), "")), "\n")
	return strings.Join(lines[max(0, len(lines)-snippetLines):], "\n")
}
