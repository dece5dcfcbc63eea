package read

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"slipway.dev/slipway/api"
)

type forwarder struct {
	scope
	address string
}

func portForwardCommand() *cobra.Command {
	p := &forwarder{}
	cmd := &cobra.Command{
		Use:   "port-forward POD [LOCAL:]REMOTE...",
		Short: "Reach ports of a pod from here",
		Long: `Reach ports of a pod from here, until the command is ended.

8080:80 makes port 80 of the pod answer at port 8080 of this machine; 80 uses the same port
for both, and :80 any that is free. It is for looking: the server gives connections only to
the machine that it runs on.`,
		Args: cobra.MinimumNArgs(2),
		RunE: p.run,
	}
	p.flags(cmd)
	cmd.Flags().StringVar(&p.address, "address", "127.0.0.1", "address of this machine to listen at")
	return cmd
}

func (p *forwarder) run(cmd *cobra.Command, args []string) error {
	k, err := kind("pods")
	if err != nil {
		return err
	}
	pod, err := p.find(cmd.Context(), k, strings.TrimPrefix(strings.TrimPrefix(args[0], "pods/"), "pod/"))
	if err != nil {
		return err
	}
	target := path(k, pod.GetNamespace(), pod.GetName()) + "/portforward"
	ctx, cancel := context.WithCancel(cmd.Context())
	defer cancel()
	var all sync.WaitGroup
	defer all.Wait()
	for _, spec := range args[1:] {
		local, remote, err := ports(spec)
		if err != nil {
			return err
		}
		l, err := net.Listen("tcp", net.JoinHostPort(p.address, local))
		if err != nil {
			return err
		}
		context.AfterFunc(ctx, func() { _ = l.Close() })
		if _, err := fmt.Fprintf(cmd.OutOrStdout(), "Forwarding from %s -> %s\n", l.Addr(), remote); err != nil {
			return err
		}
		all.Go(func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				all.Go(func() {
					if err := p.forward(ctx, conn, target, remote); err != nil && ctx.Err() == nil {
						fmt.Fprintf(cmd.ErrOrStderr(), "port %s: %v\n", remote, err)
					}
				})
			}
		})
	}
	<-ctx.Done()
	return nil
}

// ports splits LOCAL:REMOTE.
func ports(spec string) (local, remote string, err error) {
	local, remote, both := strings.Cut(spec, ":")
	if !both {
		remote = local
	}
	if local == "" {
		local = "0"
	}
	for _, port := range []string{local, remote} {
		if _, err := strconv.ParseUint(port, 10, 16); err != nil || remote == "0" {
			return "", "", fmt.Errorf("port %q: want REMOTE, LOCAL:REMOTE or :REMOTE, numbers from 1 to 65535", spec)
		}
	}
	return local, remote, nil
}

// forward carries one connection.
func (p *forwarder) forward(ctx context.Context, local net.Conn, target, port string) error {
	defer local.Close()
	server, reader, err := p.upgrade(ctx, target+"?port="+port)
	if err != nil {
		return err
	}
	defer server.Close()
	stop := context.AfterFunc(ctx, func() { _ = errors.Join(local.Close(), server.Close()) })
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(server, local)
		closeWrite(server)
	}()
	_, _ = io.Copy(local, reader)
	closeWrite(local)
	<-done
	return nil
}

func closeWrite(c net.Conn) {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}

// upgrade asks the server for a connection; what the pod says is read from the reader.
func (p *forwarder) upgrade(ctx context.Context, path string) (net.Conn, *bufio.Reader, error) {
	u, err := url.Parse(strings.TrimSuffix(p.server, "/") + path)
	if err != nil {
		return nil, nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", api.PortForwardProtocol)
	conn, err := dialServer(ctx, u)
	if err != nil {
		return nil, nil, NoAnswer(p.server, err)
	}
	if err := req.Write(conn); err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	reader := bufio.NewReader(conn)
	res, err := http.ReadResponse(reader, req)
	if err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		err := refusal(res)
		return nil, nil, errors.Join(err, conn.Close())
	}
	return conn, reader, nil
}

func dialServer(ctx context.Context, u *url.URL) (net.Conn, error) {
	port := u.Port()
	if u.Scheme == "https" {
		if port == "" {
			port = "443"
		}
		return new(tls.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	}
	if port == "" {
		port = "80"
	}
	return new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
}
