package network

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"slipway.dev/slipway/network/networktest"
)

// throughBoth are the tests of packets that pass or do not pass.
const throughBoth = "^(TestServices|TestServiceAffinity|TestServiceAffinityEnds|TestNodePortsAndOuterAddresses|TestUDPLeavesAnEndpointThatGoes|TestUDPFindsAServiceThatComes|" +
	"TestProjectsAreIsolated|TestAPodCannotTakeAnothersAddress|TestFlatMode|TestNodeAndOutside|TestRestartAdopts|TestDetach|TestDownLeavesNothing|" +
	"TestNetworkPolicies|TestPolicyWords|TestEgressFirewall|TestLinks|TestLinksDoNotLeadToOtherProjects|TestPodsReachEachOtherAcrossHosts|TestNodePortsAcrossHosts|" +
	"TestNoPacketCrossesProjectsByOldKnowledge|TestNodeServesWhileLiveStateIsAway|TestPodsCannotForgeTheOverlay|TestRulesComeBack|TestOpenConnectionsFollowTheirProjects|TestFollowsIsTrue|TestConnectionsToAPodThatIsGoneEnd|TestConnectionsToAPodThatIsGoneEndAcrossHosts)$"

// Where the kernel has no nftables, iptables is the whole path: the same tests pass in a
// network namespace into which nothing puts an nft rule.
func TestWholePathThroughIPTables(t *testing.T) {
	ns := networktest.New(t)
	var out []byte
	err := ns.Do(func() (err error) {
		cmd := exec.Command("/proc/self/exe", "-test.run", throughBoth, "-test.timeout", "10m")
		cmd.Env = append(os.Environ(), filterEnv+"="+legacyProgram)
		out, err = cmd.CombinedOutput()
		return err
	})
	if err != nil || !strings.Contains(string(out), "PASS") {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := ns.Do(func() (err error) {
		out, err = exec.Command("nft", "list", "ruleset").CombinedOutput()
		return err
	}); err != nil || len(out) > 0 {
		t.Errorf("%v, nftables holds:\n%s", err, out)
	}
}

func TestRulesComeBack(t *testing.T) {
	x := newNode(t, nil)
	x.project("shop", "10")
	x.project("bank", "11")
	a, b, other := x.pod("shop", "a"), x.pod("shop", "b"), x.pod("bank", "other")
	web := x.service("shop", "web", 1, b)
	program := iptablesHere()
	harms := []string{program + " -t nat -F", program + " -F"}
	if os.Getenv(filterEnv) == "" {
		harms = append(harms, "nft flush ruleset", "nft flush chain ip "+x.driver.Name+" forward")
	} else {
		guard := strings.ToUpper(x.driver.Name) + "-guard"
		harms = append(harms, program+" -I FORWARD -j ACCEPT", program+" -F "+guard, program+" -D FORWARD -j "+guard, program+" -t nat -A "+strings.ToUpper(x.driver.Name)+"-service -j RETURN")
		t.Cleanup(func() { exec.Command(program, "-D", "FORWARD", "-j", "ACCEPT").Run() })
	}
	t.Cleanup(func() { exec.Command(program, "-P", "FORWARD", "DROP").Run() })
	for _, harm := range append([]string{"true"}, harms...) {
		words := strings.Fields(harm)
		if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v %s", harm, err, out)
		}
		eventually(t, "the service after "+harm, tells(func() (string, error) { return a.ask("tcp", web) }, "b"))
		eventually(t, "no way between projects after "+harm, isRefused(func() (string, error) { return other.ask("tcp", b.at()) }))
	}
}
