package network

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/network/networktest"
)

func TestLinks(t *testing.T) {
	t.Parallel()
	x := newNode(t, nil)
	x.project("shop", "10")
	db := x.pod("shop", "db")
	o := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", Annotations: map[string]string{api.LinksAnnotation: "3306=db:t, late"}},
		Spec: corev1.PodSpec{NodeName: "host-a", Containers: []corev1.Container{{Name: "c", Image: "busybox"}}}}
	x.create(o)
	web := x.pod("shop", "web")
	to := func(network, at string) func() (string, error) {
		return func() (string, error) { return web.ask(network, at) }
	}
	eventually(t, "before the service is there", isRefused(to("tcp", "127.0.0.1:3306")))
	x.service("shop", "db", 1, db)
	eventually(t, "a port of its own", tells(to("tcp", "127.0.0.1:3306"), "db"))
	x.service("shop", "late", 2, db)
	eventually(t, "all ports: TCP", tells(to("tcp", "127.0.0.1:80"), "db"))
	eventually(t, "all ports: UDP", tells(to("udp", "127.0.0.1:80"), "db"))
	eventually(t, "what listens in the pod itself", tells(to("tcp", "127.0.0.1:8080"), "web"))
	x.change("db", func(s *corev1.Service) { s.Spec.Ports[0].Port = 81 })
	eventually(t, "the service's new port", tells(to("tcp", "127.0.0.1:3306"), "db"))
	if err := x.client.Delete(t.Context(), &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "late"}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "after the service is gone", isRefused(to("tcp", "127.0.0.1:80")))

	// A new sandbox gets the links before anything runs in it, a new process keeps them.
	fresh := networktest.New(t)
	if _, err := x.driver.Attach(t.Context(), web.name, fresh.PID); err != nil {
		t.Fatal(err)
	}
	web.Namespace = fresh
	eventually(t, "from the new sandbox", tells(to("tcp", "127.0.0.1:3306"), "db"))
	options := x.driver.Options
	x.stop()
	if got, err := web.ask("tcp", "127.0.0.1:3306"); err != nil || got != "db" {
		t.Errorf("while no process runs: %q %v", got, err)
	}
	x.start(options)
	eventually(t, "after a restart", tells(to("tcp", "127.0.0.1:3306"), "db"))
	if err := x.client.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
		t.Fatal(err)
	}
	delete(o.Annotations, api.LinksAnnotation)
	if err := x.client.Update(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	eventually(t, "without the annotation", isRefused(to("tcp", "127.0.0.1:3306")))
}

func TestLinksDoNotLeadToOtherProjects(t *testing.T) {
	t.Parallel()
	x := newNode(t, nil)
	x.project("shop", "10")
	x.project("bank", "11")
	vault := x.pod("bank", "vault")
	x.service("bank", "vault", 9, vault)
	x.create(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", Annotations: map[string]string{api.LinksAnnotation: "vault.bank"}},
		Spec: corev1.PodSpec{NodeName: "host-a", Containers: []corev1.Container{{Name: "c", Image: "busybox"}}}})
	web := x.pod("shop", "web")
	eventually(t, "the link is made", func() error {
		x.driver.mu.Lock()
		defer x.driver.mu.Unlock()
		if x.driver.wishes.have[web.name] == "" {
			return errNotUp
		}
		return nil
	})
	if got, err := web.ask("tcp", "127.0.0.1:80"); err == nil {
		t.Errorf("a link reached another project: %q", got)
	}
}
