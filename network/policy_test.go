package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	miekg "github.com/miekg/dns"
	networkv1 "github.com/openshift/api/network/v1"
	projectv1 "github.com/openshift/api/project/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"slipway.dev/slipway/api"
)

// declare makes the object of a pod, as the runtime finds it before it attaches the pod.
func (x *node) declare(project, name, app string) {
	x.t.Helper()
	x.create(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: project, Name: name, Labels: map[string]string{"app": app}},
		Spec: corev1.PodSpec{NodeName: "host-a", Containers: []corev1.Container{{Name: "c", Image: "busybox", Ports: []corev1.ContainerPort{{Name: "tell", ContainerPort: 8080}}}}}})
}

func (x *node) policy(name, spec string) *networkingv1.NetworkPolicy {
	x.t.Helper()
	p := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}}
	if err := yaml.UnmarshalStrict([]byte(spec), &p.Spec); err != nil {
		x.t.Fatal(err)
	}
	x.create(p)
	return p
}

// isRefused says that nothing comes back.
func isRefused(f func() (string, error)) func() error {
	return func() error {
		if got, err := f(); err == nil {
			return fmt.Errorf("reached: %q", got)
		}
		return nil
	}
}

func TestNetworkPolicies(t *testing.T) {
	t.Parallel()
	x := newNode(t, nil)
	x.project("shop", "10")
	x.create(&projectv1.Project{ObjectMeta: metav1.ObjectMeta{Name: "bank", Labels: map[string]string{"tier": "back"}, Annotations: map[string]string{api.NetIDAnnotation: "10"}}})
	for _, p := range [][3]string{{"shop", "web", "web"}, {"shop", "db", "db"}, {"shop", "probe", "probe"}, {"bank", "teller", "teller"}} {
		x.declare(p[0], p[1], p[2])
	}
	web, db, probe, teller := x.pod("shop", "web"), x.pod("shop", "db"), x.pod("shop", "probe"), x.pod("bank", "teller")
	service := x.service("shop", "db", 1, db)
	to := func(from pod, network, at string) func() (string, error) {
		return func() (string, error) { return from.ask(network, at) }
	}
	eventually(t, "without policies", tells(to(web, "tcp", service), "db"))

	denied := x.policy("deny", `{podSelector: {matchLabels: {app: db}}}`)
	for _, network := range []string{"tcp", "udp"} {
		eventually(t, "nothing gets in over "+network, isRefused(to(web, network, service)))
		eventually(t, "a pod reaches itself over "+network, tells(to(db, network, service), "db"))
		eventually(t, "others are as before over "+network, tells(to(db, network, web.at()), "web"))
		eventually(t, "the node looks after its pods over "+network, tells(func() (string, error) { return ask(network, db.at()) }, "db"))
	}

	x.policy("allow", `{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: tell}]}]}`)
	eventually(t, "what any policy allows", tells(to(web, "tcp", service), "db"))
	for what, f := range map[string]func() (string, error){"another pod": to(probe, "tcp", service), "another protocol": to(web, "udp", service), "another project": to(teller, "tcp", service)} {
		if got, err := f(); err == nil {
			t.Errorf("%s: reached %q", what, got)
		}
	}
	x.policy("bank", `{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{namespaceSelector: {matchLabels: {tier: back}}}], ports: [{port: 8000, endPort: 9000, protocol: UDP}]}]}`)
	eventually(t, "a project by its labels", tells(to(teller, "udp", service), "db"))
	eventually(t, "a range of ports is of its protocol", isRefused(to(teller, "tcp", service)))

	// A pod that comes later is restricted from its first packet on.
	x.policy("new", `{podSelector: {matchLabels: {app: new}}, policyTypes: [Ingress, Egress], egress: [{to: [{ipBlock: {cidr: `+db.address.String()+`/32}}, {ipBlock: {cidr: 0.0.0.0/0, except: [10.0.0.0/8]}}]}]}`)
	x.policy("db", `{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchLabels: {app: new}}}]}]}`)
	eventually(t, "policies are known", func() error {
		x.driver.mu.Lock()
		defer x.driver.mu.Unlock()
		if n := len(x.driver.police.policies["shop"]); n != 5 {
			return fmt.Errorf("%d policies", n)
		}
		return nil
	})
	x.declare("shop", "late", "new")
	late := x.pod("shop", "late")
	if got, err := web.ask("tcp", late.at()); err == nil {
		t.Errorf("a new pod was reached: %q", got)
	}
	if got, err := late.ask("tcp", web.at()); err == nil {
		t.Errorf("a new pod reached %q", got)
	}
	eventually(t, "a new pod's block", tells(to(late, "tcp", db.at()), "db"))

	// A label that changes changes what is allowed.
	o, err := get[corev1.Pod](t.Context(), x.client, client.ObjectKey{Namespace: "shop", Name: "probe"})
	if err != nil {
		t.Fatal(err)
	}
	o.Labels["app"] = "web"
	if err := x.client.Update(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	eventually(t, "after a change of label", tells(to(probe, "tcp", service), "db"))
	if err := x.client.Delete(t.Context(), denied); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"allow", "bank", "db"} {
		if err := x.client.Delete(t.Context(), &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "without policies for it", tells(to(teller, "tcp", service), "db"))
}

func TestPolicyWords(t *testing.T) {
	t.Parallel()
	x := newNode(t, nil)
	x.project("shop", "10")
	x.create(&projectv1.Project{ObjectMeta: metav1.ObjectMeta{Name: "bank", Labels: map[string]string{"tier": "back"}, Annotations: map[string]string{api.NetIDAnnotation: "10"}}})
	for _, p := range [][2]string{{"shop", "web"}, {"shop", "db"}, {"shop", "lone"}, {"bank", "teller"}, {"bank", "clerk"}, {"shop", "twin"}} {
		x.declare(p[0], p[1], strings.Replace(p[1], "twin", "teller", 1))
	}
	web, db, lone := x.pod("shop", "web"), x.pod("shop", "db"), x.pod("shop", "lone")
	teller, clerk, twin := x.pod("bank", "teller"), x.pod("bank", "clerk"), x.pod("shop", "twin")
	passes := func(network string, from, to pod) {
		t.Helper()
		eventually(t, network+" from "+from.name.Name+" to "+to.name.Name, tells(func() (string, error) { return from.ask(network, to.at()) }, to.name.Name))
	}
	stops := func(network string, from, to pod) {
		t.Helper()
		eventually(t, "no "+network+" from "+from.name.Name+" to "+to.name.Name, isRefused(func() (string, error) { return from.ask(network, to.at()) }))
	}
	// Both selectors of one peer must fit.
	x.policy("both", `{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{namespaceSelector: {matchLabels: {tier: back}}, podSelector: {matchLabels: {app: teller}}}]}]}`)
	stops("tcp", web, db)
	passes("tcp", teller, db)
	stops("tcp", clerk, db)
	stops("tcp", twin, db)
	// A block of addresses without its exceptions, at one port.
	x.policy("block", `{podSelector: {matchLabels: {app: lone}}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [`+clerk.address.String()+`/32]}}], ports: [{port: 8080}]}]}`)
	stops("tcp", clerk, lone)
	passes("tcp", teller, lone)
	stops("udp", teller, lone)
	// Rules for what goes out make the policy one of both directions; a name is that of the peer's port.
	x.policy("out", `{podSelector: {matchLabels: {app: web}}, egress: [{to: [{podSelector: {matchLabels: {app: lone}}}], ports: [{port: tell}]}, {to: [{namespaceSelector: {matchLabels: {tier: back}}}], ports: [{port: 7000, endPort: 9000, protocol: UDP}]}]}`)
	stops("tcp", web, teller)
	stops("tcp", teller, web)
	passes("tcp", web, lone)
	passes("udp", web, teller)
	passes("udp", web, clerk)
}

func TestEgressFirewall(t *testing.T) {
	t.Parallel()
	var names atomic.Pointer[string]
	x := newNode(t, func(o *Options) {
		n := o.ServiceNetwork.Addr().As4()[1]
		at := fmt.Sprintf("127.53.0.%d", n)
		if err := os.WriteFile(o.ResolvConf, []byte("nameserver "+at+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		resolver(t, at+":53", &names)
	})
	n := x.driver.ServiceNetwork.Addr().As4()[1]
	first, second := fmt.Sprintf("192.168.%d.2", n), fmt.Sprintf("192.168.%d.3", n)
	names.Store(&first)
	x.project("shop", "10")
	x.project("bank", "11")
	a, b, free := x.pod("shop", "a"), x.pod("shop", "b"), x.pod("bank", "free")
	outside := x.outside(fmt.Sprintf("192.168.%d", n))
	if err := outside.Do(func() error {
		if err := addressed("out1", second+"/24"); err != nil {
			return err
		}
		return tell(t, ":8080", func(string) string { return "outside" })
	}); err != nil {
		t.Fatal(err)
	}
	to := func(from pod, at string) func() (string, error) {
		return func() (string, error) { return from.ask("tcp", at+":8080") }
	}
	eventually(t, "without a policy", tells(to(a, first), "outside"))
	policy := &networkv1.EgressNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "default"}, Spec: networkv1.EgressNetworkPolicySpec{Egress: []networkv1.EgressNetworkPolicyRule{
		{Type: networkv1.EgressNetworkPolicyRuleAllow, To: networkv1.EgressNetworkPolicyPeer{DNSName: "www.example.com"}},
		{Type: networkv1.EgressNetworkPolicyRuleDeny, To: networkv1.EgressNetworkPolicyPeer{CIDRSelector: "0.0.0.0/0"}},
	}}}
	x.create(policy)
	eventually(t, "what is denied", isRefused(to(a, second)))
	eventually(t, "a name that is allowed", tells(to(a, first), "outside"))
	eventually(t, "another project", tells(to(free, second), "outside"))
	eventually(t, "inside of the cluster", tells(to(a, b.address.String()), "b"))
	// The name stands for another address when its time is over.
	names.Store(&second)
	eventually(t, "the name's new address", tells(to(a, second), "outside"))
	eventually(t, "the name's old address", isRefused(to(a, first)))
	x.create(&networkv1.EgressNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "other"}, Spec: networkv1.EgressNetworkPolicySpec{Egress: []networkv1.EgressNetworkPolicyRule{
		{Type: networkv1.EgressNetworkPolicyRuleAllow, To: networkv1.EgressNetworkPolicyPeer{CIDRSelector: "0.0.0.0/0"}},
	}}})
	eventually(t, "two policies", isRefused(to(a, second)))
}

// resolver answers every question with the address, for one second.
func resolver(t *testing.T, at string, address *atomic.Pointer[string]) {
	t.Helper()
	conn, err := net.ListenPacket("udp4", at)
	if err != nil {
		t.Fatal(err)
	}
	server := &miekg.Server{PacketConn: conn, Handler: miekg.HandlerFunc(func(w miekg.ResponseWriter, q *miekg.Msg) {
		reply := new(miekg.Msg)
		reply.SetReply(q)
		ip := netip.MustParseAddr(*address.Load())
		reply.Answer = []miekg.RR{&miekg.A{Hdr: miekg.RR_Header{Name: q.Question[0].Name, Rrtype: miekg.TypeA, Class: miekg.ClassINET, Ttl: 1}, A: ip.AsSlice()}}
		w.WriteMsg(reply)
	})}
	started := make(chan struct{})
	server.NotifyStartedFunc = func() { close(started) }
	go server.ActivateAndServe()
	<-started
	t.Cleanup(func() {
		if err := server.Shutdown(); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
}
