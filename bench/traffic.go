package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// trafficFigures are seconds for sent, between two pods.
type trafficFigures struct {
	Ours, Bridge         float64 // on one host
	OursAcross, HandMade float64 // between two
	Ready                float64 // from readiness to the first request by another host
	Repair               float64 // from a flush of all rules to the next request
}

// sent is how much the figures are for, in bits.
const sent = 80e9

// traffic measures what pods' packets cost, and how soon a service leads to a new pod.
func traffic(ctx context.Context, e *Env) error {
	if err := needs("ip", "bridge", "nsenter", "iptables", "nft", "iperf3"); err != nil {
		return err
	}
	seconds, rounds := e.size(2, 1), e.size(3*e.Runs, 1)
	var f trafficFigures
	if err := runApart(ctx, &f, "traffic", strconv.Itoa(seconds), strconv.Itoa(rounds)); err != nil {
		return err
	}
	same := "one TCP connection of iperf3 from pod to pod, which ended without an error"
	rate := func(s float64) string { return fmt.Sprintf("%.1f", sent/s/1e9) }
	e.add(e.target(Line{What: "pod to pod on one host, 10 GB", Ours: secs(f.Ours), PeerName: "two namespaces at a bridge", Peer: secs(f.Bridge), Same: same,
		Note: fmt.Sprintf("%s and %s Gbit/s, by turns. At least 0.95 × is wanted.", rate(f.Ours), rate(f.Bridge))}, 0.95))
	e.add(e.target(Line{What: "pod to pod across hosts, 10 GB", Ours: secs(f.OursAcross), PeerName: "a hand-made VXLAN", Peer: secs(f.HandMade), Same: same,
		Note: fmt.Sprintf("%s and %s Gbit/s, by turns. Hosts are network namespaces at a bridge. At least 0.9 × is wanted.", rate(f.OursAcross), rate(f.HandMade))}, 0.9))
	ready := Line{What: "a pod's readiness to its first request by another host", Ours: secs(f.Ready),
		Same: "the service's address refused before and answered after",
		Note: "From the host's write of the pod's status, by the API that nodes joined by, to the first answer at the service's address in a pod of another host: mutual TLS, live state, endpoints, rules and packets."}
	back := Line{What: "rules back after a flush of all by somebody else", Ours: secs(f.Repair),
		Same: "the service's address answered before and after", Note: "From before `nft flush ruleset` to the next answer."}
	if !e.Short {
		ready.AtMost, back.AtMost = secs(0.1), secs(1)
	}
	e.add(ready)
	e.add(back)
	return nil
}

// trafficChild is the underlay: its namespace holds the bridge that hosts are plugged to.
func trafficChild(ctx context.Context, args []string) (any, error) {
	if len(args) != 2 {
		return nil, errors.New("traffic: want SECONDS ROUNDS")
	}
	rounds, err := strconv.Atoi(args[1])
	if err != nil {
		return nil, err
	}
	u := &underlay{ctx: ctx, seconds: args[0]}
	defer u.close()
	var out trafficFigures
	if err := u.commands("ip link set lo up", "ip link add under type bridge", "ip addr add 192.0.2.254/24 dev under", "ip link set under up"); err != nil {
		return nil, err
	}
	live, err := openLive(ctx)
	if err != nil {
		return nil, err
	}
	defer live.close()
	pods, err := u.ours(live)
	if err != nil {
		return nil, err
	}
	plain, err := u.plain()
	if err != nil {
		return nil, err
	}
	byHand, err := u.handMade()
	if err != nil {
		return nil, err
	}
	ways := []*way{{pods.a, pods.same, &out.Ours, nil}, {plain[0], plain[1], &out.Bridge, nil}, {pods.a, pods.far, &out.OursAcross, nil}, {byHand[0], byHand[1], &out.HandMade, nil}}
	for range rounds {
		// Others' work on the machine is spread over all ways.
		rand.Shuffle(len(ways), func(i, j int) { ways[i], ways[j] = ways[j], ways[i] })
		for _, w := range ways {
			rate, err := u.iperf(w.from, w.to)
			if err != nil {
				return nil, err
			}
			w.took = append(w.took, sent/rate)
		}
	}
	for _, w := range ways {
		*w.figure = median(w.took)
	}
	if out.Ready, err = readiness(pods, 2*rounds); err != nil {
		return nil, fmt.Errorf("readiness: %w", err)
	}
	out.Repair, err = repair(ctx, pods, rounds)
	return out, err
}

