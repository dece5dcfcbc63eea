package server

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/cmd/slipway/execution"
)

// ExecTokenFile holds, in the data directory of a server, what ExecToken reads.
func ExecTokenFile(dataDir string) string { return filepath.Join(dataDir, "exec.token") }

// ExecToken is what proves that somebody may run commands in containers: that he can read
// the data directory of a server, and so might do all of it by himself.
func ExecToken(file string) (string, error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%s is not the data directory of a `slipway up`", filepath.Dir(file))
	}
	return strings.TrimSpace(string(b)), err
}

// makeExecToken makes it where there is none yet.
func makeExecToken(dataDir string) (string, error) {
	path := ExecTokenFile(dataDir)
	if b, err := os.ReadFile(path); err == nil && len(b) > 0 {
		return strings.TrimSpace(string(b)), nil
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	token := rand.Text()
	if err := os.WriteFile(path+".next", []byte(token+"\n"), 0o600); err != nil {
		return "", err
	}
	return token, os.Rename(path+".next", path)
}

// registerExec mounts what `slipway exec` asks for.
func (s *server) registerExec(e *gin.Engine) error {
	token, err := makeExecToken(s.cfg.DataDir)
	if err != nil {
		return err
	}
	e.GET("/slipway/v1/exec/:namespace/:pod", func(c *gin.Context) {
		if why := mayExec(c.Request, token, s.cfg.machine); why != "" {
			c.AbortWithStatusJSON(http.StatusForbidden, apierrors.NewForbidden(corev1.Resource("pods/exec"), c.Param("pod"), errors.New(why)).Status())
			return
		}
		pod := types.NamespacedName{Namespace: c.Param("namespace"), Name: c.Param("pod")}
		if err := execution.Serve(c.Writer, c.Request, pod, s.exec); err != nil {
			c.AbortWithStatusJSON(http.StatusBadRequest, apierrors.NewBadRequest(err.Error()).Status())
			return
		}
		c.Abort()
	})
	return nil
}

// mayExec says why a request may not; empty: it may. No page of a browser can send the
// header, and nobody beyond this machine, or that of a lab, gets here.
func mayExec(r *http.Request, token string, machine netip.Addr) string {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	behind := r.Header.Get("Forwarded") != "" || r.Header.Get("X-Forwarded-For") != ""
	given, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch {
	case err != nil || behind || !from.Addr().Unmap().IsLoopback() && from.Addr().Unmap() != machine:
		return "only the machine that the server runs on may run commands in pods through it"
	case !bearer || subtle.ConstantTimeCompare([]byte(given), []byte(token)) != 1:
		return "only who can read the server's data directory may run commands in pods"
	}
	return ""
}

// exec runs a command where the pod is.
func (s *server) exec(ctx context.Context, x api.Exec) (int, error) {
	var pod corev1.Pod
	if err := s.client.Get(ctx, x.Pod, &pod); err != nil {
		return 0, err
	}
	var err error
	if x.Container, err = execContainer(&pod, x.Container); err != nil {
		return 0, err
	}
	s.log.Warn("a command is run in a container", "pod", x.Pod.String(), "container", x.Container, "command", x.Command)
	if n := pod.Spec.NodeName; n != s.cfg.Node {
		return s.far.exec(ctx, n, x)
	}
	return s.parts.agent.Exec(ctx, x)
}

// execContainer is the container that is meant: the first, unless one is named or annotated.
func execContainer(pod *corev1.Pod, name string) (string, error) {
	if name == "" {
		name = pod.Annotations["kubectl.kubernetes.io/default-container"]
	}
	if name == "" {
		return pod.Spec.Containers[0].Name, nil
	}
	var all []string
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		all = append(all, c.Name)
	}
	if !slices.Contains(all, name) {
		return "", apierrors.NewBadRequest(fmt.Sprintf("container %s is not valid for pod %s, choose one of: %s", name, pod.Name, strings.Join(all, " ")))
	}
	return name, nil
}

// exec has a node that joined run a command.
func (f *far) exec(ctx context.Context, node string, x api.Exec) (int, error) {
	if f == nil || node == "" {
		return 0, apierrors.NewServiceUnavailable(fmt.Sprintf("pod %s is on node %q, which this server does not reach", x.Pod.Name, node))
	}
	target, err := url.Parse(farURL(node, "/v1/exec/"+x.Pod.Namespace+"/"+x.Pod.Name))
	if err != nil {
		return 0, err
	}
	// Another HTTP has no connection that could be upgraded.
	plain := *f
	plain.tls = f.tls.Clone()
	plain.tls.NextProtos = []string{"http/1.1"}
	conn, err := plain.dial(ctx, "tcp", net.JoinHostPort(target.Host, "443"))
	if err != nil {
		return 0, fmt.Errorf("node %s: %w", node, err)
	}
	return execution.Call(ctx, conn, target, nil, x)
}
