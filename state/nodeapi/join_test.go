package nodeapi_test

import (
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/state/nodeapi"
	"slipway.dev/slipway/state/nodecert"
	"slipway.dev/slipway/state/remote"
)

func (s *served) join(dir, name, token string) (*remote.Identity, error) {
	return s.joinAt(dir, name, "", token)
}

func (s *served) joinAt(dir, name, address, token string) (*remote.Identity, error) {
	return remote.Join(s.t.Context(), dir, remote.Settings{Name: name, Servers: []string{s.url}, Address: address}, token)
}

func (s *served) refused(err error, why string) {
	s.t.Helper()
	if err == nil || !strings.Contains(err.Error(), why) {
		s.t.Errorf("want an error that says %q, got %v", why, err)
	}
}

func TestJoinGivesANodeItsName(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	dir := t.TempDir()
	i, err := s.joinAt(dir, "n1", "192.0.2.7", s.token())
	s.must(err)
	if c := i.Settings().Cluster; c.Registry != registryHost || c.ClusterNetwork != "10.128.0.0/14" {
		t.Errorf("the node is told %+v", c)
	}
	var node corev1.Node
	s.must(s.state.Get(t.Context(), client.ObjectKey{Name: "n1"}, &node))
	if node.Annotations[api.NodeAddress] != "192.0.2.7" || node.Labels[corev1.LabelHostname] != "n1" || node.Labels[corev1.LabelArchStable] != runtime.GOARCH || node.Spec.PodCIDR != "" {
		t.Errorf("the Node is %+v", node.ObjectMeta)
	}
	c, err := remote.NewClient(remote.Dial(i, slog.New(slog.DiscardHandler)))
	s.must(err)
	s.must(c.Get(t.Context(), client.ObjectKey{Name: "n1"}, &corev1.Node{}))
	again, err := remote.Load(dir)
	s.must(err)
	if again.Settings().Name != "n1" {
		t.Error("the identity is not kept")
	}
}

func TestATokenIsGoodForWhatItSays(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	good := s.token()
	other, err := nodecert.ParseToken(good)
	s.must(err)
	other.Secret = strings.Repeat("0", 32)
	_, err = s.join(t.TempDir(), "n1", other.String())
	s.refused(err, "the token is wrong or has ended")
	stranger := serve(t, nil)
	_, err = s.join(t.TempDir(), "n1", stranger.token())
	s.refused(err, "does not belong to the authority that the token names")
	for _, name := range []string{"N1", "a/b", "..", strings.Repeat("a", 64), "system:node:x"} {
		if _, err := s.join(t.TempDir(), name, good); err == nil {
			t.Errorf("a node may be called %q", name)
		}
	}
	s.clock.set(61 * time.Minute)
	_, err = s.join(t.TempDir(), "n1", good)
	s.refused(err, "the token is wrong or has ended")
	if _, err := nodeapi.NewToken(t.Context(), s.state, s.api.Authority, time.Now(), 31*24*time.Hour); err == nil {
		t.Error("a token may last for ever")
	}
	good = s.token()
	if n, err := nodeapi.RevokeTokens(t.Context(), s.state); err != nil || n == 0 {
		t.Errorf("%d tokens are revoked: %v", n, err)
	}
	_, err = s.join(t.TempDir(), "n1", good)
	s.refused(err, "the token is wrong or has ended")
}

func TestANameIsGivenOnce(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	dir := t.TempDir()
	_, err := s.join(dir, "n1", s.token())
	s.must(err)
	_, err = s.join(t.TempDir(), "n1", s.token())
	s.refused(err, "a name is given once")
	// It shows the certificate that it had.
	_, err = s.join(dir, "n1", s.token())
	s.must(err)
	// Another node's certificate does not help.
	other := t.TempDir()
	_, err = s.join(other, "n2", s.token())
	s.must(err)
	_, err = remote.Join(t.Context(), other, remote.Settings{Name: "n1", Servers: []string{s.url}}, s.token())
	s.refused(err, "data directory of node n2")
	// A server's own node has no certificate, and its name is not to be had.
	s.create(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "server"}})
	_, err = s.join(t.TempDir(), "server", s.token())
	s.refused(err, "taken by the node of a server")
}

func TestACertificateIsRenewedAndTakenAway(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	c, conn := s.node("n1", "10.128.2.0/23")
	get := func() error { return c.Get(t.Context(), client.ObjectKey{Name: "n1"}, &corev1.Node{}) }
	s.must(get())
	for range 3 {
		s.must(conn.Renew(t.Context()))
		s.must(get())
	}
	// It has ended, and is good for the next one only.
	s.clock.set(nodecert.NodeLife + time.Hour)
	s.refused(get(), "certificate")
	s.must(conn.Renew(t.Context()))
	s.must(get())
	s.clock.set(2*nodecert.NodeLife + nodecert.Grace + 2*time.Hour)
	s.refused(conn.Renew(t.Context()), "join again")
	s.clock.set(nodecert.NodeLife + time.Hour)
	s.must(get())
	s.must(nodeapi.Remove(t.Context(), s.state, "n1"))
	s.clock.set(nodecert.NodeLife + time.Hour + time.Minute)
	s.refused(get(), "taken away")
	s.refused(conn.Renew(t.Context()), "has not joined")
	// The name can be given anew.
	_, err := s.join(t.TempDir(), "n1", s.token())
	s.must(err)
	s.refused(get(), "another certificate")
	s.refused(conn.Renew(t.Context()), "not the certificate of node n1")
}
