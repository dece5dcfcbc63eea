package lab

import "fmt"

// guards are the host's rules for what asks nobody who he is.
func (h *Host) guards() (rules [][]string) {
	if h.Server {
		// The API is this machine's to ask: neither pods nor other hosts may reach it.
		rules = append(rules, []string{"filter", "INPUT", "-i", "eth0", "-p", "tcp", "--dport", fmt.Sprint(apiPort), "!", "-s", h.lab.Machine().String(), "-j", "REJECT"})
	}
	ports := fmt.Sprintf("%d:%d", etcdPort, peerPort)
	if h.Member {
		// Etcd is the hosts', not this machine's, nor of those for whom this machine speaks.
		rules = append(rules,
			[]string{"filter", "INPUT", "-i", "eth0", "-p", "tcp", "--dport", ports, "!", "-s", h.lab.Network.String(), "-j", "REJECT"},
			[]string{"filter", "INPUT", "-i", "eth0", "-p", "tcp", "--dport", ports, "-s", h.lab.Machine().String(), "-j", "REJECT"})
	}
	if len(h.lab.members()) > 0 {
		// Nor is it the pods', for which their host speaks. What else filters may have let them go.
		rules = append(rules, []string{"mangle", "FORWARD", "-d", h.lab.Network.String(), "-p", "tcp", "--dport", ports, "-j", "DROP"})
	}
	return rules
}

// guard puts the rules in place that are not.
func (h *Host) guard() error {
	return h.Do(func() error {
		for _, rule := range h.guards() {
			if iptables(append([]string{"-t", rule[0], "-C"}, rule[1:]...)...) == nil {
				continue
			}
			if err := iptables(append([]string{"-t", rule[0], "-I"}, rule[1:]...)...); err != nil {
				return err
			}
		}
		return nil
	})
}
