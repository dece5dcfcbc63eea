package engine

import (
	"strings"
	"testing"
)

// Where nothing may be installed, one sentence says what is missing.
func TestWhatIsMissingIsNamed(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	err := EnsureTools(t.Context(), false, nil)
	if err == nil || err.Error() != "install busybox-static iptables nftables, as root on Debian with `apt-get install busybox-static iptables nftables`" {
		t.Errorf("a node's tools: %v", err)
	}
	// No apt-get is in the path either: install cannot help.
	err = EnsureTestTools(t.Context(), true, nil)
	if err == nil || !strings.HasPrefix(err.Error(), "install busybox-static iptables nftables iproute2 procps kubernetes-client chromium openssh-client gnupg iperf3, ") {
		t.Errorf("the tests' tools: %v", err)
	}
}
