package runtime

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// outputLimit bounds what is read of a probe's or hook's answer, in bytes.
const outputLimit = 10 << 10

// handle carries out what a probe or a lifecycle hook asks for: a command in the
// container, a request, or a connection. An error: it failed.
func (a *Agent) handle(ctx context.Context, pod *corev1.Pod, c *corev1.Container, id string, sandboxPID int, h corev1.LifecycleHandler) error {
	var address netip.Addr
	a.remember(pod.UID, func(m *memory) { address = m.address })
	dial := dialer{address, sandboxPID}
	switch {
	case h.Exec != nil:
		return a.exec(ctx, id, h.Exec.Command)
	case h.HTTPGet != nil:
		return get(ctx, dial, c, h.HTTPGet)
	case h.TCPSocket != nil:
		port, err := portOf(c, h.TCPSocket.Port)
		if err != nil {
			return err
		}
		conn, err := dial.dial(ctx, port)
		if err != nil {
			return err
		}
		return conn.Close()
	case h.Sleep != nil:
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Duration(h.Sleep.Seconds) * time.Second):
			return nil
		}
	}
	return errors.New("it is neither exec nor httpGet nor tcpSocket")
}

// unasked is why a container was not asked at all, so that nothing is known of it.
type unasked struct{ error }

func (e unasked) Unwrap() error { return e.error }

// exec runs a command in a container; an exit code other than 0 is an error. It is
// unasked where the engine did not run the command.
func (a *Agent) exec(ctx context.Context, id string, command []string) error {
	e, err := a.Docker.ContainerExecCreate(ctx, id, container.ExecOptions{Cmd: command, AttachStdout: true, AttachStderr: true})
	if err != nil {
		return unasked{err}
	}
	conn, err := a.Docker.ContainerExecAttach(ctx, e.ID, container.ExecAttachOptions{})
	if err != nil {
		return unasked{err}
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, conn.Close)
	defer stop()
	var out bytes.Buffer
	_, err = stdcopy.StdCopy(&limited{&out}, &limited{&out}, conn.Reader)
	late := fmt.Errorf("command %q did not end in time", command[0])
	if ctx.Err() != nil {
		if !a.abandon(e.ID, id) {
			return unasked{ctx.Err()}
		}
		return late
	}
	if err != nil {
		return unasked{err}
	}
	for {
		i, err := a.Docker.ContainerExecInspect(ctx, e.ID)
		switch {
		case ctx.Err() != nil:
			a.abandon(e.ID, id)
			return late
		case err != nil:
			return unasked{err}
		case !i.Running && i.ExitCode != 0:
			return refused(i, command[0], strings.TrimSpace(out.String()))
		case !i.Running:
			return nil
		}
		time.Sleep(5 * time.Millisecond) // The output ends a moment before the process does.
	}
}

// refused is what an exit code says: that the command failed, or does not exist, or that
// the engine itself failed, which has the same code as a command that may not be run.
func refused(i container.ExecInspect, command, out string) error {
	err := fmt.Errorf("command %q: exit code %d: %s", command, i.ExitCode, out)
	if i.ExitCode == 126 && i.Pid == 0 && !strings.Contains(out, "OCI runtime exec failed") {
		return unasked{err}
	}
	return err
}

// abandon ends a command that did not end in time, and answers whether it had begun: else
// a probe that hangs would leave one more process with every period. The process is found
// by its id on this machine, and is the right one only if it is in the container's control
// group.
func (a *Agent) abandon(exec, id string) (began bool) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	i, err := a.Docker.ContainerExecInspect(ctx, exec)
	if err != nil || i.Pid <= 1 {
		return false
	}
	if !i.Running {
		return true
	}
	groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", i.Pid))
	if err != nil || !strings.Contains(string(groups), id) {
		return true
	}
	if err := unix.Kill(i.Pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
		a.Log.Warn("end a command that took too long", "container", id[:12], "error", err)
	}
	return true
}

// limited drops what is above outputLimit.
type limited struct{ b *bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	l.b.Write(p[:min(len(p), max(outputLimit-l.b.Len(), 0))])
	return len(p), nil
}

