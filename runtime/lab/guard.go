package lab

import "fmt"

// guards are the host's rules for what asks nobody who he is.
func (h *Host) guards() (rules [][]string) {
	if h.Server {
		// The API is this machine's to ask: neither pods nor other hosts may reach it.
		rules = append(rules, []string{"INPUT", "-i", "eth0", "-p", "tcp", "--dport", fmt.Sprint(apiPort), "!", "-s", h.lab.Machine().String(), "-j", "REJECT"})
	}
	ports := fmt.Sprintf("%d:%d", etcdPort, peerPort)
	if h.Member {
		// Etcd is the hosts', not this machine's, nor of those for whom this machine speaks.
		rules = append(rules,
			[]string{"INPUT", "-i", "eth0", "-p", "tcp", "--dport", ports, "!", "-s", h.lab.Network.String(), "-j", "REJECT"},
			[]string{"INPUT", "-i", "eth0", "-p", "tcp", "--dport", ports, "-s", h.lab.Machine().String(), "-j", "REJECT"})
	}
	if len(h.lab.members()) > 0 {
		// Nor is it of the pods, for which their host speaks.
		rules = append(rules, []string{"FORWARD", "-d", h.lab.Network.String(), "-p", "tcp", "--dport", ports, "-j", "REJECT"})
	}
	return rules
}

// guard puts the rules in place that are not.
func (h *Host) guard() error {
	return h.Do(func() error {
		for _, rule := range h.guards() {
			if iptables(append([]string{"-C"}, rule...)...) == nil {
				continue
			}
			if err := iptables(append([]string{"-I"}, rule...)...); err != nil {
				return err
			}
		}
		return nil
	})
}
