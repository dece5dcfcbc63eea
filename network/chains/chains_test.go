package chains

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"slipway.dev/slipway/network/networktest"
	"slipway.dev/slipway/network/rules"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) { networktest.Main(m) }

func frame(table string) rules.Frame {
	return rules.Frame{Table: table, Links: table + "-", Bridge: table + "0",
		Cluster: netip.MustParsePrefix("10.128.0.0/14"), Subnet: netip.MustParsePrefix("10.128.0.0/23"),
		Service: netip.MustParsePrefix("172.30.0.0/16"), Gateway: netip.MustParseAddr("10.128.0.1"),
		Overlay: table + "-vx", VNI: 1, OverlayPort: 4789}
}

// everything has an element of every set.
const everything = `services 172.30.0.1 . tcp . 80 : goto spread-2
endpoints 172.30.0.1 . tcp . 80 . 0 : 10.128.0.2 . 8080
endpoints 172.30.0.1 . tcp . 80 . 1 : 10.128.2.3 . 8080
services 172.30.7.1 . udp . 53 : goto spread-1
endpoints 172.30.7.1 . udp . 53 . 0 : 10.128.0.2 . 5353
services 172.30.0.2 . tcp . 80 : goto sticky-2-60
endpoints 172.30.0.2 . tcp . 80 . 0 : 10.128.0.2 . 8080
endpoints 172.30.0.2 . tcp . 80 . 1 : 10.128.0.3 . 8080
externals 192.0.2.40 . tcp . 443 : goto spread-1
endpoints 192.0.2.40 . tcp . 443 . 0 : 10.128.0.2 . 8443
refused 192.0.2.41 . tcp . 80
refused 192.0.2.41 . udp . 80
nodeports tcp . 30080 : goto nodespread-1
endpoints 0.0.0.0 . tcp . 30080 . 0 : 10.128.0.2 . 8080
farports tcp . 30080 : goto nodespread-1
farports udp . 30090 : goto farspread-1
endpoints 0.0.0.1 . udp . 30090 . 0 : 10.128.2.3 . 8080
overlays 4789
hairpin 10.128.0.2 . 10.128.0.2
hairpin 10.128.0.3 . 10.128.0.3
hairpin 10.128.2.3 . 10.128.2.3
netids 10.128.0.1 : 0
netids 10.128.0.2 : 10
netids 10.128.0.3 : 11
netids 10.128.0.4 : 0
netids 10.128.2.3 : 10
members 10.128.0.2 . 10
hostports 8443
policedin 10.128.0.2 : jump ingress
groupsin 10.128.0.2 : 1
grouppeers 1 . 10.128.2.3
groupports 1 . tcp . 8080
groupways 1 . 10.128.0.3 . udp . 53
groupblocks 1 . 192.0.2.0-192.0.2.63
groupranges 1 . 10.128.0.9 . tcp . 8000-8010
policedout 10.128.0.3 : jump egress
groupsout 10.128.0.3 : 2
groupranges 2 . 0.0.0.0-255.255.255.255 . udp . 0-65535
firewalls 10.128.0.3 : 3
firewalled 10.128.0.3
groupblocks 3 . 198.51.100.7
gateways 10.128.0.1
gateways 10.128.2.1
carries 10.128.0.1 : 0
carries 10.128.0.2 : 10
carries 10.128.2.3 : 10
admits 10.128.0.2 . 10
admits 10.128.0.4 . 0
admits 10.128.2.3 . 10
peers 192.0.2.2
`

func elements(t *testing.T, text string) rules.Elements {
	t.Helper()
	out := rules.Elements{}
	for line := range strings.Lines(text) {
		set, rest, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok {
			t.Fatalf("element %q", line)
		}
		key, value, _ := strings.Cut(rest, " : ")
		out[rules.Element{Set: rules.Set(set), Key: key}] = value
	}
	return out
}

func TestCompile(t *testing.T) {
	flat := frame("slipway")
	flat.Flat, flat.Overlay = true, ""
	for name, f := range map[string]rules.Frame{"compile": frame("slipway"), "compile-flat": flat} {
		got := Compile(f, elements(t, everything)).String()
		path := filepath.Join("testdata", name+".txt")
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
		}
	}
}

