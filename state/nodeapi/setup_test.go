package nodeapi_test

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/state"
	"slipway.dev/slipway/state/nodeapi"
	"slipway.dev/slipway/state/nodecert"
	"slipway.dev/slipway/state/remote"
	"slipway.dev/slipway/state/statetest"
)

// served is a node API over TLS, and the live state behind it.
type served struct {
	t     *testing.T
	state *state.Client
	api   *nodeapi.Server
	url   string
	clock *clock
}

type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

// set is how far the servers' clock is ahead of this machine's.
func (c *clock) set(ahead time.Duration) { c.ahead.Store(int64(ahead)) }

const registryHost = "127.0.0.1:7081"

func serve(t *testing.T, images http.Handler) *served {
	t.Helper()
	s := &served{t: t, state: statetest.New(t), clock: &clock{}}
	authority, err := nodeapi.OpenAuthority(t.Context(), s.state, time.Now())
	s.must(err)
	s.api, err = nodeapi.New(nodeapi.Options{
		Client: s.state, Authority: authority, Images: images, Log: slog.New(slog.DiscardHandler), Now: s.clock.now, Pace: 1e6,
		Servers: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "canary-server ", r.URL.Path) }),
		Cluster: nodecert.Cluster{ClusterNetwork: "10.128.0.0/14", ServiceNetwork: "172.30.0.0/16", Registry: registryHost},
	})
	s.must(err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	s.must(err)
	server := &http.Server{Handler: s.api.Handler(), TLSConfig: authority.Serving(time.Now), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	go server.ServeTLS(l, "", "")
	t.Cleanup(func() { server.Close() })
	s.url = "https://" + l.Addr().String()
	return s
}

func (s *served) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *served) token() string {
	s.t.Helper()
	t, err := nodeapi.NewToken(s.t.Context(), s.state, s.api.Authority, s.clock.now(), time.Hour)
	s.must(err)
	return t.String()
}

// node joins and gives the node's client and connection; its subnet is 10.128.N.0/23.
func (s *served) node(name, subnet string) (client.WithWatch, *remote.Conn) {
	s.t.Helper()
	i, err := remote.Join(s.t.Context(), s.t.TempDir(), remote.Settings{Name: name, Servers: []string{s.url}}, s.token())
	s.must(err)
	return s.of(i, subnet)
}

// of is the client and connection of a node that has joined, which gets a subnet.
func (s *served) of(i *remote.Identity, subnet string) (client.WithWatch, *remote.Conn) {
	s.t.Helper()
	var n corev1.Node
	s.must(s.state.Get(s.t.Context(), client.ObjectKey{Name: i.Settings().Name}, &n))
	n.Spec.PodCIDR, n.Spec.PodCIDRs = subnet, []string{subnet}
	s.must(s.state.Update(s.t.Context(), &n))
	conn := remote.Dial(i, slog.New(slog.DiscardHandler))
	c, err := remote.NewClient(conn)
	s.must(err)
	return c, conn
}

func (s *served) create(objects ...client.Object) {
	s.t.Helper()
	for _, o := range objects {
		s.must(s.state.Create(s.t.Context(), o))
	}
}

// pod is one that names a secret, a config map and a claim.
func pod(ns, name, node, uses string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name, Labels: map[string]string{"app": name}, Annotations: map[string]string{"note": "canary-" + name}}}
	p.Spec.NodeName = node
	p.Spec.Containers = []corev1.Container{{
		Name: "c", Image: registryHost + "/" + ns + "/" + name + ":1", Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 80}},
		Env: []corev1.EnvVar{{Name: "PASSWORD", Value: "canary-" + name}},
		EnvFrom: []corev1.EnvFromSource{
			{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: uses}}},
			{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: uses}}},
		},
	}}
	p.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{
		PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: uses}}}}
	return p
}

func secret(ns, name string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}, Data: map[string][]byte{"k": []byte("canary-" + ns + "-" + name)}}
}

func configMap(ns, name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}, Data: map[string]string{"k": "canary-" + ns + "-" + name}}
}
