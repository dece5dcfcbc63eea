package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slipway.dev/slipway/network/chains"
	"slipway.dev/slipway/network/rules"
)

// needs says which programs are missing.
func needs(programs ...string) error {
	var missing []string
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			missing = append(missing, p)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("not installed: %s", strings.Join(missing, ", "))
	}
	return nil
}

// runApart runs a child of this program in a network namespace of its own, so that the
// machine's rules and links stay untouched, and decodes its answer.
func runApart(ctx context.Context, answer any, args ...string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	var out, errs strings.Builder
	cmd := exec.CommandContext(ctx, self, append([]string{"child"}, args...)...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("child %s: %w: %s", args[0], err, last(errs.String()))
	}
	return json.Unmarshal([]byte(out.String()), answer)
}

// serviceFigures is what a child tells of one way to make service rules, in seconds.
type serviceFigures struct {
	// Sync makes the rules of all services where there were none, Change another endpoint of one.
	Sync, Change float64
	// First and Last are connects to the first and to the last service.
	First, Last float64
}

// serviceRules measures how long rules take to write, and connections to open.
func serviceRules(ctx context.Context, e *Env) error {
	if err := needs("ip", "iptables-nft", "iptables-nft-restore", "iptables-legacy-restore"); err != nil {
		return err
	}
	n := e.size(10000, 100)
	measure := func(way string, services int) (serviceFigures, error) {
		var out serviceFigures
		fmt.Fprintf(e.Progress, "  %s services by %s …\n", thousands(services), way)
		return out, runApart(ctx, &out, "services", way, strconv.Itoa(services), strconv.Itoa(e.runs(e.Runs)))
	}
	var all [5]serviceFigures
	for i, c := range []struct {
		way string
		n   int
	}{{"maps", n}, {"maps", 10}, {"iptables-nft", n}, {"iptables-legacy", n}, {"fallback", n}} {
		var err error
		if all[i], err = measure(c.way, c.n); err != nil {
			return err
		}
	}
	maps, few, nft, legacy, fallback := all[0], all[1], all[2], all[3], all[4]
	of := fmt.Sprintf("service rules, %s × 2 endpoints: ", thousands(n))
	same := "from each of 20 services both of its endpoints were reached, and no other"
	const perService = "a chain per service, iptables-nft"
	e.add(e.target(Line{What: of + "all", Ours: secs(maps.Sync), PeerName: perService, Peer: secs(nft.Sync), Same: same,
		Note: fmt.Sprintf("As kube-proxy's iptables mode writes them, with one iptables-restore. The same with iptables-legacy: %s.", secs(legacy.Sync))}, 100))
	e.add(e.target(Line{What: of + "one change", Ours: secs(maps.Change), PeerName: perService, Peer: secs(nft.Change), Same: same,
		Note: fmt.Sprintf("One endpoint is another one. The same with iptables-legacy: %s.", secs(legacy.Change))}, 20))
	e.add(e.target(Line{What: of + "one change, against 10 services", Ours: secs(maps.Change), PeerName: "Slipway, 10 services", Peer: secs(few.Change), Same: same,
		Note: "Costs the same means: within a quarter."}, 0.8))
	e.add(e.target(Line{What: of + "connect to the last", Ours: secs(maps.Last), PeerName: "Slipway, the first", Peer: secs(maps.First), Same: same,
		Note: "By turns, on the loopback link. At most 1.1 × is wanted."}, 1/1.1))
	e.add(Line{What: of + "connect to the last", Ours: secs(maps.Last), PeerName: perService, Peer: secs(nft.Last), Same: same,
		Note: fmt.Sprintf("The first service there: %s.", secs(nft.First))})
	const plain = "a chain per service, iptables-legacy"
	e.add(Line{What: of + "one change without nftables", Ours: secs(fallback.Change), PeerName: plain, Peer: secs(legacy.Change), Same: same,
		Note: fmt.Sprintf("What a node does whose kernel has none. All: %s, peer %s; connect to the last: %s, peer %s.", secs(fallback.Sync), secs(legacy.Sync), secs(fallback.Last), secs(legacy.Last))})
	return nil
}

// target is the line with its target, in a run whose figures mean something.
func (e *Env) target(l Line, times float64) Line {
	if !e.Short {
		l.Times = times
	}
	return l
}

