package dashboard_test

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/dashboard"
	"slipway.dev/slipway/dashboard/dashboardtest"
	"slipway.dev/slipway/state/statetest"
)

// installed makes sure that a program is there, from Debian's packages if need be.
func installed(t *testing.T, program, pkg string) string {
	t.Helper()
	installing.Lock()
	defer installing.Unlock()
	path, err := exec.LookPath(program)
	if err == nil {
		return path
	}
	if _, lacking := exec.LookPath("apt-get"); lacking != nil || os.Geteuid() != 0 {
		t.Fatalf("install %s, as root on Debian with `apt-get install %s`", program, pkg)
	}
	for _, args := range [][]string{{"update"}, {"install", "-y", "--no-install-recommends", pkg}} {
		cmd := exec.Command("apt-get", append([]string{"-q", "-o", "DPkg::Lock::Timeout=300"}, args...)...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("apt-get %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	if path, err = exec.LookPath(program); err != nil {
		t.Fatal(err)
	}
	return path
}

var installing sync.Mutex // held while packages are installed

type kubectl struct {
	program, server, home string
	client                client.WithWatch
}

func newKubectl(t *testing.T) *kubectl {
	t.Helper()
	c := statetest.New(t)
	if err := dashboardtest.Fill(t.Context(), c, time.Now()); err != nil {
		t.Fatal(err)
	}
	logs := dashboardtest.Logs{
		"shop-dev/frontend-7-4kx2p/web": "listening on :8080\nGET /basket 200\n",
		"shop-dev/frontend-8":           "cloning\nassembling\n",
	}
	return &kubectl{
		program: installed(t, "kubectl", "kubernetes-client"), home: t.TempDir(), client: c,
		server: dashboardtest.Serve(t, c, dashboard.Options{Logs: logs, Metrics: dashboardtest.Metrics{}}),
	}
}

func (k *kubectl) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, k.program, append([]string{"--server", k.server, "--cache-dir", filepath.Join(k.home, "cache")}, args...)...)
	cmd.Env = []string{"HOME=" + k.home, "KUBECONFIG=" + filepath.Join(k.home, "none"), "PATH=" + os.Getenv("PATH")}
	return cmd
}

func (k *kubectl) run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := k.command(ctx, args...).CombinedOutput()
	return string(out), err
}

