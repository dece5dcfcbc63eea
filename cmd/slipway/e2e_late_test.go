package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	goruntime "runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netns"
	corev1 "k8s.io/api/core/v1"

	"slipway.dev/slipway/api"
)

// dial connects from the guest.
func (g *guest) dial(_ context.Context, network, address string) (c net.Conn, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		// The thread is never unlocked: it ends with the goroutine. A socket stays where it was made.
		goruntime.LockOSThread()
		var there netns.NsHandle
		if there, err = netns.GetFromName(g.name); err != nil {
			return
		}
		defer there.Close()
		if err = netns.Set(there); err == nil {
			c, err = net.DialTimeout(network, address, time.Minute)
		}
	}()
	<-done
	return c, err
}

// asking is a pod that other nodes are asked about, whether something there leads to it.
func (u *upped) asking() error {
	code, body, err := fetch(u.t, u.api+"/api/v1/namespaces/shop/pods", "")
	var pods corev1.PodList
	if err == nil && code == http.StatusOK {
		err = json.Unmarshal([]byte(body), &pods)
	}
	for _, p := range pods.Items {
		for _, c := range p.Status.Conditions {
			if c.Type == api.HandOver && c.Status == corev1.ConditionFalse {
				return nil
			}
		}
	}
	return errors.Join(err, fmt.Errorf("status %d: none of %d pods", code, len(pods.Items)))
}

// TestLateRulesDropNothing rolls out while another node stands still: its rules go on leading to pods
// that are to go, for longer than those have after everybody has let go of them.
func TestLateRulesDropNothing(t *testing.T) {
	var g *guest
	u, next, rolledOut := newRolled(t, "", func(u *upped) map[string]string {
		g = newGuest(t, u.dir)
		u.args = append(u.args, "--node-listen", g.ours+":7082")
		return map[string]string{"cluster/second.yaml": "apiVersion: slipway.dev/v1alpha1\nkind: NodeConfig\nmetadata: { name: second }\nspec: { unschedulable: true }\n"}
	})
	token := u.runs("node", "token", "--data-dir", u.dataDir, "--ttl", "10m")
	if token.code != 0 {
		t.Fatalf("slipway node token: %s", token)
	}
	defer g.leaves()
	g.start("join", "--server", "https://"+g.ours+":7082", "--token", strings.TrimSpace(token.out), "--node", "second", "--name", g.name, "--address", g.address)
	u.says("get nodes second -o jsonpath={.status.conditions[*].type}", api.HandOver)
	far := u.byService("/")
	far.client.Transport = &http.Transport{DisableKeepAlives: true, DialContext: g.dial}
	eventually(t, "the service answers on the other node", far.ask)
	all := []*traffic{u.byService("/"), far, u.byRouter("/")}
	stop := flow(all...)
	signal := func(s syscall.Signal) {
		t.Helper()
		if err := g.slipway.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
	defer func() { _ = g.slipway.Process.Signal(syscall.SIGCONT) }() // However the test ends, it can be stopped.
	for version := 2; version <= 3; version++ {
		signal(syscall.SIGSTOP)
		next(version)
		eventually(t, "the other node is asked", u.asking)
		time.Sleep(3 * time.Second) // Longer than a pod goes on after it was handed over.
		signal(syscall.SIGCONT)
		rolledOut(version)
		outlast(t, all)
	}
	stop()
	for _, f := range all {
		f.lostNothing(t)
	}
}