// servicesChild measures one way in the namespace that this process is alone in.
func servicesChild(ctx context.Context, args []string) (any, error) {
	if len(args) != 3 {
		return nil, errors.New("services: want WAY N RUNS")
	}
	n, err1 := strconv.Atoi(args[1])
	runs, err2 := strconv.Atoi(args[2])
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	// Whoever is asked at an endpoint's address answers here.
	for _, line := range []string{"ip link set lo up", "ip addr add 10.130.0.1/32 dev lo", "ip route add local 10.128.0.0/14 dev lo", "ip route add 172.30.0.0/16 dev lo src 10.130.0.1"} {
		if err := command(ctx, line); err != nil {
			return nil, err
		}
	}
	frame := rules.Frame{Table: "bench", Links: "bench-", Cluster: netip.MustParsePrefix("10.128.0.0/14"),
		Subnet: netip.MustParsePrefix("10.131.254.0/23"), Service: netip.MustParsePrefix("172.30.0.0/16"), Gateway: netip.MustParseAddr("10.131.255.1")}
	switch args[0] {
	case "maps":
		return measureServices(&byRules{filter: rules.NewKernel(frame), table: rules.NewTable()}, n, runs)
	case "fallback":
		return measureServices(&byRules{filter: chains.NewFilter(frame, "iptables-legacy"), table: rules.NewTable()}, n, runs)
	}
	// It takes half a minute, and has little noise.
	return measureServices(&byChainPerService{program: args[0], ctx: ctx}, n, 1)
}

// serviceWay is a way to make service rules.
type serviceWay interface {
	// All makes the rules of n services where there are none.
	All(n int) error
	// None takes all of them away.
	None() error
	// Change makes one endpoint of service i another one.
	Change(i, turn int) error
}

func measureServices(w serviceWay, n, runs int) (out serviceFigures, err error) {
	var syncs, changes []float64
	for range runs {
		if err := w.None(); err != nil {
			return out, err
		}
		took, err := timed(func() error { return w.All(n) })
		if err != nil {
			return out, err
		}
		syncs = append(syncs, took)
	}
	endpoint, err := answerEverywhere()
	if err != nil {
		return out, err
	}
	for i := range min(n, 20) {
		if err := isRight(i*n/min(n, 20), endpoint); err != nil {
			return out, err
		}
	}
	// What takes long is told apart well by few, what is short needs many.
	enough := time.Now().Add(time.Second)
	for turn := 0; turn < 3*max(runs, 2) || turn < 1000 && time.Now().Before(enough); turn++ {
		took, err := timed(func() error { return w.Change(n/2, turn+1) })
		if err != nil {
			return out, err
		}
		changes = append(changes, took)
	}
	out.Sync, out.Change = median(syncs), median(changes)
	out.First, out.Last, err = connects(serviceAt(0), serviceAt(n-1), 1000*runs)
	return out, err
}

func timed(f func() error) (float64, error) {
	began := time.Now()
	err := f()
	return time.Since(began).Seconds(), err
}

// Service i and its two endpoints, of which turn changes the first.
func serviceAt(i int) string { return fmt.Sprintf("172.30.%d.%d", i/250, i%250+1) }
func endpointsAt(i, turn int) [2]string {
	return [2]string{fmt.Sprintf("10.128.%d.%d", i/250, (i+turn)%250+1), fmt.Sprintf("10.129.%d.%d", i/250, i%250+1)}
}

// byRules is Slipway's own way: nftables' maps, or iptables where there are none.
type byRules struct {
	filter interface {
		Sync(*rules.Table) (bool, error)
		Remove() error
	}
	table *rules.Table
}

func (b *byRules) put(i, turn int) {
	s := corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: strconv.Itoa(i)}, Spec: corev1.ServiceSpec{ClusterIP: serviceAt(i), Ports: []corev1.ServicePort{{Port: 80}}}}
	at := endpointsAt(i, turn)
	b.table.Put(s.Name, rules.OfService("host-a", &s, &corev1.Endpoints{Subsets: []corev1.EndpointSubset{{
		Addresses: []corev1.EndpointAddress{{IP: at[0]}, {IP: at[1]}}, Ports: []corev1.EndpointPort{{Port: 8080}}}}}))
}

func (b *byRules) All(n int) error {
	for i := range n {
		b.put(i, 0)
	}
	_, err := b.filter.Sync(b.table)
	return err
}

func (b *byRules) None() error { return b.filter.Remove() }

func (b *byRules) Change(i, turn int) error {
	b.put(i, turn)
	_, err := b.filter.Sync(b.table)
	return err
}