// way is from one namespace to another.
type way struct {
	from, to *space
	figure   *float64
	took     []float64
}

// space is a network namespace that a process holds.
type space struct {
	pid     int
	address string
}

// underlay makes namespaces and connects them. Everything in it ends with it.
type underlay struct {
	ctx     context.Context
	seconds string
	number  int
	closers []func()
}

func (u *underlay) close() {
	for i := len(u.closers) - 1; i >= 0; i-- {
		u.closers[i]()
	}
}

func (u *underlay) commands(lines ...string) error {
	for _, line := range lines {
		if err := command(u.ctx, line); err != nil {
			return err
		}
	}
	return nil
}

// in runs commands inside a namespace.
func (u *underlay) in(s *space, lines ...string) error {
	for _, line := range lines {
		if err := command(u.ctx, fmt.Sprintf("nsenter --net=/proc/%d/ns/net %s", s.pid, line)); err != nil {
			return err
		}
	}
	return nil
}

// space makes a namespace that does nothing.
func (u *underlay) space(address string) (*space, error) {
	cmd := exec.Command("sleep", "infinity")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	u.closers = append(u.closers, func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	s := &space{pid: cmd.Process.Pid, address: address}
	return s, u.in(s, "ip link set lo up")
}

// plug connects a host to the underlay.
func (u *underlay) plug(s *space, address string) error {
	u.number++
	name := fmt.Sprintf("u%d", u.number)
	if err := u.commands(fmt.Sprintf("ip link add %s type veth peer name wire netns %d", name, s.pid), "ip link set "+name+" master under up"); err != nil {
		return err
	}
	return u.in(s, "ip addr add "+address+"/24 dev wire", "ip link set wire up")
}

// plain is two namespaces at a bridge of a third.
func (u *underlay) plain() (pair [2]*space, err error) {
	host, err := u.space("")
	if err != nil {
		return pair, err
	}
	if err := u.in(host, "ip link add plain type bridge", "ip link set plain up"); err != nil {
		return pair, err
	}
	for i := range pair {
		if pair[i], err = u.space(fmt.Sprintf("10.9.0.%d", i+1)); err != nil {
			return pair, err
		}
		name := fmt.Sprintf("p%d", i)
		if err := errors.Join(u.in(host, fmt.Sprintf("ip link add %s type veth peer name eth0 netns %d", name, pair[i].pid), "ip link set "+name+" master plain up"),
			u.in(pair[i], "ip addr add "+pair[i].address+"/24 dev eth0", "ip link set eth0 up")); err != nil {
			return pair, err
		}
	}
	return pair, nil
}

// handMade is a namespace on each of two hosts that route between them through a VXLAN
// with static entries, and nothing else.
func (u *underlay) handMade() (pair [2]*space, err error) {
	for i := range pair {
		own, other := i+1, 2-i
		host, err := u.space("")
		if err != nil {
			return pair, err
		}
		if err := u.plug(host, fmt.Sprintf("192.0.2.%d", 10+own)); err != nil {
			return pair, err
		}
		if pair[i], err = u.space(fmt.Sprintf("10.8.%d.2", own)); err != nil {
			return pair, err
		}
		mac := func(n int) string { return fmt.Sprintf("0a:00:00:00:00:%02x", n) }
		if err := u.in(host, "sysctl -q -w net.ipv4.ip_forward=1",
			fmt.Sprintf("ip link add pod type veth peer name eth0 netns %d", pair[i].pid), fmt.Sprintf("ip addr add 10.8.%d.1/24 dev pod", own), "ip link set pod mtu 1450 up",
			fmt.Sprintf("ip link add vx type vxlan id 8 dstport 4790 nolearning local 192.0.2.%d", 10+own), "ip link set vx address "+mac(own)+" mtu 1450 up",
			fmt.Sprintf("bridge fdb append %s dev vx dst 192.0.2.%d self permanent", mac(other), 10+other),
			fmt.Sprintf("ip neigh add 10.8.%d.1 lladdr %s dev vx nud permanent", other, mac(other)),
			fmt.Sprintf("ip route add 10.8.%d.0/24 via 10.8.%[1]d.1 dev vx onlink", other)); err != nil {
			return pair, err
		}
		if err := u.in(pair[i], "ip addr add "+pair[i].address+"/24 dev eth0", "ip link set eth0 mtu 1450 up", fmt.Sprintf("ip route add default via 10.8.%d.1", own)); err != nil {
			return pair, err
		}
	}
	return pair, nil
}

// iperf is the bits a second of one connection.
func (u *underlay) iperf(from, to *space) (float64, error) {
	server := exec.CommandContext(u.ctx, "nsenter", fmt.Sprintf("--net=/proc/%d/ns/net", to.pid), "nice", "-n", "-20", "iperf3", "-s", "-1", "--forceflush")
	server.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := server.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := server.Start(); err != nil {
		return 0, err
	}
	defer func() { _ = server.Process.Kill(); _ = server.Wait() }()
	// It listens when it says so.
	said := make([]byte, 4096)
	for text := ""; !strings.Contains(text, "listening"); {
		k, err := out.Read(said)
		if err != nil {
			return 0, fmt.Errorf("iperf3 -s: %w: %s", err, text)
		}
		text += string(said[:k])
	}
	raw, err := exec.CommandContext(u.ctx, "nsenter", fmt.Sprintf("--net=/proc/%d/ns/net", from.pid), "nice", "-n", "-20", "iperf3", "-c", to.address, "-t", u.seconds, "-O", "1", "-J").Output()
	var answer struct {
		Error string `json:"error"`
		End   struct {
			Received struct {
				BitsPerSecond float64 `json:"bits_per_second"`
			} `json:"sum_received"`
		} `json:"end"`
	}
	if jsonErr := json.Unmarshal(raw, &answer); err != nil || jsonErr != nil || answer.Error != "" || answer.End.Received.BitsPerSecond <= 0 {
		return 0, fmt.Errorf("iperf3 to %s: %w %s", to.address, errors.Join(err, jsonErr), answer.Error)
	}
	return answer.End.Received.BitsPerSecond, nil
}

// ourPods are two pods of one host and one of another.
type ourPods struct {
	hosts        [2]*hostProcess
	a, same, far *space
}

// ours is two hosts with Slipway's network.
func (u *underlay) ours(live *liveState) (p ourPods, err error) {
	for i, name := range []string{"h1", "h2"} {
		if p.hosts[i], err = u.host(name, live); err != nil {
			return p, err
		}
		if err := u.plug(&p.hosts[i].space, fmt.Sprintf("192.0.2.%d", i+1)); err != nil {
			return p, err
		}
		if err := p.hosts[i].begin(); err != nil {
			return p, err
		}
	}
	for _, to := range []struct {
		host *hostProcess
		name string
		at   **space
	}{{p.hosts[0], "a", &p.a}, {p.hosts[0], "same", &p.same}, {p.hosts[1], "far", &p.far}} {
		s, err := u.space("")
		if err != nil {
			return p, err
		}
		if s.address, err = to.host.attach(to.name, s.pid); err != nil {
			return p, err
		}
		*to.at = s
		if err := live.record(u.ctx, to.name, to.host.name, s.address); err != nil {
			return p, fmt.Errorf("pod %s: %w", to.name, err)
		}
	}
	return p, nil
}
