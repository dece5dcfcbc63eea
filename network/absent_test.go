package network

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// keep has the pod hold connections at port 9090 open, and answer a byte with a byte.
func (p pod) keep(t *testing.T) {
	t.Helper()
	if err := p.Do(func() error {
		l, err := net.Listen("tcp4", ":9090")
		if err != nil {
			return err
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				t.Cleanup(func() { c.Close() })
				go func() {
					b := make([]byte, 1)
					for {
						if _, err := c.Read(b); err != nil {
							return
						}
						if _, err := c.Write(b); err != nil {
							return
						}
					}
				}()
			}
		}()
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// talk says a byte over a connection and waits for its answer.
func talk(c net.Conn) error {
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := c.Write([]byte("?")); err != nil {
		return err
	}
	_, err := c.Read(make([]byte, 1))
	return err
}

// connected connects, as soon as that is possible, to a pod that keeps connections.
func connected(t *testing.T, who, at string, do func(func() error) error) (c net.Conn) {
	t.Helper()
	eventually(t, who+" connects to "+at, func() error {
		return do(func() (err error) {
			if c, err = net.DialTimeout("tcp4", at, time.Second); err != nil {
				return err
			}
			if err := talk(c); err != nil {
				return errors.Join(err, c.Close())
			}
			return nil
		})
	})
	t.Cleanup(func() { c.Close() })
	return c
}

func here(f func() error) error { return f() }

// isReset says whether a connection is ended by the next that it carries.
func isReset(t *testing.T, who string, c net.Conn) {
	t.Helper()
	if err := talk(c); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%s: %v, want that the connection is reset", who, err)
	}
}

// TestConnectionsToAPodThatIsGoneEnd takes a pod's address and links away, as when it has ended, while
// a service still leads there. Whoever has a connection is told, and so is who opens one.
func TestConnectionsToAPodThatIsGoneEnd(t *testing.T) {
	t.Parallel()
	for _, flat := range []bool{false, true} {
		t.Run(fmt.Sprintf("flat=%t", flat), func(t *testing.T) {
			t.Parallel()
			x := newNode(t, func(o *Options) { o.Flat = flat })
			x.project("shop", "10")
			gone, same, global := x.pod("shop", "gone"), x.pod("shop", "same"), x.pod("default", "global")
			gone.keep(t)
			direct, service := gone.address.String()+":9090", x.service("shop", "web", 1, gone)
			var e corev1.Endpoints
			if err := x.client.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "web"}, &e); err != nil {
				t.Fatal(err)
			}
			e.Subsets[0].Ports[0].Port = 9090
			if err := x.client.Update(t.Context(), &e); err != nil {
				t.Fatal(err)
			}
			x.follows(&e)
			open := map[string]net.Conn{}
			for at, what := range map[string]string{direct: "the pod", service: "its service"} {
				open["the node, to "+what] = connected(t, "the node", at, here)
				open["a pod of the project, to "+what] = connected(t, "a pod of the project", at, same.Do)
				open["a pod of project default, to "+what] = connected(t, "a pod of project default", at, global.Do)
			}
			if err := x.driver.Detach(t.Context(), gone.name); err != nil {
				t.Fatal(err)
			}
			for who, c := range open {
				isReset(t, who, c)
			}
			for who, do := range map[string]func(func() error) error{"the node": here, "a pod of the project": same.Do, "a pod of project default": global.Do} {
				for _, at := range []string{direct, service} {
					err := do(func() error {
						c, err := net.DialTimeout("tcp4", at, patience)
						if err == nil {
							c.Close()
						}
						return err
					})
					if !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, syscall.EHOSTUNREACH) {
						t.Errorf("%s, to %s: %v, want it refused", who, at, err)
					}
				}
			}
		})
	}
}

// TestConnectionsToAPodThatIsGoneEndAcrossHosts does the same from another host, before that has heard
// of it and after.
func TestConnectionsToAPodThatIsGoneEndAcrossHosts(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1500)
	live := c.view("/a")
	c.create(live, netOf("shop", "10"), hostSubnet("h1", "192.0.2.1", "10.128.0.0/23"), hostSubnet("h2", "192.0.2.2", "10.128.2.0/23"))
	h1, h2 := c.host("h1", "/a", 1500), c.host("h2", "/a", 1500)
	gone, same, global := h1.pod("shop", "gone"), h2.pod("shop", "same"), h2.pod("default", "global")
	gone.keep(t)
	record := gone.record("h1")
	c.create(live, record, same.record("h2"), global.record("h2"))
	at := gone.address.String() + ":9090"
	node, other, own := connected(t, "the other host", at, h2.Do), connected(t, "a pod of project default", at, global.Do), connected(t, "a pod of the project", at, same.Do)
	h1.detach(gone)
	isReset(t, "the other host", node)
	isReset(t, "a pod of project default on the other host", other)
	// What is of a project like others' the other host refuses itself, when it has heard that the pod is gone.
	if err := live.Delete(t.Context(), record, client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	isReset(t, "a pod of the project on the other host", own)
}

func (m *machine) detach(p pod) {
	m.t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	var r report
	if err := errors.Join(json.NewEncoder(m.in).Encode(order{Pod: p.name, Detach: true}), m.out.Decode(&r)); err != nil || r.Error != "" {
		m.t.Fatalf("detach %s on %s: %v %s", p.name, m, err, r.Error)
	}
}