// byChainPerService writes what kube-proxy's iptables mode writes: a chain for each service
// and one for each endpoint.
type byChainPerService struct {
	ctx     context.Context
	program string
}

func (b *byChainPerService) restore(text string) error {
	cmd := exec.CommandContext(b.ctx, b.program+"-restore", "--noflush")
	cmd.Stdin = strings.NewReader("*nat\n" + text + "COMMIT\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s-restore: %w: %s", b.program, err, last(string(out)))
	}
	return nil
}

func (b *byChainPerService) All(n int) error {
	var all strings.Builder
	all.WriteString(":SERVICES - [0:0]\n-A PREROUTING -j SERVICES\n-A OUTPUT -j SERVICES\n")
	for i := range n {
		chainsOf(&all, i, 0)
	}
	for i := range n {
		fmt.Fprintf(&all, "-A SERVICES -d %s/32 -p tcp -m tcp --dport 80 -j SVC-%d\n", serviceAt(i), i)
	}
	return b.restore(all.String())
}

func (b *byChainPerService) None() error {
	if err := command(b.ctx, b.program+" -t nat -F"); err != nil {
		return err
	}
	return command(b.ctx, b.program+" -t nat -X")
}

func (b *byChainPerService) Change(i, turn int) error {
	var one strings.Builder
	chainsOf(&one, i, turn)
	return b.restore(one.String())
}

func chainsOf(to *strings.Builder, i, turn int) {
	fmt.Fprintf(to, ":SVC-%d - [0:0]\n:SEP-%[1]d-0 - [0:0]\n:SEP-%[1]d-1 - [0:0]\n", i)
	fmt.Fprintf(to, "-A SVC-%d -m statistic --mode random --probability 0.5 -j SEP-%[1]d-0\n-A SVC-%[1]d -j SEP-%[1]d-1\n", i)
	for k, at := range endpointsAt(i, turn) {
		fmt.Fprintf(to, "-A SEP-%d-%d -p tcp -m tcp -j DNAT --to-destination %s:8080\n", i, k, at)
	}
}

// answerEverywhere listens at every endpoint. What it returns connects to a service and says
// which endpoint took it.
func answerEverywhere() (func(address string) (string, error), error) {
	listener, err := net.Listen("tcp4", ":8080")
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte(c.LocalAddr().(*net.TCPAddr).IP.String()))
			c.Close()
		}
	}()
	return func(address string) (string, error) {
		c, err := net.DialTimeout("tcp4", net.JoinHostPort(address, "80"), 10*time.Second)
		if err != nil {
			return "", err
		}
		defer c.Close()
		b := make([]byte, 64)
		k, err := c.Read(b)
		return string(b[:k]), err
	}, nil
}

// isRight says whether a service leads to its two endpoints and nowhere else.
func isRight(i int, ask func(string) (string, error)) error {
	want, seen := endpointsAt(i, 0), map[string]bool{}
	for tries := 0; len(seen) < 2 && tries < 200; tries++ {
		got, err := ask(serviceAt(i))
		if err != nil {
			return fmt.Errorf("service %d: %w", i, err)
		}
		if !slices.Contains(want[:], got) {
			return fmt.Errorf("service %d led to %s, its endpoints are %v", i, got, want)
		}
		seen[got] = true
	}
	if len(seen) < 2 {
		return fmt.Errorf("service %d led only to %v", i, seen)
	}
	return nil
}

// connects are the medians of connects to two services, by turns.
func connects(first, last string, times int) (float64, float64, error) {
	var took [2][]float64
	for turn := range times {
		for step := range 2 {
			// Who comes first has it otherwise than who comes second.
			k := (turn + step) % 2
			address := [2]string{first, last}[k]
			var c net.Conn
			t, err := timed(func() (err error) {
				c, err = net.DialTimeout("tcp4", net.JoinHostPort(address, "80"), 10*time.Second)
				return err
			})
			if err != nil {
				return 0, 0, err
			}
			// A reset leaves no port waiting for its time to pass.
			_ = c.(*net.TCPConn).SetLinger(0)
			c.Close()
			took[k] = append(took[k], t)
		}
	}
	return median(took[0]), median(took[1]), nil
}

func command(ctx context.Context, line string) error {
	words := strings.Fields(line)
	if out, err := exec.CommandContext(ctx, words[0], words[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", line, err, last(string(out)))
	}
	return nil
}
