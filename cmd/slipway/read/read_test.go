package read

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spf13/cobra"

	"slipway.dev/slipway/dashboard"
	"slipway.dev/slipway/dashboard/dashboardtest"
	"slipway.dev/slipway/state/statetest"
)

var shopLogs = dashboardtest.Logs{
	"shop-dev/frontend-7-4kx2p/web": "listening\nGET /basket 200\n",
	"shop-dev/frontend-7-9tq7w/web": "listening too\n",
	"shop-dev/frontend-8":           "cloning\nassembling\n",
}

// shop is a server with the shop in it.
func shop(t *testing.T) (string, client.WithWatch) {
	t.Helper()
	c := statetest.New(t)
	if err := dashboardtest.Fill(t.Context(), c, time.Now()); err != nil {
		t.Fatal(err)
	}
	return dashboardtest.Serve(t, c, dashboard.Options{Logs: shopLogs, Metrics: dashboardtest.Metrics{}}), c
}

// output is written by a command and read by a test.
type output struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

func command(server string, args ...string) (cmd *cobra.Command, stdout, stderr *output) {
	root := &cobra.Command{Use: "slipway", SilenceUsage: true, SilenceErrors: true}
	root.AddGroup(&cobra.Group{ID: "read"})
	root.AddCommand(Commands()...)
	stdout, stderr = &output{}, &output{}
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetArgs(append(args, "--server", server))
	return root, stdout, stderr
}

func run(t *testing.T, server string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	cmd, out, errOut := command(server, args...)
	err = cmd.ExecuteContext(t.Context())
	return out.String(), errOut.String(), err
}

func TestCommandsShow(t *testing.T) {
	t.Parallel()
	server, _ := shop(t)
	for _, c := range []struct {
		args string
		want []string
	}{
		{"get pods -n shop-dev", []string{"NAME               READY   STATUS             RESTARTS", "frontend-7-4kx2p   1/1     Running            0"}},
		{"get pods", []string{"NAMESPACE   NAME", "shop-prod   frontend-2-mm2cd"}},
		{"get po -A -o wide --no-headers", []string{"10.128.0.31   dock-1"}},
		{"get pods -l app=backend", []string{"backend-3-h7n4d"}},
		{"get pod frontend-7-4kx2p", []string{"shop-dev    frontend-7-4kx2p"}},
		{"get pod/frontend-7-4kx2p dc/frontend -n shop-dev", []string{"pod/frontend-7-4kx2p", "deploymentconfig.apps.openshift.io/frontend"}},
		{"get all -n shop-prod", []string{"pod/frontend-2-mm2cd", "route.route.openshift.io/frontend"}},
		{"get dc,is -n shop-dev -o name", []string{"deploymentconfig.apps.openshift.io/backend\n", "imagestream.image.openshift.io/frontend\n"}},
		{"get secret backend -n shop-dev -o yaml", []string{"password: bWFza2Vk", "kind: Secret"}},
		{"get app -A -o json", []string{`"kind": "List"`, `"kind": "Application"`}},
		{"get route frontend -n shop-prod -o jsonpath={.spec.host}", []string{"shop.example.com"}},
		{"get pods --show-labels -n shop-prod", []string{"LABELS", "deploymentconfig=frontend"}},
		{"get ns", []string{"Shop, production"}},
		{"get pods --field-selector status.phase=Running -n shop-prod -o name", []string{"pod/frontend-2-mm2cd\npod/frontend-2-x8w5v\n"}},
		{"describe pod backend-3-h7n4d", []string{"Name:         backend-3-h7n4d", "Pod IP:", "10.128.0.14", "BackOff", "back-off restarting failed container web"}},
		{"describe secret backend -n shop-dev", []string{"Password", "masked"}},
		{"describe dc/frontend -n shop-dev", []string{"Latest Version:", "RolledOut"}},
		{"events -n shop-dev", []string{"LAST SEEN", "Warning   BackOff"}},
		{"events --for dc/frontend", []string{"RolledOut"}},
		{"logs frontend-7-4kx2p", []string{"listening\nGET /basket 200\n"}},
		{"logs pod/frontend-7-4kx2p -n shop-dev --tail 1", []string{"GET /basket 200\n"}},
		{"logs build/frontend-8", []string{"assembling\n"}},
		{"logs bc/frontend --tail 1", []string{"assembling\n"}},
		{"logs dc/frontend -n shop-dev", []string{"GET /basket 200\n"}},
		{"status", []string{"billing", "billing/invoice.yaml:14", "3/3", "frontend-8", "CrashLoopBackOff"}},
		{"history root", []string{"8c1f2ab", "Promote frontend v1.0 to shop-prod", "Ada Lindqvist"}},
	} {
		t.Run(c.args, func(t *testing.T) {
			t.Parallel()
			out, errOut, err := run(t, server, strings.Fields(c.args)...)
			if err != nil {
				t.Fatalf("%v\n%s", err, errOut)
			}
			for _, want := range c.want {
				if !strings.Contains(out, want) {
					t.Errorf("want %q in\n%s", want, out)
				}
			}
			if strings.Contains(out, "canary") {
				t.Errorf("shows a secret:\n%s", out)
			}
		})
	}
}

