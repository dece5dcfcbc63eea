package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/registry"
	"slipway.dev/slipway/state"
	"slipway.dev/slipway/state/loop"
	"slipway.dev/slipway/state/nodeapi"
	"slipway.dev/slipway/state/statetest"
)

// member is what one of several servers serves: its registry to its host, and its node API.
type member struct {
	*server
	t   testing.TB
	url string // of the registry, as its host sees it
}

func newMember(t testing.TB, c *state.Client, name string) *member {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	m := &member{&server{cfg: &Config{Node: name}, log: log, client: c}, t, ""}
	var err error
	m.parts.registry, err = registry.New(registry.Options{Dir: t.TempDir(), Log: log})
	m.must(err)
	m.authority, err = nodeapi.OpenAuthority(t.Context(), c, time.Now())
	m.must(err)
	m.far = newFar(c, name, m.authority, log)
	api, err := nodeapi.New(nodeapi.Options{Client: c, Authority: m.authority, Images: m.images(), Servers: m.forServers()})
	m.must(err)
	m.nodes, err = net.Listen("tcp", "127.0.0.1:0")
	m.must(err)
	nodes := &http.Server{Handler: api.Handler(), TLSConfig: api.TLS(), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	go nodes.ServeTLS(m.nodes, "", "")
	own := httptest.NewServer(m.images())
	m.url = own.URL
	t.Cleanup(func() {
		own.Close()
		nodes.Close()
		if err := m.parts.registry.Close(); err != nil {
			t.Error(err)
		}
	})
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	m.must(c.Create(t.Context(), n))
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	m.must(c.Status().Update(t.Context(), n))
	if _, err := m.announce().Reconcile(t.Context(), loop.Key{Name: name}); err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *member) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

// ask asks the registry; as its builder, or as its host's engine.
func (m *member) ask(method, path, contentType, body string, builder bool) (*http.Response, string) {
	m.t.Helper()
	r, err := http.NewRequestWithContext(m.t.Context(), method, m.url+path, strings.NewReader(body))
	m.must(err)
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	if builder {
		r.SetBasicAuth(m.parts.registry.BuilderAuth())
	}
	resp, err := http.DefaultClient.Do(r)
	m.must(err)
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	m.must(err)
	return resp, string(data)
}

// push pushes an image of one layer, and gives the digests of the manifest and of the layer.
func (m *member) push(repository, tag string, layer []byte) (manifest, digest string) {
	m.t.Helper()
	blob := func(content []byte) string {
		d := fmt.Sprintf("sha256:%x", sha256.Sum256(content))
		if resp, body := m.ask("POST", "/v2/"+repository+"/blobs/uploads/?digest="+d, "application/octet-stream", string(content), true); resp.StatusCode != http.StatusCreated {
			m.t.Fatalf("push a blob: %s %s", resp.Status, body)
		}
		return d
	}
	config := []byte(`{"architecture":"amd64","os":"linux"}`)
	text := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":%d},`+
		`"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":%q,"size":%d}]}`, blob(config), len(config), blob(layer), len(layer))
	resp, body := m.ask("PUT", "/v2/"+repository+"/manifests/"+tag, "application/vnd.oci.image.manifest.v1+json", text, true)
	if resp.StatusCode != http.StatusCreated {
		m.t.Fatalf("push a manifest: %s %s", resp.Status, body)
	}
	return resp.Header.Get("Docker-Content-Digest"), fmt.Sprintf("sha256:%x", sha256.Sum256(layer))
}

// An image that was pushed to one server can be pulled from each; what none has is missing as before, and
// nobody but a server's own host gets it.
func TestImagesOfOtherServers(t *testing.T) {
	t.Parallel()
	c := statetest.New(t)
	one, two, three := newMember(t, c, "one"), newMember(t, c, "two"), newMember(t, c, "three")
	layer := bytes.Repeat([]byte("layer "), 100_000)
	manifest, digest := one.push("shop/web", "v1", layer)
	for _, m := range []*member{one, two, three} {
		for _, ref := range []string{"v1", manifest} {
			resp, body := m.ask("GET", "/v2/shop/web/manifests/"+ref, "", "", false)
			if resp.StatusCode != http.StatusOK || !strings.Contains(body, digest) || resp.Header.Get("Docker-Content-Digest") != manifest ||
				resp.Header.Get("Content-Type") != "application/vnd.oci.image.manifest.v1+json" {
				t.Errorf("%s: manifest %s: %s %s %v", m.cfg.Node, ref, resp.Status, body, resp.Header)
			}
		}
		if resp, _ := m.ask("HEAD", "/v2/shop/web/blobs/"+digest, "", "", false); resp.StatusCode != http.StatusOK || resp.ContentLength != int64(len(layer)) {
			t.Errorf("%s: HEAD of the layer: %s, %d bytes", m.cfg.Node, resp.Status, resp.ContentLength)
		}
		if resp, body := m.ask("GET", "/v2/shop/web/blobs/"+digest, "", "", false); resp.StatusCode != http.StatusOK || body != string(layer) {
			t.Errorf("%s: the layer: %s, %d bytes", m.cfg.Node, resp.Status, len(body))
		}
		if resp, body := m.ask("GET", "/v2/shop/web/manifests/v2", "", "", false); resp.StatusCode != http.StatusNotFound || !strings.Contains(body, "MANIFEST_UNKNOWN") {
			t.Errorf("%s: what nobody has: %s %s", m.cfg.Node, resp.Status, body)
		}
	}
	// A server that is gone is not waited for, and does not hide those that are there.
	two.nodes.Close()
	if resp, body := three.ask("GET", "/v2/shop/web/manifests/v1", "", "", false); resp.StatusCode != http.StatusOK {
		t.Errorf("with a server gone: %s %s", resp.Status, body)
	}
	r := httptest.NewRequestWithContext(context.Background(), "GET", "/v2/shop/web/manifests/v1", nil)
	r.RemoteAddr = "192.0.2.1:1"
	w := httptest.NewRecorder()
	if three.images().ServeHTTP(w, r); w.Code != http.StatusUnauthorized {
		t.Errorf("somebody else: %d %s", w.Code, w.Body)
	}
}

func TestAServerAnnouncesItself(t *testing.T) {
	t.Parallel()
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{api.NodeAddress: "192.0.2.7"}}}
	seen := &corev1.Node{Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeHostName, Address: "h"}, {Type: corev1.NodeInternalIP, Address: "192.0.2.8"}}}}
	for _, c := range []struct {
		listen string
		node   *corev1.Node
		want   string
	}{
		{"10.0.0.1:7082", n, "https://10.0.0.1:7082"}, {"0.0.0.0:7082", n, "https://192.0.2.7:7082"}, {"[::]:7082", seen, "https://192.0.2.8:7082"},
		{":7082", &corev1.Node{}, ""}, {"[2001:db8::1]:7082", n, "https://[2001:db8::1]:7082"},
	} {
		if got := announced(c.listen, c.node); got != c.want {
			t.Errorf("%s: %q, want %q", c.listen, got, c.want)
		}
	}
}
