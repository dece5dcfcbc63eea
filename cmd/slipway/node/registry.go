package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"time"
)

// listen takes the addresses that the node listens on.
func (r *running) listen() (err error) {
	if r.answers, err = net.Listen("tcp", r.Listen); err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	if err := r.listenRegistry(); err != nil {
		r.unlisten()
		return err
	}
	return nil
}

func (r *running) unlisten() {
	for _, l := range []net.Listener{r.answers, r.registry} {
		if l != nil {
			l.Close()
		}
	}
}

// listenRegistry takes the loopback address that images of the integrated registry are named by: this
// host's engine pulls from it as the server's does.
func (r *running) listenRegistry() error {
	at := r.identity.Settings().Cluster.Registry
	if r.NoRegistry || at == "" {
		return nil
	}
	address, err := netip.ParseAddrPort(at)
	if err != nil || !address.Addr().IsLoopback() {
		r.Log.Info("the registry is no loopback address: the engine pulls from it by itself", "registry", at)
		return nil
	}
	if r.registry, err = net.Listen("tcp", at); err != nil {
		return fmt.Errorf("the registry's address on this host: %w: if a server has it that runs on this host too, say --no-registry", err)
	}
	return nil
}

// headerTime bounds the sending of a request's header.
const headerTime = 10 * time.Second

// forwardRegistry passes pulls on to the servers, over mutual TLS. What a node may pull they decide.
func (r *running) forwardRegistry(ctx context.Context) error {
	s := &http.Server{ReadHeaderTimeout: headerTime, BaseContext: func(net.Listener) context.Context { return ctx },
		Handler: &httputil.ReverseProxy{
			Transport: r.conn,
			// The host stays as the engine wrote it: the registry tells by it where tokens are given.
			Rewrite:  func(p *httputil.ProxyRequest) { p.Out.URL.Scheme, p.Out.URL.Host = "https", p.In.Host },
			ErrorLog: slog.NewLogLogger(r.Log.Handler(), slog.LevelDebug),
		}}
	defer context.AfterFunc(ctx, func() { s.Close() })()
	if err := s.Serve(r.registry); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