func TestCommandsFail(t *testing.T) {
	t.Parallel()
	server, _ := shop(t)
	for _, c := range []struct{ args, want string }{
		{"get pods nobody -n shop-dev", `Error from server (NotFound): pods "nobody" not found`},
		{"get pods nobody", `Error from server (NotFound): pods "nobody" not found`},
		{"get wheels", `there is no kind "wheels"`},
		{"get pods -o xml", `-o "xml"`},
		{"get pods,dc -w", "-w follows one kind"},
		{"get secrets --field-selector data.password=x", "cannot be selected by"},
		{"describe dc frontend", "shop-dev, shop-prod"},
		{"logs dc/frontend", "shop-dev, shop-prod"},
		{"logs nobody", `pods "nobody" not found`},
		{"history nobody", `applications.slipway.dev "nobody" not found`},
	} {
		_, _, err := run(t, server, strings.Fields(c.args)...)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.args, err, c.want)
			continue
		}
		var code interface{ ExitCode() int }
		if !errors.As(err, &code) || code.ExitCode() != 1 {
			t.Errorf("%s: does not end with 1", c.args)
		}
	}
	if _, _, err := run(t, "http://127.0.0.1:1", "get", "pods"); err == nil || !strings.Contains(err.Error(), "slipway up") {
		t.Errorf("without a server: %v", err)
	}
}

func TestNothingFound(t *testing.T) {
	t.Parallel()
	server := dashboardtest.Serve(t, statetest.New(t), dashboard.Options{})
	for args, want := range map[string]string{"get pods -n empty": "No resources found in empty namespace.\n", "get pods": "No resources found\n", "events -n empty": "No events found in empty namespace.\n"} {
		out, errOut, err := run(t, server, strings.Fields(args)...)
		if err != nil || out != "" || errOut != want {
			t.Errorf("%s: %q, %q, %v; want %q", args, out, errOut, err, want)
		}
	}
}

// eventually waits for a text in what a command prints.
func eventually(t *testing.T, o *output, want string) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !strings.Contains(o.String(), want); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%q did not come in\n%s", want, o)
		}
	}
}

func follow(t *testing.T, server string, args ...string) *output {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cmd, out, _ := command(server, args...)
	done := make(chan error, 1)
	go func() { done <- cmd.ExecuteContext(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("%v: %v", args, err)
		}
	})
	return out
}

func TestWatches(t *testing.T) {
	t.Parallel()
	server, c := shop(t)
	rows := follow(t, server, "get", "configmaps", "-w", "-n", "shop-dev")
	names := follow(t, server, "get", "configmaps", "-w", "-o", "name")
	events := follow(t, server, "events", "-w", "-n", "shop-dev")
	logs := follow(t, server, "logs", "-f", "frontend-7-4kx2p")
	eventually(t, events, "BackOff")
	eventually(t, logs, "GET /basket 200")
	for i := range 3 {
		cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "shop-dev", Name: fmt.Sprintf("made-%d", i)}, Data: map[string]string{"a": "b"}}
		if err := c.Create(t.Context(), cm); err != nil {
			t.Fatal(err)
		}
	}
	ev := &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop-dev", Name: "later"}, InvolvedObject: corev1.ObjectReference{Kind: "Pod", Namespace: "shop-dev", Name: "x"},
		Type: "Normal", Reason: "Later", Message: "came later", LastTimestamp: metav1.Now(),
	}
	if err := c.Create(t.Context(), ev); err != nil {
		t.Fatal(err)
	}
	eventually(t, rows, "made-2   1      ")
	eventually(t, names, "configmap/made-2\n")
	eventually(t, events, "came later")
}

func TestTerminalIsNotDriven(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	g := &grid{out: &b}
	if err := g.rows([]string{"A", "B"}, []string{"\x1b[2Jx", "line\nbreak"}); err != nil {
		t.Fatal(err)
	}
	if want := "A          B\n\\x1b[2Jx   line\\x0abreak\n"; b.String() != want {
		t.Errorf("%q, want %q", b.String(), want)
	}
}
