package main

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netns"
	corev1 "k8s.io/api/core/v1"

	networkv1 "github.com/openshift/api/network/v1"

	"slipway.dev/slipway/network/networktest"
	node "slipway.dev/slipway/runtime"
	"slipway.dev/slipway/runtime/lab"
)

var (
	soak     = flag.Duration("soak", 0, "how long TestFaults breaks things (default: until everything was broken once)")
	soakSeed = flag.Uint64("soak-seed", 0, "what TestFaults chooses by (default: by chance)")
)

// fault breaks something on a host; mend is what a person or an init system does then.
type fault struct {
	name string
	// on are the hosts that it may happen on.
	on   []*lab.Host
	does func(h *lab.Host) error
	mend func(h *lab.Host) error
	// open says that rules are away for a moment, so that packets may cross.
	open bool
}

// TestFaults breaks what a lab of several servers is made of, two things at a time, and mends it. Whatever has
// happened, afterwards what should run runs once, no address has two owners, nothing orphaned is left, no
// ready endpoint refuses, and no packet crosses projects, nor does one meanwhile.
func TestFaults(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	eventually(t, "every node serves", f.settled)
	if err := errors.Join(f.crossing(), f.guarded()); err != nil {
		t.Fatal(err)
	}
	seed := *soakSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-soak-seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	began := time.Now()
	for round, left := 0, f.shuffled(random); len(left) > 0; round++ {
		left = f.round(round, random, left)
		if len(left) == 0 && time.Since(began) < *soak {
			left = f.shuffled(random)
		}
	}
	f.loses("node3")
}

// round breaks two of what is left, and says what is left then.
func (f *fleet) round(n int, random *rand.Rand, left []fault) []fault {
	f.t.Helper()
	now, left := slices.Clone(left[:min(2, len(left))]), left[min(2, len(left)):]
	if now[0].name == "commit" {
		slices.Reverse(now) // Who commits needs a server that answers.
	}
	var hosts []*lab.Host
	var names []string
	closed := true
	for _, x := range now {
		free := slices.DeleteFunc(slices.Clone(x.on), func(h *lab.Host) bool { return slices.Contains(hosts, h) })
		if len(free) == 0 {
			left = append(left, x)
			break // Both want the only host.
		}
		h := free[random.IntN(len(free))]
		hosts, names, closed = append(hosts, h), append(names, x.name+" on "+h.Name), closed && !x.open
	}
	now = now[:len(hosts)]
	what := fmt.Sprintf("round %d: %s", n, strings.Join(names, " and "))
	f.t.Log(what)
	began := time.Now()
	stop := func() {}
	if closed {
		stop = f.watch()
	}
	for i, x := range now {
		if err := x.does(hosts[i]); err != nil {
			f.t.Fatalf("%s: %v", what, err)
		}
	}
	time.Sleep(f.pause(random))
	for i, x := range now {
		if err := x.mend(hosts[i]); err != nil {
			f.t.Fatalf("%s: mend %s: %v", what, names[i], err)
		}
	}
	mended := time.Now()
	eventually(f.t, what+": every node serves again", f.settled)
	stop()
	if err := f.crossing(); err != nil {
		f.t.Fatalf("%s: %v", what, err)
	}
	f.t.Logf("broken for %s, whole after %s", mended.Sub(began).Round(time.Millisecond), time.Since(mended).Round(time.Millisecond))
	return left
}

// pause is for how long things stay broken: now and then longer than a leader's lease.
func (f *fleet) pause(random *rand.Rand) time.Duration {
	if *soak == 0 {
		return time.Second
	}
	if random.IntN(5) == 0 {
		return 15 * time.Second
	}
	return time.Duration(random.IntN(3000)) * time.Millisecond
}