func TestKubectlReads(t *testing.T) {
	t.Parallel()
	k := newKubectl(t)
	for _, c := range []struct {
		args string
		want []string
	}{
		{"get pods -n shop-dev", []string{"NAME", "READY   STATUS", "RESTARTS", "frontend-7-4kx2p   1/1     Running", "backend-3-h7n4d    0/1     CrashLoopBackOff   4 ("}},
		{"get po -A -o wide", []string{"NAMESPACE", "shop-prod", "10.128.0.31", "dock-1"}},
		{"get pods -n shop-dev -l app=backend", []string{"backend-3-h7n4d"}},
		{"get pod frontend-7-4kx2p -n shop-dev -o yaml", []string{"kind: Pod", "podIP: 10.128.0.11"}},
		{"get dc -n shop-dev", []string{"REVISION   DESIRED   CURRENT   TRIGGERED BY", "frontend   7          3         3         config,image(frontend:latest)"}},
		{"get dc/frontend -n shop-prod -o json", []string{`"kind": "DeploymentConfig"`}},
		{"get builds -n shop-dev", []string{"NAME", "TYPE", "FROM", "Git@e41d9b0", "Failed (DockerBuildFailed)"}},
		{"get is,routes -n shop-dev", []string{"imagestream.image.openshift.io/frontend", "route.route.openshift.io/frontend", "shop-dev.example.com"}},
		{"get applications -A", []string{"8c1f2ab", "3 problems at 8c1f2ab"}},
		{"get gitrepo -n slipway", []string{"main@8c1f2ab"}},
		{"get projects", []string{"Shop, production"}},
		{"get ns", []string{"shop-dev", "Active"}},
		{"get ns shop-dev -o name", []string{"namespace/shop-dev"}},
		{"get nodes", []string{"dock-1", "Ready"}},
		{"get all -n shop-prod", []string{"pod/frontend-2-mm2cd", "service/frontend", "deploymentconfig.apps.openshift.io/frontend"}},
		{"get pods -A --field-selector spec.nodeName=dock-1 -o name", []string{"pod/frontend-2-x8w5v"}},
		{"get pods -A --chunk-size=2 -o name", []string{"pod/backend-3-h7n4d", "pod/frontend-2-x8w5v"}},
		{"get pods -n shop-dev --sort-by=.status.podIP", []string{"frontend-7-4kx2p"}},
		{"get records -n slipway -o wide", []string{"Ada Lindqvist", "+0 ~2 -0"}},
		{"get endpoints -A", []string{"10.128.0.11:8080,10.128.0.12:8080,10.128.0.13:8080"}},
		{"describe pod backend-3-h7n4d -n shop-dev", []string{"backend-3-h7n4d", "CrashLoopBackOff", "back-off restarting failed container web"}},
		{"describe dc frontend -n shop-dev", []string{"Name:         frontend", "RolledOut"}},
		{"describe secret backend -n shop-dev", []string{"password:  6 bytes"}},
		{"logs frontend-7-4kx2p -n shop-dev", []string{"GET /basket 200"}},
		{"logs frontend-7-4kx2p -n shop-dev -c web --tail=1", []string{"GET /basket 200"}},
		{"wait --for=condition=Ready pod/frontend-7-4kx2p -n shop-dev --timeout=20s", []string{"condition met"}},
		{"get events -n shop-dev", []string{"BackOff", "pod/backend-3-h7n4d"}},
		{"api-resources", []string{"deploymentconfigs", "dc", "apps.openshift.io/v1"}},
		{"auth can-i list pods", []string{"yes"}},
		{"top pods -n shop-dev", []string{"frontend-7-4kx2p   250m         96Mi"}},
		{"top pods -A -l app=backend --containers", []string{"shop-dev    backend-3-h7n4d", "web    250m"}},
		{"top pod frontend-7-4kx2p -n shop-dev", []string{"250m"}},
		{"top nodes", []string{"dock-1   1500m", "2048Mi"}},
		{"version", []string{"Server Version: ", "v1.32"}},
		{"get --raw /api/v1/namespaces/shop-dev/pods/frontend-7-4kx2p", []string{`"kind":"Pod"`}},
		{"get --raw /apis/build.openshift.io/v1/namespaces/shop-dev/builds/frontend-8/log", []string{"assembling"}},
	} {
		t.Run(c.args, func(t *testing.T) {
			t.Parallel()
			out, err := k.run(t, strings.Fields(c.args)...)
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
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

func TestKubectlCannotWrite(t *testing.T) {
	t.Parallel()
	k := newKubectl(t)
	for _, args := range []string{
		"delete pod frontend-7-4kx2p -n shop-dev --wait=false",
		"create namespace other",
		"label pod frontend-7-4kx2p -n shop-dev a=b",
		"annotate dc frontend -n shop-dev a=b",
		"auth can-i delete pods",
	} {
		out, err := k.run(t, strings.Fields(args)...)
		if err == nil {
			t.Errorf("%s: succeeded: %s", args, out)
		}
		if !strings.Contains(out, "changed by git") {
			t.Errorf("%s: does not say where to write: %s", args, out)
		}
	}
	out, err := k.run(t, "get", "pod", "nobody", "-n", "shop-dev")
	if err == nil || !strings.Contains(out, `Error from server (NotFound): pods "nobody" not found`) {
		t.Errorf("get of a pod that is not there: %v %s", err, out)
	}
}

// lines runs kubectl until the test ends, and sends what it prints.
func (k *kubectl) lines(t *testing.T, args ...string) <-chan string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := k.command(ctx, args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 1000)
	t.Cleanup(func() { cancel(); _ = cmd.Wait() })
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			lines <- s.Text()
		}
	}()
	return lines
}

func await(t *testing.T, lines <-chan string, want string) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		select {
		case line, open := <-lines:
			if !open {
				t.Fatalf("ended before %q came", want)
			}
			if strings.Contains(line, want) {
				return
			}
		case <-deadline:
			t.Fatalf("%q did not come", want)
		}
	}
}

func TestKubectlFollows(t *testing.T) {
	t.Parallel()
	k := newKubectl(t)
	watched := k.lines(t, "get", "pods", "-n", "shop-dev", "-w")
	await(t, watched, "frontend-7-4kx2p")
	logs := k.lines(t, "logs", "-f", "frontend-7-4kx2p", "-n", "shop-dev")
	await(t, logs, "GET /basket 200")

	waited := make(chan error, 1)
	go func() {
		out, err := k.command(t.Context(), "wait", "--for=condition=Ready", "pod/backend-3-h7n4d", "-n", "shop-dev", "--timeout=50s").CombinedOutput()
		if err != nil {
			t.Log(string(out))
		}
		waited <- err
	}()
	var pod corev1.Pod
	if err := k.client.Get(t.Context(), types.NamespacedName{Namespace: "shop-dev", Name: "backend-3-h7n4d"}, &pod); err != nil {
		t.Fatal(err)
	}
	pod.Status.ContainerStatuses[0].State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	pod.Status.ContainerStatuses[0].Ready = true
	pod.Status.Conditions[0].Status = corev1.ConditionTrue
	if err := k.client.Status().Update(t.Context(), &pod); err != nil {
		t.Fatal(err)
	}
	await(t, watched, "backend-3-h7n4d    1/1     Running")
	if err := <-waited; err != nil {
		t.Errorf("wait: %v", err)
	}
}
