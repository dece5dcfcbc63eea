package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/state/nodecert"
)

// far asks the nodes that joined and the other servers, over mutual TLS. A nil one knows of none.
type far struct {
	client client.Client
	// self is the node of this server, which need not be asked.
	self string
	tls  *tls.Config
	http *http.Client
	log  *slog.Logger
}

// How long is waited for a node to begin to answer, and for what it measures.
const (
	farDial    = 5 * time.Second
	farMeasure = 10 * time.Second
	farHeader  = 15 * time.Second
	farPing    = 10 * time.Second
)

func newFar(c client.Client, self string, authority *nodecert.Authority, log *slog.Logger) *far {
	f := &far{client: c, self: self, tls: authority.Asking(time.Now), log: log}
	f.http = &http.Client{
		Transport: &http.Transport{
			ForceAttemptHTTP2: true, DialTLSContext: f.dial, ResponseHeaderTimeout: farHeader, IdleConnTimeout: time.Minute,
			HTTP2: &http.HTTP2Config{SendPingTimeout: farPing, PingTimeout: farPing},
		},
		// A node that was broken into is not to send a server elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return f
}

// dial connects to the node that an address names: as to a server where it is one's, else by the name that the
// node's certificate has.
func (f *far) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	var n corev1.Node
	if err := f.client.Get(ctx, client.ObjectKey{Name: strings.TrimSuffix(host, nodecert.NodeDomain)}, &n); err != nil {
		return nil, err
	}
	config, at := f.tls.Clone(), ""
	if config.ServerName = host; n.Annotations[api.NodeServer] != "" {
		u, err := url.Parse(n.Annotations[api.NodeServer])
		if err != nil {
			return nil, err
		}
		config.ServerName, at = nodecert.ServerName, u.Host
	} else if port := n.Status.DaemonEndpoints.KubeletEndpoint.Port; port != 0 {
		at = net.JoinHostPort(n.Annotations[api.NodeAddress], strconv.Itoa(int(port)))
	} else {
		return nil, fmt.Errorf("node %s has not said where it answers", n.Name)
	}
	ctx, cancel := context.WithTimeout(ctx, farDial)
	defer cancel()
	return (&tls.Dialer{Config: config}).DialContext(ctx, network, at)
}

// servers are the nodes of other servers that do well.
func (f *far) servers(ctx context.Context) (names []string, err error) {
	var nodes corev1.NodeList
	if err := f.client.List(ctx, &nodes); err != nil {
		return nil, err
	}
	for i := range nodes.Items {
		n := &nodes.Items[i]
		if n.Name != f.self && n.Annotations[api.NodeServer] != "" && isReady(n) {
			names = append(names, n.Name)
		}
	}
	return names, nil
}

func isReady(n *corev1.Node) bool {
	return slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
}

// farURL is a path of a node's answers.
func farURL(node, path string) string { return "https://" + node + nodecert.NodeDomain + path }

// ask asks a node. The caller closes the answer.
func (f *far) ask(ctx context.Context, node, path string, body any) (io.ReadCloser, error) {
	data, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, farURL(node, path), bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := f.http.Do(r)
	if err != nil {
		return nil, apierrors.NewServiceUnavailable(fmt.Sprintf("node %s does not answer: %v", node, err))
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	status := metav1.Status{Message: resp.Status}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxFarError)).Decode(&status); err != nil || status.Code == 0 {
		return nil, fmt.Errorf("node %s: %s", node, resp.Status)
	}
	return nil, &apierrors.StatusError{ErrStatus: status}
}

// maxFarError bounds what is read of a node's refusal, and maxFarMetrics of its metrics, in bytes.
const (
	maxFarError   = 64 << 10
	maxFarMetrics = 8 << 20
)

func (f *far) logs(ctx context.Context, node, namespace, pod string, o *corev1.PodLogOptions) (io.ReadCloser, error) {
	if f == nil {
		return nil, apierrors.NewServiceUnavailable(fmt.Sprintf("pod %s is on node %s, which this server does not reach", pod, node))
	}
	return f.ask(ctx, node, "/v1/logs/"+url.PathEscape(namespace)+"/"+url.PathEscape(pod), o)
}

func (f *far) buildLogs(ctx context.Context, node, namespace, build string, follow bool) (io.ReadCloser, error) {
	if f == nil {
		return nil, apierrors.NewServiceUnavailable(fmt.Sprintf("build %s is on node %s, which this server does not reach", build, node))
	}
	return f.ask(ctx, node, "/v1/builds/"+url.PathEscape(namespace)+"/"+url.PathEscape(build)+"?follow="+strconv.FormatBool(follow), struct{}{})
}

func (f *far) pods(ctx context.Context) ([]api.PodMetrics, error) {
	return measure[[]api.PodMetrics](ctx, f, "/v1/metrics/pods", func(node string, have []api.PodMetrics) ([]api.PodMetrics, error) {
		return f.own(ctx, node, have)
	})
}

func (f *far) nodes(ctx context.Context) ([]api.NodeMetrics, error) {
	return measure[[]api.NodeMetrics](ctx, f, "/v1/metrics/node", func(node string, have []api.NodeMetrics) ([]api.NodeMetrics, error) {
		for i := range have {
			have[i].Name = node
		}
		return have[:min(len(have), 1)], nil
	})
}

// own leaves out what a node says of pods that are not its own.
func (f *far) own(ctx context.Context, node string, have []api.PodMetrics) ([]api.PodMetrics, error) {
	var pods corev1.PodList
	if err := f.client.List(ctx, &pods, client.MatchingFields{"spec.nodeName": node}); err != nil {
		return nil, err
	}
	mine := map[client.ObjectKey]bool{}
	for i := range pods.Items {
		mine[client.ObjectKeyFromObject(&pods.Items[i])] = true
	}
	var out []api.PodMetrics
	for _, m := range have {
		if mine[client.ObjectKey{Namespace: m.Namespace, Name: m.Name}] {
			out = append(out, m)
		}
	}
	return out, nil
}

// measure asks all nodes that joined at once. One that does not answer is left out: what is not measured is
// not shown.
func measure[T ~[]E, E any](ctx context.Context, f *far, path string, check func(node string, have T) (T, error)) (T, error) {
	if f == nil {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, farMeasure)
	defer cancel()
	var nodes corev1.NodeList
	if err := f.client.List(ctx, &nodes); err != nil {
		return nil, err
	}
	var mu sync.Mutex
	var all T
	var wg sync.WaitGroup
	for i := range nodes.Items {
		n := &nodes.Items[i]
		if n.Name == f.self || n.Status.DaemonEndpoints.KubeletEndpoint.Port == 0 && n.Annotations[api.NodeServer] == "" {
			continue
		}
		wg.Go(func() {
			var got T
			body, err := f.ask(ctx, n.Name, path, struct{}{})
			if err == nil {
				err = json.NewDecoder(io.LimitReader(body, maxFarMetrics)).Decode(&got)
				body.Close()
			}
			if err == nil {
				got, err = check(n.Name, got)
			}
			if err != nil {
				f.log.Debug("a node is not measured", "node", n.Name, "error", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, got...)
		})
	}
	wg.Wait()
	return all, nil
}