// shuffled are all faults, in some order.
func (f *fleet) shuffled(random *rand.Rand) []fault {
	all := f.faults()
	random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

func (f *fleet) faults() []fault {
	ctx := f.t.Context()
	var every, servers, members, agents []*lab.Host
	for i := range f.Hosts {
		h := &f.Hosts[i]
		every = append(every, h)
		if h.Member {
			members = append(members, h)
		}
		if h.Server {
			servers = append(servers, h)
		} else {
			agents = append(agents, h)
		}
	}
	kill := func(p lab.Part) func(*lab.Host) error { return func(h *lab.Host) error { return h.Kill(p) } }
	return []fault{
		{name: "kill the agent", on: agents, does: kill(lab.Agent), mend: (*lab.Host).StartAgent},
		{name: "kill the server", on: servers, does: kill(lab.Server), mend: func(h *lab.Host) error { return h.StartServer(ctx) }},
		{name: "kill etcd", on: members, does: kill(lab.Etcd), mend: func(h *lab.Host) error { return h.StartEtcd(ctx) }},
		{name: "kill dockerd", on: every, does: kill(lab.Engine), mend: func(h *lab.Host) error { return h.StartEngine(ctx) }},
		{name: "cut off", on: every, does: (*lab.Host).Cut, mend: (*lab.Host).Heal},
		{name: "flush the rules", on: every, open: true, mend: func(*lab.Host) error { return nil }, does: func(h *lab.Host) error {
			_, err1 := h.Run("nft", "flush", "ruleset")
			_, err2 := h.Run("ip", "link", "del", "slipway-vx")
			return errors.Join(err1, err2)
		}},
		{name: "cut the power", on: every, does: (*lab.Host).PowerOff, mend: func(h *lab.Host) error { return h.PowerOn(ctx) }},
		{name: "fill the disk", on: every, does: f.fill, mend: f.empty},
		{name: "commit", on: every, does: func(*lab.Host) error { return nil }, mend: func(*lab.Host) error { f.commit(); return nil }},
	}
}

// filler is a file on a host's disk.
func filler(h *lab.Host) string { return filepath.Join(filepath.Dir(h.DataDir()), "filler") }

// fill leaves no byte on a host's disk, and kills what runs there.
func (f *fleet) fill(h *lab.Host) error {
	file, err := os.Create(filler(h))
	if err != nil {
		return err
	}
	defer file.Close()
	for block := make([]byte, 1<<20); len(block) > 0; {
		if _, err := file.Write(block); errors.Is(err, syscall.ENOSPC) {
			block = block[:len(block)/2]
		} else if err != nil {
			return err
		}
	}
	containers, err := containersOf(h)
	for _, c := range containers {
		if c.kind == string(node.App) && c.status == "running" {
			if _, err := h.Run("docker", "kill", c.id); err != nil {
				f.t.Logf("a container on the full disk is not killed: %v", err)
			}
		}
	}
	return err
}

// empty makes room again. Etcd ends by itself where it cannot write; an init system starts it again. Nothing
// else may have ended.
func (f *fleet) empty(h *lab.Host) error {
	if err := os.Remove(filler(h)); err != nil {
		return err
	}
	for _, part := range []lab.Part{lab.Engine, lab.Server, lab.Agent} {
		if has := part == lab.Engine || h.Server == (part == lab.Server); has && !h.Runs(part) {
			return fmt.Errorf("the %s has ended", part)
		}
	}
	if h.Member && !h.Runs(lab.Etcd) {
		return h.StartEtcd(f.t.Context())
	}
	return nil
}

// commit replaces every pod.
func (f *fleet) commit() {
	f.t.Helper()
	f.version++
	f.repo.commit(contents(f.version))
	// Any server passes it on to the one that leads.
	h := &f.Hosts[f.version%2]
	eventually(f.t, "the server is told of the commit", func() error { return f.tell(h) })
}

func (f *fleet) tell(h *lab.Host) error {
	out, err := h.Run(program(f.t), "webhooks", "--data-dir", h.DataDir())
	if err != nil {
		return err
	}
	for line := range strings.Lines(out) {
		if words := strings.Fields(line); len(words) > 2 && words[0] == "gitrepository/root" {
			return push(f.t, words[1], words[2])
		}
	}
	return fmt.Errorf("no webhook of the repository: %s", out)
}

// watch tries all the time whether a packet crosses projects, until it is called off.
func (f *fleet) watch() (stop func()) {
	f.t.Helper()
	type from struct {
		project, at string
		ns          netns.NsHandle
	}
	var watchers []from
	for _, project := range projects {
		inside, err := f.inside(project)
		if err != nil {
			f.t.Fatal(err)
		}
		for at, in := range inside {
			// The namespace stays as long as it is open, whatever becomes of the pod.
			ns, err := netns.GetFromPid(in.PID)
			if err != nil {
				f.t.Fatal(err)
			}
			watchers = append(watchers, from{project, at, ns})
		}
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	for _, w := range watchers {
		wg.Go(func() {
			defer w.ns.Close()
			pods, _ := f.pods()
			for {
				select {
				case <-done:
					return
				case <-time.After(200 * time.Millisecond):
				}
				if now, err := f.pods(); err == nil {
					pods = now
				}
				for _, p := range pods {
					if p.Namespace == w.project || p.Status.PodIP == "" {
						continue
					}
					var got string
					err := networktest.In(w.ns, func() (err error) { got, err = page(p.Status.PodIP + ":8080"); return err })
					if owner, _, _ := strings.Cut(got, "/"); err == nil && owner != w.project {
						f.t.Errorf("a packet crossed: %s on %s reached %s", w.project, w.at, got)
					}
				}
			}
		})
	}
	stop = sync.OnceFunc(func() { close(done); wg.Wait() })
	f.t.Cleanup(stop) // Where the round fails in between.
	return stop
}

// loses takes a node away: its subnet is free, and nothing leads there any more.
func (f *fleet) loses(name string) {
	f.t.Helper()
	h, err := f.Host(name)
	if err != nil {
		f.t.Fatal(err)
	}
	var was networkv1.HostSubnet
	if err := f.Get(f.t.Context(), "/apis/network.openshift.io/v1/hostsubnets/"+name, &was); err != nil {
		f.t.Fatal(err)
	}
	if err := h.Kill(lab.Agent); err != nil {
		f.t.Fatal(err)
	}
	if _, err := h.Run(program(f.t), "node", "leave", "--data-dir", h.DataDir()); err != nil {
		f.t.Fatal(err)
	}
	left, err1 := h.Run("docker", "ps", "-aq")
	links, err2 := h.Run("ip", "-o", "link")
	if err := errors.Join(err1, err2); err != nil || left != "" || strings.Contains(links, "slipway") {
		f.t.Errorf("left on %s: %v\n%s%s", name, err, left, links)
	}
	first := &f.Hosts[0]
	if _, err := first.Run(program(f.t), "node", "remove", name, "--data-dir", first.DataDir()); err != nil {
		f.t.Fatal(err)
	}
	eventually(f.t, "the subnet of the node that was removed is free, and nothing leads there", func() error {
		var subnets networkv1.HostSubnetList
		var nodes corev1.NodeList
		if err := errors.Join(f.Get(f.t.Context(), "/apis/network.openshift.io/v1/hostsubnets", &subnets), f.Get(f.t.Context(), "/api/v1/nodes", &nodes)); err != nil {
			return err
		}
		if len(subnets.Items) != fleetSize-1 || len(nodes.Items) != fleetSize-1 {
			return fmt.Errorf("%d subnets, %d nodes", len(subnets.Items), len(nodes.Items))
		}
		for i := range f.Hosts[:2] {
			routes, err1 := f.Hosts[i].Run("ip", "route")
			neighbours, err2 := f.Hosts[i].Run("ip", "neigh", "show", "dev", "slipway-vx")
			ends, err3 := f.Hosts[i].Run("bridge", "fdb", "show", "dev", "slipway-vx")
			if err := errors.Join(err1, err2, err3); err != nil || strings.Contains(routes, was.Subnet) || strings.Contains(neighbours+ends, was.HostIP) {
				return fmt.Errorf("%s: %v\n%s%s%s", f.Hosts[i].Name, err, routes, neighbours, ends)
			}
		}
		return nil
	})
}
