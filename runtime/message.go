package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/docker/docker/api/types/container"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// What is kept of what a container says when it ends: the kubelet's limits.
const (
	messageLimit    = 4096 // bytes of the file
	messageLogLimit = 2048 // bytes of the log
	messageLogLines = "80"
)

// messageFile is where a container's termination message is, on the node.
func messageFile(dir string, kind Kind, name string, attempt int) string {
	return filepath.Join(dir, "messages", string(kind)+"_"+name+"_"+strconv.Itoa(attempt))
}

// makeMessageFile makes the file that a container's terminationMessagePath shows.
func makeMessageFile(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o666)
	if err != nil {
		return err
	}
	// Whatever user the container runs as may write; the umask must not forbid it.
	return errors.Join(f.Chmod(0o666), f.Close())
}

// message is what a container that has ended left to say: the content of its message
// file, or where its policy says so and it failed silently, the end of its log.
func (a *Agent) message(ctx context.Context, key types.NamespacedName, c Container) string {
	known, found := "", false
	a.remember(c.UID, func(m *memory) { known, found = m.messages[c.ID] })
	if found {
		return known
	}
	text, err := readMessage(messageFile(a.files.dir(key, c.UID), c.Kind, c.Name, c.Attempt))
	if err != nil {
		text = fmt.Sprintf("Error on reading termination message: %v", err)
	}
	if text == "" && c.ExitCode != 0 && c.MessagePolicy == string(corev1.TerminationMessageFallbackToLogsOnError) {
		if text, err = a.lastLines(ctx, c.ID); err != nil {
			text = fmt.Sprintf("Error on reading termination message from logs: %v", err)
		}
	}
	if ctx.Err() == nil {
		a.remember(c.UID, func(m *memory) { m.messages[c.ID] = text })
	}
	return text
}

// readMessage reads no link and nothing but a file: a container could have put
// something else there if its volumes reached so far.
func readMessage(path string) (string, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, messageLimit))
	return strings.ToValidUTF8(string(b), "\uFFFD"), err
}

func (a *Agent) lastLines(ctx context.Context, id string) (string, error) {
	info, err := a.Docker.ContainerInspect(ctx, id)
	if err != nil {
		return "", err
	}
	stream, err := a.Docker.ContainerLogs(ctx, id, container.LogsOptions{ShowStdout: true, ShowStderr: true, Tail: messageLogLines})
	if err != nil {
		return "", err
	}
	if !info.Config.Tty {
		stream = demultiplex(stream)
	}
	defer stream.Close()
	end := tail{limit: messageLogLimit}
	_, err = io.Copy(&end, stream)
	return strings.ToValidUTF8(string(end.kept), "\uFFFD"), err
}

// tail keeps the last bytes of what is written to it.
type tail struct {
	limit int
	kept  []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p[max(len(p)-t.limit, 0):]...)
	if extra := len(t.kept) - t.limit; extra > 0 {
		t.kept = append(t.kept[:0], t.kept[extra:]...)
	}
	return len(p), nil
}
