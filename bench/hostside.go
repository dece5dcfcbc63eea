package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/network"
	"slipway.dev/slipway/state/loop"
	"slipway.dev/slipway/state/remote"
)

// hostChild is such a host.
func hostChild(ctx context.Context, args []string) (any, error) {
	var c hostConfig
	if err := json.Unmarshal([]byte(args[0]), &c); err != nil {
		return nil, err
	}
	in, out := json.NewDecoder(bufio.NewReader(os.Stdin)), json.NewEncoder(os.Stdout)
	var begin hostOrder
	if err := in.Decode(&begin); err != nil {
		return nil, err
	}
	live, err := c.join(ctx)
	if err != nil {
		return nil, err
	}
	d, err := network.New(network.Options{Node: c.Name, Client: live, Dir: c.Dir, Name: "bench", ResolvConf: os.DevNull, Log: quiet()})
	if err != nil {
		return nil, err
	}
	if err := d.Up(ctx); err != nil {
		return nil, err
	}
	go loop.Run(ctx, live, quiet(), d.Controllers()...)
	host := hostSide{driver: d, live: live, pids: map[string]int{}}
	for o := begin; ; {
		r, err := host.do(ctx, o)
		if err != nil {
			r.Error = err.Error()
		}
		if err := out.Encode(r); err != nil {
			return nil, err
		}
		if err := in.Decode(&o); err != nil {
			return nil, err // The run has ended.
		}
	}
}

// join joins the server as `slipway node join` does, and follows what concerns the node.
func (c hostConfig) join(ctx context.Context) (*remote.Mirror, error) {
	identity, err := remote.Join(ctx, filepath.Join(c.Dir, "identity"), remote.Settings{Name: c.Name, Servers: []string{"https://" + serverAt}}, c.Token)
	if err != nil {
		return nil, err
	}
	bare, err := remote.NewClient(remote.Dial(identity, quiet()))
	if err != nil {
		return nil, err
	}
	mirror, err := remote.NewMirror(bare, filepath.Join(c.Dir, "seen"), quiet())
	if err != nil {
		return nil, err
	}
	go mirror.Run(ctx)
	return mirror, mirror.Ready(ctx)
}

type hostSide struct {
	driver *network.Driver
	live   client.WithWatch
	pids   map[string]int
}

func (h hostSide) do(ctx context.Context, o hostOrder) (r hostReport, err error) {
	switch o.Do {
	case "attach":
		a, err := h.driver.Attach(ctx, types.NamespacedName{Namespace: shop, Name: o.Pod}, o.PID)
		h.pids[o.Pod] = o.PID
		return hostReport{Address: a.String()}, err
	case "answer":
		return r, within(h.pids[o.Pod], func() error {
			listener, err := net.Listen("tcp4", ":8080")
			if err != nil {
				return err
			}
			go func() {
				for {
					c, err := listener.Accept()
					if err != nil {
						return
					}
					_, _ = c.Write([]byte("here"))
					c.Close()
				}
			}()
			return nil
		})
	case "ready":
		at := time.Now()
		return hostReport{At: at}, h.setReady(ctx, o.Pod, corev1.ConditionTrue)
	case "unready":
		return r, h.setReady(ctx, o.Pod, corev1.ConditionFalse)
	case "ask", "refused":
		err := within(h.pids[o.Pod], func() error { return untilAnswered(o.Do == "ask") })
		return hostReport{At: time.Now()}, err
	}
	return r, nil
}

// setReady writes the status of a pod of this host, as its agent does.
func (h hostSide) setReady(ctx context.Context, name string, ready corev1.ConditionStatus) error {
	var pod corev1.Pod
	if err := h.live.Get(ctx, types.NamespacedName{Namespace: shop, Name: name}, &pod); err != nil {
		return err
	}
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: ready, LastTransitionTime: metav1.Now()}}
	return h.live.Status().Update(ctx, &pod)
}

// untilAnswered asks the service until it answers, or until it does not.
func untilAnswered(wanted bool) error {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		c, err := net.DialTimeout("tcp4", "172.30.0.9:80", 100*time.Millisecond)
		if err == nil {
			b := make([]byte, 16)
			_ = c.SetDeadline(time.Now().Add(time.Second))
			_, err = c.Read(b)
			c.Close()
		}
		if (err == nil) == wanted {
			return nil
		}
	}
	return fmt.Errorf("the service did not come to answer: %v within a minute", wanted)
}

// within runs f in the network namespace of a process. Sockets that f opens belong there.
func within(pid int, f func() error) error {
	done := make(chan error, 1)
	go func() {
		// The thread is never unlocked: it ends with the goroutine.
		runtime.LockOSThread()
		ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
		if err != nil {
			done <- err
			return
		}
		defer ns.Close()
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	return <-done
}
