package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/bench/workload"
)

// kube is a Kubernetes API server on an etcd of its own that waits for the disk, both in
// processes of their own.
type kube struct {
	config     *rest.Config
	client     client.WithWatch
	kubeconfig string
	dir        string
	processes  []*exec.Cmd
}

const token = "bench"

func startKube(ctx context.Context, e *Env) (*kube, error) {
	bin, err := kubeAPIServer.find(ctx, e)
	if err != nil {
		return nil, err
	}
	dir, err := e.folder("kube")
	if err != nil {
		return nil, err
	}
	k := &kube{dir: dir, kubeconfig: filepath.Join(dir, "kubeconfig")}
	if err := k.start(ctx, bin); err != nil {
		k.close()
		return nil, err
	}
	return k, nil
}

func (k *kube) start(ctx context.Context, bin string) error {
	etcd, err := freePort()
	if err != nil {
		return err
	}
	secure, err := freePort()
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := k.spawn("etcd", nil, self, "child", "etcd", filepath.Join(k.dir, "etcd"), strconv.Itoa(etcd)); err != nil {
		return err
	}
	key, tokens := filepath.Join(k.dir, "key.pem"), filepath.Join(k.dir, "tokens.csv")
	if err := writeKey(key); err != nil {
		return err
	}
	if err := os.WriteFile(tokens, []byte(token+",bench,bench,system:masters\n"), 0o600); err != nil {
		return err
	}
	if err := k.spawn("kube-apiserver", nil, bin,
		fmt.Sprintf("--etcd-servers=http://127.0.0.1:%d", etcd), fmt.Sprintf("--secure-port=%d", secure), "--bind-address=127.0.0.1",
		"--cert-dir="+filepath.Join(k.dir, "certs"), "--service-cluster-ip-range=10.96.0.0/12", "--authorization-mode=AlwaysAllow",
		"--token-auth-file="+tokens, "--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file="+key, "--service-account-signing-key-file="+key, "--disable-admission-plugins=ServiceAccount"); err != nil {
		return err
	}
	k.config = &rest.Config{Host: fmt.Sprintf("https://127.0.0.1:%d", secure), BearerToken: token, QPS: -1, TLSClientConfig: rest.TLSClientConfig{Insecure: true}}
	text := fmt.Sprintf(`{"apiVersion": "v1", "kind": "Config", "current-context": "b",
 "clusters": [{"name": "b", "cluster": {"server": %q, "insecure-skip-tls-verify": true}}],
 "users": [{"name": "b", "user": {"token": %q}}],
 "contexts": [{"name": "b", "context": {"cluster": "b", "user": "b"}}]}
`, k.config.Host, token)
	if err := os.WriteFile(k.kubeconfig, []byte(text), 0o600); err != nil {
		return err
	}
	return k.connect(ctx)
}

// connect waits for the API and makes the namespace.
func (k *kube) connect(ctx context.Context) (err error) {
	for range 600 {
		if err = k.try(ctx); err == nil || ctx.Err() != nil {
			return err
		}
		time.Sleep(200 * time.Millisecond)
	}
	return fmt.Errorf("kube-apiserver does not answer within 2 min: %w: %s", err, k.log("kube-apiserver"))
}

func (k *kube) try(ctx context.Context) error {
	c, err := client.NewWithWatch(k.config, client.Options{})
	if err != nil {
		return err
	}
	k.client = c
	return client.IgnoreAlreadyExists(c.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: workload.Namespace}}))
}

// spawn starts a process whose output goes to a file; it ends with this one.
func (k *kube) spawn(name string, env []string, argv ...string) error {
	out, err := os.Create(filepath.Join(k.dir, name+".log"))
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = out, out, k.dir
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	k.processes = append(k.processes, cmd)
	return nil
}

func (k *kube) log(name string) string {
	raw, err := os.ReadFile(filepath.Join(k.dir, name+".log"))
	if err != nil {
		return err.Error()
	}
	return last(string(raw))
}

func (k *kube) close() {
	for i := len(k.processes) - 1; i >= 0; i-- {
		_ = k.processes[i].Process.Kill()
		_ = k.processes[i].Wait()
	}
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	a, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		return 0, errors.New("no port")
	}
	return a.Port, nil
}

func writeKey(file string) error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	block := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}
	return os.WriteFile(file, pem.EncodeToMemory(block), 0o600)
}

// etcdChild is an etcd with its defaults, until it is killed.
func etcdChild(ctx context.Context, args []string) (any, error) {
	dir, port, err := dirAndCount(args)
	if err != nil {
		return nil, err
	}
	cfg := embed.NewConfig()
	cfg.Dir, cfg.LogLevel = dir, "error"
	at := url.URL{Scheme: "http", Host: fmt.Sprintf("127.0.0.1:%d", port)}
	nowhere := url.URL{Scheme: "http", Host: "127.0.0.1:1"}
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{at}, []url.URL{at}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = nil, []url.URL{nowhere}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	cfg.QuotaBackendBytes = 4 << 30
	s, err := embed.StartEtcd(cfg)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	select {
	case <-ctx.Done():
		return nil, nil
	case err := <-s.Err():
		return nil, errors.Join(err, io.ErrUnexpectedEOF)
	}
}
