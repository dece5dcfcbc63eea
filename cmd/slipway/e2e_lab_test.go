package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/runtime/engine/enginetest"
)

// TestLab is a lab as a user has it: every command, and nothing left in the end.
func TestLab(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	at, config := filepath.Join(dir, "lab"), filepath.Join(dir, "lab.yaml")
	says := func(code int, want string, args ...string) {
		t.Helper()
		verb := append([]string{"lab", args[0], "--dir", at}, args[1:]...)
		if res := runs(t, nil, program(t), verb...); res.code != code || !strings.Contains(res.String(), want) {
			t.Fatalf("slipway %s: want exit code %d and %q: %s", strings.Join(verb, " "), code, want, res)
		}
	}
	t.Cleanup(func() { says(0, "", "down") })
	image := enginetest.Busybox(t, enginetest.Client(t))
	newRepository(t, filepath.Join(dir, "config"), map[string]string{
		"clusters/lab/projects/shop/pod.yaml":  fmt.Sprintf(labPod, image),
		"clusters/lab/projects/shop/page.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: page\ndata:\n  title: Hello\n",
		"clusters/other/projects/bank/no.yaml": "no object",
	})
	up := []string{"up", "--nodes", "1", "--repo", "file://" + filepath.Join(dir, "config"), "--path", "clusters/lab", "--config"}
	precious := filepath.Join(dir, "precious")
	if err := os.WriteFile(precious, []byte("apiVersion: v1\nkind: Config\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	says(2, "is there already, and no lab has written it", append(up, precious)...)
	says(2, "required flag(s) \"config\"", up[:len(up)-1]...)
	says(0, "1 node is Ready; the dashboard is at http://", append(up, config)...)
	says(2, "there is a lab in "+at, append(up, config)...)

	get := func(want string, args ...string) error {
		res := runs(t, nil, program(t), append(append([]string{"get"}, args...), "--config", config)...)
		if res.code != 0 || !strings.Contains(res.out, want) {
			return fmt.Errorf("want %q: %s", want, res)
		}
		return nil
	}
	if err := get("Ready", "nodes"); err != nil {
		t.Error(err)
	}
	eventually(t, "the repository's folder is live", func() error {
		return get("Hello", "configmap", "page", "-n", "shop", "-o", "jsonpath={.data.title}")
	})
	if err := kubernetesReads(t, config); err != nil {
		t.Errorf("a client of Kubernetes with the same file: %v", err)
	}

	says(0, "", "load", image)
	says(0, "", "exec", "node1", "--", "docker", "image", "inspect", image)
	says(2, "has no image no.such/image:1", "load", "no.such/image:1")
	says(0, "eth0", "exec", "node1", "--", "ip", "-br", "addr", "show", "eth0")
	says(7, "", "exec", "node1", "--", "sh", "-c", "exit 7")
	says(2, "the lab has no host \"node9\": there are node1", "exec", "node9", "--", "true")

	eventually(t, "a command in a pod", func() error {
		res := runs(t, nil, program(t), "exec", "look", "-n", "shop", "--config", config, "--", "echo", "from inside")
		if res.code != 0 || res.out != "from inside\n" {
			return fmt.Errorf("%s", res)
		}
		return nil
	})
	eventually(t, "a port of a pod", func() error { return forwarded(t, "look", "-n", "shop", "--config", config) })

	says(2, "host node1 has no part \"agent\": it has [engine server]", "kill", "node1", "agent")
	says(0, "", "kill", "node1", "server")
	if err := get("Ready", "nodes"); err == nil {
		t.Error("a server that was killed answers")
	}
	says(0, "", "start", "node1")
	says(0, "", "start", "node1")
	eventually(t, "the server answers again", func() error { return get("Ready", "nodes") })

	says(0, "", "cut", "node1")
	if res := runs(t, nil, "timeout", "2", program(t), "get", "nodes", "--config", config); res.code == 0 {
		t.Errorf("a host that was cut off answers: %s", res)
	}
	says(0, "", "heal", "node1")
	eventually(t, "the host answers again", func() error { return get("Ready", "nodes") })

	says(0, "", "down")
	says(0, "", "down")
	for _, gone := range []string{at, config} {
		if _, err := os.Stat(gone); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("left: %s (%v)", gone, err)
		}
	}
	for _, p := range processesNaming(t, at) {
		t.Errorf("left: process %s", p)
	}
	says(2, "there is no lab", "exec", "node1", "--", "true")
}

// labPod serves a page at port 8080.
const labPod = `apiVersion: v1
kind: Pod
metadata:
  name: look
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: web
    image: %s
    command: [sh, -c, "mkdir -p /tmp/www && echo a page > /tmp/www/index.html && exec httpd -f -p 8080 -h /tmp/www"]
`

// forwarded asks for the page of a pod through port-forward.
func forwarded(t *testing.T, args ...string) error {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program(t), append([]string{"port-forward", args[0], ":8080"}, args[1:]...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	defer cmd.Wait()
	defer cancel()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return err
	}
	at, _, _ := strings.Cut(strings.TrimPrefix(line, "Forwarding from "), " ")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at+"/", nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	page, err := io.ReadAll(res.Body)
	if err == nil && string(page) != "a page\n" {
		err = fmt.Errorf("got %q", page)
	}
	return err
}

// kubernetesReads reads as kubectl does.
func kubernetesReads(t *testing.T, config string) error {
	t.Helper()
	rest, err := clientcmd.BuildConfigFromFlags("", config)
	if err != nil {
		return err
	}
	c, err := client.New(rest, client.Options{})
	if err != nil {
		return err
	}
	var nodes corev1.NodeList
	if err := c.List(t.Context(), &nodes); err != nil {
		return err
	}
	if len(nodes.Items) != 1 || nodes.Items[0].Name != "node1" {
		return fmt.Errorf("got %v", nodes.Items)
	}
	return nil
}
