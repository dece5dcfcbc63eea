package execution

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slipway.dev/slipway/api"
)

// maxRefusal bounds what is read of a refusal, in bytes.
const maxRefusal = 64 << 10

// Call asks for a command by a connection to where target is served, and answers with the
// command's exit code. It closes the connection.
func Call(ctx context.Context, conn net.Conn, target *url.URL, header http.Header, x api.Exec) (code int, err error) {
	defer conn.Close()
	defer func() {
		if err != nil && ctx.Err() != nil {
			err = ctx.Err() // Which closed the connection.
		}
	}()
	over, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(over, func() { _ = conn.Close() })()
	u := *target
	u.RawQuery = query(x).Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return 0, err
	}
	req.Header = header.Clone()
	if req.Header == nil {
		req.Header = http.Header{}
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", Protocol)
	if err := req.Write(conn); err != nil {
		return 0, err
	}
	r := bufio.NewReader(conn)
	res, err := http.ReadResponse(r, req)
	if err != nil {
		return 0, err
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		defer res.Body.Close()
		return 0, refusal(res)
	}
	out := &frames{w: conn}
	if x.Stdin != nil {
		go func() {
			_, _ = io.Copy(stream{out, stdin}, x.Stdin)
			_ = out.write(stdin, nil)
		}()
	}
	go func() {
		for {
			select {
			case <-over.Done():
				return
			case s := <-x.Sizes:
				if out.object(resize, s) != nil {
					return
				}
			}
		}
	}()
	return hear(r, x)
}

// hear takes what the command writes until it ends.
func hear(r io.Reader, x api.Exec) (code int, err error) {
	for {
		k, content, err := read(r)
		if err != nil {
			return 0, fmt.Errorf("the connection broke off: %w", err)
		}
		switch k {
		case stdout:
			_, err = x.Stdout.Write(content)
		case stderr:
			_, err = x.Stderr.Write(content)
		case end:
			var o outcome
			if err := json.Unmarshal(content, &o); err != nil {
				return 0, err
			}
			if o.Error != "" {
				return 0, errors.New(o.Error)
			}
			return o.Code, nil
		}
		if err != nil {
			return 0, err
		}
	}
}

func refusal(res *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(res.Body, maxRefusal))
	if err != nil {
		return err
	}
	var s metav1.Status
	if json.Unmarshal(body, &s) == nil && s.Message != "" {
		return errors.New(s.Message)
	}
	return fmt.Errorf("%s: %s", res.Status, body)
}
