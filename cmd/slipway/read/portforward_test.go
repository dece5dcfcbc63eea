package read

import (
	"context"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slipway.dev/slipway/api"
)

// shout is a server that answers everything in capitals, once it has all.
func shout(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				all, _ := io.ReadAll(c)
				_, _ = io.WriteString(c, strings.ToUpper(string(all)))
			}()
		}
	}()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func TestPortForwardReachesAPod(t *testing.T) {
	t.Parallel()
	server, c := shop(t)
	remote := shout(t)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop-dev", Name: "shouter"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "shout:1"}}}}
	if err := c.Create(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	asked := server + "/api/v1/namespaces/shop-dev/pods/shouter/portforward?port=" + remote
	refused := func(why, target string, header http.Header) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header = header
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if res.StatusCode < 400 || res.StatusCode >= 500 {
			t.Errorf("%s: %s", why, res.Status)
		}
	}
	upgrade := http.Header{"Connection": {"Upgrade"}, "Upgrade": {api.PortForwardProtocol}}
	refused("a pod that does not run", asked, upgrade)
	pod.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "127.0.0.1"}
	if err := c.Status().Update(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	refused("a page of a browser", asked, http.Header{})
	refused("somebody behind a proxy", asked, http.Header{"Connection": {"Upgrade"}, "Upgrade": {api.PortForwardProtocol}, "X-Forwarded-For": {"192.0.2.1"}})
	refused("no port", strings.TrimSuffix(asked, remote)+"0", upgrade)
	refused("no pod", strings.Replace(asked, "shouter", "none", 1), upgrade)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd, out, stderr := command(server, "port-forward", "shouter", ":"+remote, "-n", "shop-dev")
	ended := make(chan error, 1)
	go func() { ended <- cmd.ExecuteContext(ctx) }()
	from := regexp.MustCompile(`from (\S+) -> ` + remote)
	deadline := time.Now().Add(30 * time.Second)
	for from.FindStringSubmatch(out.String()) == nil {
		if time.Now().After(deadline) {
			t.Fatalf("it does not listen: %s%s", out, stderr)
		}
		time.Sleep(5 * time.Millisecond)
	}
	for range 3 {
		conn, err := net.Dial("tcp", from.FindStringSubmatch(out.String())[1])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, "tea, please"); err != nil {
			t.Fatal(err)
		}
		closeWrite(conn)
		answer, err := io.ReadAll(conn)
		if err != nil || string(answer) != "TEA, PLEASE" {
			t.Errorf("%q, %v: %s", answer, err, stderr)
		}
		_ = conn.Close()
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestPorts(t *testing.T) {
	t.Parallel()
	for spec, want := range map[string][2]string{"80": {"80", "80"}, "8080:80": {"8080", "80"}, ":80": {"0", "80"}} {
		if local, remote, err := ports(spec); err != nil || [2]string{local, remote} != want {
			t.Errorf("%s: %s %s %v", spec, local, remote, err)
		}
	}
	for _, spec := range []string{"", ":", "0", "x", "80:", "80:x", "65536", "8080:0", "-1"} {
		if _, _, err := ports(spec); err == nil {
			t.Errorf("%q is taken", spec)
		}
	}
}
