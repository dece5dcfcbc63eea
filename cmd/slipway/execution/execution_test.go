package execution

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"slipway.dev/slipway/api"
)

// serve answers requests by running them, and says where.
func serve(t *testing.T, run Run) *url.URL {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := Serve(w, r, types.NamespacedName{Namespace: "shop", Name: "web"}, run); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
	}))
	t.Cleanup(s.Close)
	u, err := url.Parse(s.URL + "/exec")
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func call(t *testing.T, ctx context.Context, u *url.URL, x api.Exec) (int, error) {
	t.Helper()
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	return Call(ctx, conn, u, nil, x)
}

// echo writes what it was asked for, then what it reads, and ends with 3.
func echo(_ context.Context, x api.Exec) (int, error) {
	_, err := io.WriteString(x.Stderr, x.Pod.String()+" "+x.Container+" "+strings.Join(x.Command, "|"))
	if err == nil && x.Stdin != nil {
		_, err = io.Copy(x.Stdout, x.Stdin)
	}
	if x.TTY {
		s := <-x.Sizes
		_, err = x.Stdout.Write([]byte{byte(s.Width), byte(s.Height)})
	}
	return 3, err
}

func TestACommandIsCarried(t *testing.T) {
	t.Parallel()
	u := serve(t, echo)
	// And once more over a server in between, as where the pod is on another host.
	between := serve(t, func(ctx context.Context, x api.Exec) (int, error) { return call(t, ctx, u, x) })
	long := bytes.Repeat([]byte("tea "), maxFrame)
	for _, at := range []*url.URL{u, between} {
		var out, errs bytes.Buffer
		sizes := make(chan api.TerminalSize, 1)
		sizes <- api.TerminalSize{Width: 80, Height: 24}
		code, err := call(t, t.Context(), at, api.Exec{
			Container: "main", Command: []string{"a b", "&c=d"}, TTY: true, Sizes: sizes, Stdin: bytes.NewReader(long), Stdout: &out, Stderr: &errs,
		})
		if code != 3 || err != nil || errs.String() != "shop/web main a b|&c=d" || !bytes.Equal(out.Bytes(), slices.Concat(long, []byte{80, 24})) {
			t.Errorf("%d, %v, %q, %d bytes", code, err, errs.String(), out.Len())
		}
		out.Reset()
		if code, err := call(t, t.Context(), at, api.Exec{Command: []string{"x"}, Stdout: &out, Stderr: io.Discard}); code != 3 || err != nil || out.Len() > 0 {
			t.Errorf("without anything to read: %d, %v", code, err)
		}
	}
}

func TestWhyACommandDoesNotRunIsCarried(t *testing.T) {
	t.Parallel()
	u := serve(t, func(context.Context, api.Exec) (int, error) { return 0, errors.New("there is no such container") })
	if _, err := call(t, t.Context(), u, api.Exec{}); err == nil || err.Error() != "there is no such container" {
		t.Error(err)
	}
	res, err := http.Get(u.String())
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusBadRequest {
		t.Errorf("who does not upgrade: %s", res.Status)
	}
}

// Whichever side goes, the other hears of it.
func TestEitherSideMayGo(t *testing.T) {
	t.Parallel()
	gone, begun := make(chan struct{}), make(chan struct{})
	u := serve(t, func(ctx context.Context, _ api.Exec) (int, error) {
		close(begun)
		<-ctx.Done()
		close(gone)
		return 0, ctx.Err()
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-begun; cancel() }()
	if _, err := call(t, ctx, u, api.Exec{Command: []string{"x"}}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	select {
	case <-gone:
	case <-time.After(30 * time.Second):
		t.Error("the command goes on")
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0, 2, 'o', 'k'})
	f.Add([]byte{0, 255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		k, content, err := read(bytes.NewReader(b))
		if err != nil {
			return
		}
		var again bytes.Buffer
		if err := (&frames{w: &again}).write(k, content); err != nil || !bytes.HasPrefix(b, again.Bytes()) {
			t.Errorf("%v is %v again, %v", b, again.Bytes(), err)
		}
	})
}
