package dashboard

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"slipway.dev/slipway/api"
)

// registerPortForward mounts what `slipway port-forward` asks for: a connection to a
// port of a pod, by HTTP's Upgrade. Only this machine may ask: who is on it reaches its
// pods anyway, and nobody else gets to them by a server that listens further. A page in
// a browser cannot ask, either: none may name a protocol to upgrade to.
func (d *Dashboard) registerPortForward(r gin.IRouter) {
	r.GET("/api/v1/namespaces/:namespace/pods/:name/portforward", func(c *gin.Context) {
		pod := types.NamespacedName{Namespace: c.Param("namespace"), Name: c.Param("name")}
		conn, err := d.connect(c, pod)
		if err != nil {
			d.answerError(c, err)
			return
		}
		defer conn.Close()
		client, buffered, err := c.Writer.Hijack()
		if err != nil {
			d.answerError(c, err)
			return
		}
		defer client.Close()
		c.Abort()
		if _, err := fmt.Fprintf(client, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", api.PortForwardProtocol); err != nil {
			return
		}
		join(client, buffered.Reader, conn)
	})
}

func (d *Dashboard) connect(c *gin.Context, name types.NamespacedName) (net.Conn, error) {
	from, err := netip.ParseAddrPort(c.Request.RemoteAddr)
	behind := c.GetHeader("Forwarded") != "" || c.GetHeader("X-Forwarded-For") != "" // a proxy on this machine
	if err != nil || behind || !from.Addr().Unmap().IsLoopback() && from.Addr().Unmap() != d.Machine {
		return nil, apierrors.NewForbidden(schema.GroupResource{Resource: "pods/portforward"}, name.Name, fmt.Errorf("only the machine that the server runs on may connect to pods through it"))
	}
	if !strings.EqualFold(c.GetHeader("Upgrade"), api.PortForwardProtocol) {
		return nil, apierrors.NewBadRequest("use `slipway port-forward`: want an upgrade to " + api.PortForwardProtocol)
	}
	port, err := strconv.ParseUint(c.Query("port"), 10, 16)
	if err != nil || port == 0 {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("port=%q: want a number from 1 to 65535", c.Query("port")))
	}
	var pod corev1.Pod
	if err := d.Client.Get(c, name, &pod); err != nil {
		return nil, err
	}
	if pod.Status.Phase != corev1.PodRunning || pod.Status.PodIP == "" {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("pod %s does not run: its phase is %s", name.Name, pod.Status.Phase))
	}
	ctx, cancel := context.WithTimeout(c, 10*time.Second)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(pod.Status.PodIP, strconv.FormatUint(port, 10)))
	if err != nil {
		return nil, apierrors.NewServiceUnavailable(fmt.Sprintf("pod %s: %v", name.Name, err))
	}
	return conn, nil
}

// join copies both ways until both have ended. What the client sent along with its
// request is in reader.
func join(client net.Conn, reader *bufio.Reader, pod net.Conn) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(pod, reader)
		closeWrite(pod)
		_ = pod.SetReadDeadline(time.Now().Add(lastWord))
	}()
	_, _ = io.Copy(client, pod)
	closeWrite(client)
	<-done
}

// lastWord is how long a pod may go on talking to who has said all.
const lastWord = 5 * time.Minute

func closeWrite(c net.Conn) {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}
