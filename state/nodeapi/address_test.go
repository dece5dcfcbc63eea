package nodeapi_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/state/nodeapi"
	"slipway.dev/slipway/state/remote"
)

func (s *served) addressOf(name string) string {
	s.t.Helper()
	var n corev1.Node
	s.must(s.state.Get(s.t.Context(), client.ObjectKey{Name: name}, &n))
	return n.Annotations[api.NodeAddress]
}

// Servers and routers connect to a node's address, so that a node names none but its own.
func TestANodeIsWhereItIs(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.create(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "server"}, Status: corev1.NodeStatus{
		Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "192.0.2.1"}}}})
	var server corev1.Node
	s.must(s.state.Get(t.Context(), client.ObjectKey{Name: "server"}, &server))
	server.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "192.0.2.1"}}
	s.must(s.state.Status().Update(t.Context(), &server))
	for address, why := range map[string]string{
		"10.128.7.7": "the network of pods", "172.30.0.1": "the network of services", "192.0.2.1": "that of node server",
		"0.0.0.0": "want the IP address", "224.0.0.1": "want the IP address", "fe80::1%eth0": "want the IP address", "host": "want the IP address",
	} {
		_, err := s.joinAt(t.TempDir(), "n1", address, s.token())
		s.refused(err, why)
	}
	dir := t.TempDir()
	_, err := s.joinAt(dir, "n1", "192.0.2.7", s.token())
	s.must(err)
	// With the next certificate it stays where it was, whatever it says; with a token it may have moved.
	moved := func(address string) {
		t.Helper()
		file := filepath.Join(dir, "node.json")
		data, err := os.ReadFile(file)
		s.must(err)
		var settings map[string]any
		s.must(json.Unmarshal(data, &settings))
		settings["address"] = address
		data, err = json.Marshal(settings)
		s.must(err)
		s.must(os.WriteFile(file, data, 0o600))
		i, err := remote.Load(dir)
		s.must(err)
		s.must(remote.Dial(i, slog.New(slog.DiscardHandler)).Renew(t.Context()))
	}
	moved("192.0.2.99")
	if at := s.addressOf("n1"); at != "192.0.2.7" {
		t.Errorf("it says that it is elsewhere, and is at %s", at)
	}
	moved("")
	if at := s.addressOf("n1"); at != "127.0.0.1" {
		t.Errorf("it asks from 127.0.0.1, and is at %s", at)
	}
	_, err = s.joinAt(dir, "n1", "192.0.2.8", s.token())
	s.must(err)
	if at := s.addressOf("n1"); at != "192.0.2.8" {
		t.Errorf("it joined at 192.0.2.8, and is at %s", at)
	}
}

// A node's status has the address that it was noted with, whatever the node says.
// No two nodes are at one address: packets for pods would go to one of them.
func TestNoTwoNodesAreAtOneAddress(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.create(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "first", Annotations: map[string]string{api.NodeAddress: "192.0.2.1"}}})
	server := &nodeapi.Server{Options: nodeapi.Options{Client: s.state}}
	at := func(from, name, token, was string) (string, error) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil)
		r.RemoteAddr = from + ":4711"
		return server.AddressOf(r, name, token, was)
	}
	_, err := at("192.0.2.1", "second", "a token", "")
	s.refused(err, "192.0.2.1 is that of node first")
	for _, c := range []struct{ from, name, token, was, want string }{
		{"192.0.2.2", "second", "a token", "", "192.0.2.2"},
		{"192.0.2.1", "first", "", "192.0.2.9", "192.0.2.1"},
		{"192.0.2.1", "second", "", "192.0.2.2", "192.0.2.2"}, // it goes on where it was
		{"127.0.0.1", "third", "a token", "", "127.0.0.1"},
	} {
		got, err := at(c.from, c.name, c.token, c.was)
		s.must(err)
		if got != c.want {
			t.Errorf("%+v: is at %s", c, got)
		}
	}
}

func TestANodeCannotLendAddresses(t *testing.T) {
	t.Parallel()
	s, c, _ := world(t)
	var n corev1.Node
	s.must(c.Get(t.Context(), client.ObjectKey{Name: "mine"}, &n))
	n.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "169.254.169.254"}, {Type: corev1.NodeExternalIP, Address: "8.8.8.8"}}
	s.must(c.Status().Update(t.Context(), &n))
	s.must(s.state.Get(t.Context(), client.ObjectKey{Name: "mine"}, &n))
	if got := fmt.Sprint(n.Status.Addresses); got != "[{InternalIP 127.0.0.1} {Hostname mine}]" {
		t.Errorf("the node is at %s", got)
	}
}

