package runtime_test

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
)

func TestCommandsRunInContainers(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	uid := int64(1000)
	c := sh(forever)
	c.SecurityContext = &corev1.SecurityContext{RunAsUser: &uid}
	l.pod("web", corev1.PodSpec{Containers: []corev1.Container{c}})
	pod := client.ObjectKeyFromObject(l.until("web", "ready", ready))
	var out, errs bytes.Buffer
	run := func(x api.Exec) (int, error) {
		out.Reset()
		errs.Reset()
		x.Pod, x.Stdout, x.Stderr = pod, &out, &errs
		return l.agent.Exec(t.Context(), x)
	}
	code, err := run(api.Exec{Container: "main", Command: []string{"sh", "-c", "id -u; echo oh >&2; cat; exit 7"}, Stdin: strings.NewReader("tea")})
	if err != nil || code != 7 || out.String() != "1000\ntea" || errs.String() != "oh\n" {
		t.Errorf("%d, %v: %q and %q", code, err, out.String(), errs.String())
	}
	l.poll("the pod says so", l.event("web", "Exec"), nothing)

	sizes := make(chan api.TerminalSize, 1)
	sizes <- api.TerminalSize{Width: 97, Height: 31}
	code, err = run(api.Exec{Container: "main", TTY: true, Sizes: sizes, Command: []string{"sh", "-c", "test -t 0 && until stty size | grep '31 97'; do sleep 0.05; done; echo both >&2"}, Stdin: strings.NewReader("")})
	if err != nil || code != 0 || !strings.HasSuffix(out.String(), "31 97\r\nboth\r\n") {
		t.Errorf("a terminal: %d, %v: %q", code, err, out.String())
	}
	if code, err := run(api.Exec{Container: "main", Command: []string{"/none"}}); err == nil && code == 0 {
		t.Error("a command that is not there runs")
	}
	for _, x := range []api.Exec{{Container: "none", Command: []string{"true"}}, {Container: "main"}} {
		if _, err := run(x); !apierrors.IsBadRequest(err) {
			t.Errorf("%+v: %v", x, err)
		}
	}
}

// A command does not outlast who asked for it.
func TestACommandEndsWithWhoAsked(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.pod("web", corev1.PodSpec{Containers: []corev1.Container{sh(forever)}})
	pod := client.ObjectKeyFromObject(l.until("web", "ready", ready))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	read, write := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		_, err := l.agent.Exec(ctx, api.Exec{Pod: pod, Container: "main", Command: []string{"sh", "-c", "echo up; exec sleep 986"}, Stdout: write, Stderr: write})
		ended <- err
	}()
	if _, err := io.ReadFull(read, make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	sleeps := func() bool {
		top, err := l.docker.ContainerTop(t.Context(), l.running("main"), nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range top.Processes {
			if strings.Contains(strings.Join(p, " "), "sleep 986") {
				return true
			}
		}
		return false
	}
	l.poll("it runs", sleeps, nothing)
	cancel()
	if err := <-ended; err == nil {
		t.Error("no error")
	}
	l.poll("it has ended", func() bool { return !sleeps() }, nothing)
}
