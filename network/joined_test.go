package network

import (
	"testing"
	"time"

	projectv1 "github.com/openshift/api/project/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// A connection that was allowed is carried no longer than its projects' networks allow it.
func TestOpenConnectionsFollowTheirProjects(t *testing.T) {
	t.Parallel()
	x := newNode(t, nil)
	x.project("shop", "10")
	x.project("bank", "10")
	a, b, c := x.pod("shop", "a"), x.pod("bank", "b"), x.pod("shop", "c")
	b.keep(t)
	c.keep(t)
	crossing := connected(t, "a", b.address.String()+":9090", a.Do)
	inside := connected(t, "a", c.address.String()+":9090", a.Do)
	number := func(netid string) {
		p, err := get[projectv1.Project](t.Context(), x.client, client.ObjectKey{Name: "bank"})
		if err != nil {
			t.Fatal(err)
		}
		p.Annotations["slipway.dev/netid"] = netid
		if err := x.client.Update(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		number("11")
		eventually(t, "no new connection", isRefused(func() (string, error) { return a.ask("tcp", b.at()) }))
		if _, err := crossing.Write([]byte("?")); err != nil {
			t.Fatal(err)
		}
		if err := crossing.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		if n, err := crossing.Read(make([]byte, 1)); err == nil {
			t.Errorf("%d bytes crossed projects by an open connection", n)
		}
		if err := talk(inside); err != nil {
			t.Errorf("a connection inside its project: %v", err)
		}
		// What was sent meanwhile arrives when the projects have joined again.
		number("10")
		eventually(t, "a new connection", tells(func() (string, error) { return a.ask("tcp", b.at()) }, "b"))
		if err := crossing.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if _, err := crossing.Read(make([]byte, 1)); err != nil {
			t.Errorf("the connection did not go on: %v", err)
		}
	}
}