// Paths that mean something else to whoever reads them twice get nothing.
func TestCrookedPaths(t *testing.T) {
	t.Parallel()
	s, _, _ := world(t)
	pair := s.joined("crooked")
	s.create(pod("shop", "crooked", "crooked", "mine"))
	for _, path := range []string{
		"/api/v1/namespaces/shop/pods/%00", "/api/v1/namespaces/%2e%2e/secrets/mine", "/api/v1/namespaces/shop/secrets/theirs%2f..%2fmine",
		"/api/v1/namespaces/shop%2fsecrets%2ftheirs/pods/crooked", "/api/v1//namespaces/shop/secrets/theirs", "/api/v1/namespaces/shop/secrets/../secrets/theirs",
		"/api/v1/namespaces/shop/secrets/mine/../theirs", "/api/v1/nodes/crooked%2fstatus", "/api/v1/namespaces/shop/secrets/" + strings.Repeat("x", 5000),
		"/api/v1/namespaces/shop/secrets/theirs?fieldSelector=metadata.name%3Dmine", "/api/v1/secrets?fieldSelector=metadata.name%3Dtheirs", "/api/v1/secrets?labelSelector=a%3Db",
		"/api/v1/secrets/theirs", "/api/v1/namespaces/SHOP/secrets/theirs", "/api/v1/namespaces/shop/Secrets/theirs", "/API/v1/namespaces/shop/secrets/theirs",
		"/v2/shop/crooked/manifests/..%2f..%2f..%2fbank/foreign/manifests/1", "/v2/bank%2fforeign/manifests/1", "/v2/bank/foreign/blobs/x/../../../shop/crooked/blobs/x",
		"/v2/shop/crooked/blobs/uploads/", "/v2/shop/crooked/manifests/1/tags/list/../../../../../_catalog", "/v2/%2e%2e/api/v1/secrets", "/v2/shop/crooked%00/manifests/1",
		"/v1/logs/shop/mine", "/slipway/v1/nodes/mine/certificate", "/", "/slipway/v1/nodes/..%2fmine/certificate", "*",
	} {
		c := s.raw(pair)
		_, err := io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: s\r\nConnection: close\r\n\r\n")
		s.must(err)
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		s.must(err)
		data, err := io.ReadAll(resp.Body)
		s.must(err)
		resp.Body.Close()
		if resp.StatusCode < 400 || resp.StatusCode >= 500 || strings.Contains(string(data), "canary") {
			t.Errorf("GET %s: %s %s", path, resp.Status, data)
		}
	}
}

// What servers tell each other is for them alone.
func TestServersAskServers(t *testing.T) {
	t.Parallel()
	s, _, conn := world(t)
	if code, body := send(t, conn, "POST", "/v1/logs/bank/foreign", "application/json", "{}"); code != http.StatusNotFound || strings.Contains(body, "canary") {
		t.Errorf("a node asks as servers do: %d %s", code, body)
	}
	for who, authority := range map[string]*served{"its own": s, "another's": serve(t, nil)} {
		pair, err := authority.api.Authority.Server(time.Now())
		s.must(err)
		c := s.raw(&pair)
		_, err = io.WriteString(c, "POST /v1/logs/bank/foreign HTTP/1.1\r\nHost: s\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
		s.must(err)
		if code, body, err := answerOf(c); (code == http.StatusOK) != (who == "its own") || err != nil {
			t.Errorf("%s server asks: %d %s %v", who, code, body, err)
		}
	}
}

// The Node of a server that is no more can be taken away; one that runs would come again.
func TestTheNodeOfAServerIsRemoved(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.refused(nodeapi.Remove(t.Context(), s.state, "server"), "there is no node")
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "server"}}
	s.create(n)
	report := func(status corev1.ConditionStatus) {
		n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: status}}
		s.must(s.state.Status().Update(t.Context(), n))
	}
	report(corev1.ConditionTrue)
	s.refused(nodeapi.Remove(t.Context(), s.state, "server"), "stop the server first")
	report(corev1.ConditionUnknown)
	s.must(nodeapi.Remove(t.Context(), s.state, "server"))
	if err := s.state.Get(t.Context(), client.ObjectKeyFromObject(n), n); client.IgnoreNotFound(err) != nil || err == nil {
		t.Errorf("it is still there: %v", err)
	}
}