func TestNamesOfChainsAreShortEnough(t *testing.T) {
	const longest = 28 // XT_EXTENSION_MAXNAMELEN, less its end
	e := elements(t, everything)
	e[rules.Element{Set: rules.Netids, Key: "10.128.0.9"}] = "4294967295"
	e[rules.Element{Set: rules.GroupsIn, Key: "10.128.0.9"}] = "4294967295"
	e[rules.Element{Set: rules.Services, Key: "255.255.255.255 . tcp . 80"}] = "goto spread-1"
	for table, list := range Compile(frame("abcdefg"), e) {
		for _, c := range list {
			if len(c.Name) > longest {
				t.Errorf("table %s: chain %s", table, c.Name)
			}
		}
	}
}

func must(t *testing.T, line string) string {
	t.Helper()
	words := strings.Fields(line)
	out, err := exec.Command(words[0], words[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v %s", line, err, out)
	}
	return string(out)
}

// Both kinds of iptables take what is compiled, and what others do to it is found and mended.
func TestFilter(t *testing.T) {
	for i, program := range []string{"iptables", "iptables-legacy"} {
		t.Run(program, func(t *testing.T) {
			name := fmt.Sprintf("x%d", i)
			upper := strings.ToUpper(name)
			f, tab := NewFilter(frame(name), program), rules.NewTable()
			tab.Put("all", elements(t, everything))
			sync := func() {
				t.Helper()
				if _, err := f.Sync(tab); err != nil {
					t.Fatal(err)
				}
				if repaired, err := f.Check(tab); err != nil || repaired {
					t.Fatalf("right after: repaired %v, %v", repaired, err)
				}
			}
			before := must(t, program+"-save")
			sync()
			listed := f.seen
			rulesIn := 0
			for _, list := range listed.ours {
				rulesIn += len(list)
			}
			if want := strings.Count(Compile(f.frame, tab.Elements()).String(), "\n-A "); rulesIn != want {
				t.Errorf("iptables lists %d rules of %d", rulesIn, want)
			}
			for _, harm := range []string{"-t nat -F", "-F", "-F " + upper + "-guard", "-D FORWARD -j " + upper + "-guard", "-I FORWARD -j ACCEPT",
				"-t nat -A " + upper + "-service -j RETURN", "-t raw -F", "-t mangle -F PREROUTING", "-t mangle -D POSTROUTING -j " + upper + "-carry"} {
				must(t, program+" "+harm)
				repaired, err := f.Check(tab)
				if err != nil || repaired == (harm == "-t mangle -F PREROUTING") {
					t.Fatalf("%s: repaired %v, %v", harm, repaired, err)
				}
				if now, err := f.list(); err != nil || !now.same(listed) || !f.leads(now) {
					t.Fatalf("%s: %v, mended to\n%v\nwant\n%v", harm, err, now, listed)
				}
			}
			must(t, program+" -D FORWARD -j ACCEPT")
			// A change writes the chains that differ, and takes away those that nothing is for any longer.
			fewer := elements(t, everything)
			for e := range fewer {
				if strings.HasPrefix(e.Key, "172.30.7.1") || e.Set == rules.GroupsOut {
					delete(fewer, e)
				}
			}
			tab.Put("all", fewer)
			sync()
			for _, gone := range []string{"nat " + upper + "-ser-172-30-7", "filter " + upper + "-group-2"} {
				if _, has := f.seen.ours[gone]; has || len(listed.ours[gone]) == 0 {
					t.Errorf("chain %s is there still, or was not before", gone)
				}
			}
			// A new process finds what there is, whatever it was.
			tab.Put("all", elements(t, everything))
			f = NewFilter(f.frame, program)
			sync()
			if !f.seen.same(listed) {
				t.Errorf("a new process made\n%v\nof\n%v", f.seen, listed)
			}
			if err := f.Remove(); err != nil {
				t.Fatal(err)
			}
			if after := must(t, program+"-save"); strings.Contains(after, upper+"-") || strings.Contains(before, upper+"-") {
				t.Errorf("left behind:\n%s", after)
			}
		})
	}
}

func TestGenerationFollowsRules(t *testing.T) {
	read := func() uint32 {
		t.Helper()
		n, err := Generation("iptables-legacy")
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	must(t, "iptables-legacy -N generation")
	t.Cleanup(func() { must(t, "iptables-legacy -X generation") })
	first := read()
	if read() != first {
		t.Error("it changes by itself")
	}
	must(t, "iptables-legacy -A generation -j ACCEPT")
	if read() == first {
		t.Error("a rule was added, and it is the same")
	}
	must(t, "iptables-legacy -F generation")
	if read() != first {
		t.Error("the rule is gone, and it is another one")
	}
}
