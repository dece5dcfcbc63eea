package execution

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"slipway.dev/slipway/api"
)

// Run runs a command, and answers with its exit code.
type Run func(context.Context, api.Exec) (code int, err error)

// Serve takes a request over and runs what it asks for in the pod. It answers with an
// error where nothing was taken over.
func Serve(w http.ResponseWriter, r *http.Request, pod types.NamespacedName, run Run) error {
	if !strings.EqualFold(r.Header.Get("Upgrade"), Protocol) {
		return apierrors.NewBadRequest("use `slipway exec`: want an upgrade to " + Protocol)
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+Protocol+"\r\n\r\n"); err != nil {
		return nil
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	out := &frames{w: conn}
	x := wanted(r.URL.Query())
	x.Pod, x.Stdout, x.Stderr = pod, stream{out, stdout}, stream{out, stderr}
	input, feed := io.Pipe()
	defer input.Close()
	if x.Stdin == nil {
		_ = input.Close() // What comes nevertheless is dropped.
	} else {
		x.Stdin = input
	}
	var sizes chan api.TerminalSize
	if x.TTY {
		sizes = make(chan api.TerminalSize, 1)
		x.Sizes = sizes
	}
	go func() {
		// Who asked has gone, or talks nonsense: the command goes, too.
		defer cancel()
		_ = feed.CloseWithError(listen(ctx, buffered.Reader, feed, sizes))
	}()
	code, err := run(ctx, x)
	o := outcome{Code: code}
	if err != nil {
		o.Error = err.Error()
	}
	_ = out.object(end, o)
	return nil
}

// query is a request as parameters, and wanted reads them.
func query(x api.Exec) url.Values {
	return url.Values{
		"container": {x.Container}, "command": x.Command,
		"tty": {strconv.FormatBool(x.TTY)}, "stdin": {strconv.FormatBool(x.Stdin != nil)},
	}
}

func wanted(q url.Values) api.Exec {
	x := api.Exec{Container: q.Get("container"), Command: q["command"], TTY: q.Get("tty") == "true"}
	if q.Get("stdin") == "true" {
		x.Stdin = strings.NewReader("")
	}
	return x
}

// listen hands on what the asker sends, until he sends no more.
func listen(ctx context.Context, r *bufio.Reader, feed *io.PipeWriter, sizes chan api.TerminalSize) error {
	for {
		k, content, err := read(r)
		if err != nil {
			return err
		}
		switch {
		case k == stdin && len(content) == 0:
			_ = feed.Close()
		case k == stdin:
			if _, err := feed.Write(content); err != nil && !errors.Is(err, io.ErrClosedPipe) {
				return err
			}
		case k == resize && sizes != nil:
			var s api.TerminalSize
			if err := json.Unmarshal(content, &s); err != nil {
				return err
			}
			select {
			case sizes <- s:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}
