package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// The ports of a server, in its own host.
const (
	apiPort  = 7080
	nodePort = 7082
)

// API is the address of the server's API, which only this machine reaches.
func (h *Host) API() string { return "http://" + netip.AddrPortFrom(h.Address, apiPort).String() }

// API is the address of the API of the first server that runs, or if none does, of the first.
func (l *Lab) API() string {
	servers := l.servers()
	for _, s := range servers {
		if s.Runs(Server) {
			return s.API()
		}
	}
	if len(servers) > 0 {
		return servers[0].API()
	}
	return ""
}

// StartServer starts the host's server, and waits until it answers.
func (h *Host) StartServer(ctx context.Context) error {
	if err := h.guard(); err != nil {
		return err
	}
	args := append([]string{"up", "--data-dir", h.DataDir(), "--node", h.Name, "--listen", netip.AddrPortFrom(h.Address, apiPort).String(),
		"--node-listen", netip.AddrPortFrom(h.Address, nodePort).String(), "--machine", h.lab.Machine().String()}, h.lab.Up...)
	if etcd := h.lab.endpoints(); etcd != "" {
		args = append(args, "--etcd", etcd)
	}
	if err := h.launch(Server, h.lab.Program, args...); err != nil {
		return err
	}
	return h.await(ctx, Server, func() error {
		var version struct{ GitVersion string }
		return get(ctx, h.API()+"/version", &version)
	})
}

// await waits until a part does what it should.
func (h *Host) await(ctx context.Context, part Part, does func() error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := does()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil || !h.Runs(part) {
			return fmt.Errorf("host %s: the %s did not come up: %w: %s", h.Name, part, err, h.lastWords(part))
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func get(ctx context.Context, url string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", url, res.Status)
	}
	return json.NewDecoder(res.Body).Decode(into)
}

// execToken proves who may read it that he may run commands in pods; the server makes it.
func (h *Host) execToken() string { return filepath.Join(h.DataDir(), "exec.token") }

// keyFile seals live state; servers that share it need the same.
func (h *Host) keyFile() string { return filepath.Join(h.DataDir(), "state", "seal.key") }

// takeKey copies the sealing key of another server.
func (h *Host) takeKey(from *Host) error {
	key, err := os.ReadFile(from.keyFile())
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(h.keyFile()), 0o700); err != nil {
		return err
	}
	return os.WriteFile(h.keyFile(), key, 0o600)
}

// token is what nodes join with.
func (h *Host) token() (string, error) {
	out, err := h.Run(h.lab.Program, "node", "token", "--data-dir", h.DataDir())
	return strings.TrimSpace(out), err
}

// join starts the host's node for the first time.
func (h *Host) join(servers []*Host, token string) error {
	var urls []string
	for _, s := range servers {
		urls = append(urls, "https://"+netip.AddrPortFrom(s.Address, nodePort).String())
	}
	return h.launch(Agent, h.lab.Program, "node", "join", "--server", strings.Join(urls, ","), "--token", token,
		"--node", h.Name, "--address", h.Address.String(), "--data-dir", h.DataDir())
}

// StartAgent starts the host's node again.
func (h *Host) StartAgent() error {
	return h.launch(Agent, h.lab.Program, "node", "run", "--data-dir", h.DataDir())
}

// AwaitReady waits until every host is a node that is Ready.
func (l *Lab) AwaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	for {
		late, err := l.late(ctx)
		if err == nil && len(late) == 0 {
			return nil
		}
		for _, h := range l.servers() {
			if !h.Runs(Server) {
				return fmt.Errorf("host %s: the server has ended: %s", h.Name, h.lastWords(Server))
			}
		}
		for _, h := range late {
			if !h.Server && !h.Runs(Agent) {
				return fmt.Errorf("host %s: the agent has ended: %s", h.Name, h.lastWords(Agent))
			}
		}
		if ctx.Err() != nil {
			errs := []error{fmt.Errorf("not every node became Ready: %w", errors.Join(ctx.Err(), err))}
			for _, h := range late {
				part := Agent
				if h.Server {
					part = Server
				}
				errs = append(errs, fmt.Errorf("host %s: %s", h.Name, h.lastWords(part)))
			}
			return errors.Join(errs...)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// Get reads a path of the API, from the first server that answers.
func (l *Lab) Get(ctx context.Context, path string, into any) error {
	var errs []error
	for _, s := range l.servers() {
		err := get(ctx, s.API()+path, into)
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// late are the hosts whose nodes are not Ready.
func (l *Lab) late(ctx context.Context) ([]*Host, error) {
	var nodes corev1.NodeList
	if err := l.Get(ctx, "/api/v1/nodes", &nodes); err != nil {
		return nil, err
	}
	var out []*Host
	for i := range l.Hosts {
		if !slices.ContainsFunc(nodes.Items, func(n corev1.Node) bool { return n.Name == l.Hosts[i].Name && isReady(n) }) {
			out = append(out, &l.Hosts[i])
		}
	}
	return out, nil
}

func isReady(n corev1.Node) bool {
	return n.Spec.PodCIDR != "" && slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
}