// get makes an HTTP request; 200 to 399 is success, as in Kubernetes. As there, redirects
// are followed to the pod itself only: others could lead the node anywhere, and are success.
func get(ctx context.Context, d dialer, c *corev1.Container, h *corev1.HTTPGetAction) error {
	port, err := portOf(c, h.Port)
	if err != nil {
		return err
	}
	scheme := "http"
	if h.Scheme == corev1.URISchemeHTTPS {
		scheme = "https"
	}
	target, err := url.Parse(scheme + "://" + net.JoinHostPort(d.host(), port) + "/" + strings.TrimPrefix(h.Path, "/"))
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "slipway-probe")
	for _, header := range h.HTTPHeaders {
		if http.CanonicalHeaderKey(header.Name) == "Host" {
			req.Host = header.Value
		} else {
			req.Header.Add(header.Name, header.Value)
		}
	}
	client := http.Client{
		Transport: &http.Transport{
			DisableKeepAlives: true,
			// As the kubelet's: a pod's certificate names no address that could be checked.
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
			DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
				_, port, err := net.SplitHostPort(address)
				if err != nil {
					return nil, err
				}
				return d.dial(ctx, port)
			},
		},
		CheckRedirect: func(next *http.Request, before []*http.Request) error {
			switch {
			case next.URL.Hostname() != before[0].URL.Hostname():
				return http.ErrUseLastResponse
			case len(before) >= 10:
				return errors.New("stopped after 10 redirects")
			}
			return nil
		},
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode < 200 || res.StatusCode >= 400 {
		body, _ := io.ReadAll(io.LimitReader(res.Body, 200))
		return fmt.Errorf("GET %s: status %d: %s", target.Path, res.StatusCode, strings.TrimSpace(string(body)))
	}
	return nil
}

// portOf resolves a port that may be given by its name.
func portOf(c *corev1.Container, port intstr.IntOrString) (string, error) {
	if port.Type == intstr.Int {
		return strconv.Itoa(port.IntValue()), nil
	}
	for _, p := range c.Ports {
		if p.Name == port.StrVal {
			return strconv.Itoa(int(p.ContainerPort)), nil
		}
	}
	if _, err := strconv.ParseUint(port.StrVal, 10, 16); err == nil {
		return port.StrVal, nil
	}
	return "", fmt.Errorf("container %s has no port %q", c.Name, port.StrVal)
}

// dialer connects to a pod: at its address, or if it has none, to its loopback
// interface from inside of its network namespace. Nothing else is ever connected to on
// behalf of a pod: the node reaches more than the pod may.
type dialer struct {
	address netip.Addr
	pid     int
}

func (d dialer) host() string {
	if d.address.IsValid() {
		return d.address.String()
	}
	return "127.0.0.1"
}

func (d dialer) dial(ctx context.Context, port string) (net.Conn, error) {
	var dial net.Dialer
	if d.address.IsValid() {
		return dial.DialContext(ctx, "tcp", net.JoinHostPort(d.host(), port))
	}
	var conn net.Conn
	err := onThread(func() error {
		// A socket belongs to the namespace of the thread that makes it.
		ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", d.pid))
		if err != nil {
			return err
		}
		defer ns.Close()
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter the pod's network: %w", err)
		}
		conn, err = dial.DialContext(ctx, "tcp4", net.JoinHostPort("127.0.0.1", port))
		return err
	})
	return conn, err
}

// onThread runs f on a thread that ends with it, so that f may change its namespaces.
// The process's main thread never ends, and its namespaces are taken for the process's:
// it is held while another one is found.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			done <- onThread(f)
			runtime.UnlockOSThread()
			return
		}
		done <- f() // Not unlocked: the thread ends with this goroutine.
	}()
	return <-done
}

// preStop runs a container's pre-stop hook; ctx ends with the grace period.
func (a *Agent) preStop(ctx context.Context, pod *corev1.Pod, c Container) {
	spec, _ := specOf(pod, c.Name)
	if spec == nil || spec.Lifecycle == nil || spec.Lifecycle.PreStop == nil {
		return
	}
	pid, err := a.sandboxPID(ctx, c.Sandbox)
	if err == nil {
		err = a.handle(ctx, pod, spec, c.ID, pid, *spec.Lifecycle.PreStop)
	}
	if err != nil && a.ctx.Err() == nil {
		a.say(pod, corev1.EventTypeWarning, "FailedPreStopHook", "PreStop hook of container %s failed: %v", c.Name, err)
	}
}

func (a *Agent) sandboxPID(ctx context.Context, id string) (int, error) {
	c, err := a.Docker.ContainerInspect(ctx, id)
	if err != nil {
		return 0, err
	}
	return c.State.Pid, nil
}
