package chains

import (
	"fmt"
	"net/netip"
	"runtime"

	"github.com/vishvananda/netns"

	"slipway.dev/slipway/network/rules"
)

// linkInstance begins the names of the chains in the pods' namespaces.
const linkInstance = "links"

// LinkIn is what the function of that name in package rules is with nftables.
func LinkIn(ns int, program string, pod netip.Addr, links []rules.Link) error {
	if err := rules.LetLoopbackLeave(ns); err != nil {
		return err
	}
	f := NewFilter(rules.Frame{Table: linkInstance}, program)
	f.run = func(stdin, name string, args ...string) (out string, err error) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			// The thread is never unlocked: it ends with the goroutine. What it starts is where it is.
			runtime.LockOSThread()
			if err = netns.Set(netns.NsHandle(ns)); err == nil {
				out, err = execute(stdin, name, args...)
			}
		}()
		<-done
		return out, err
	}
	return f.install(linkRules(pod, links))
}

func linkRules(pod netip.Addr, links []rules.Link) Ruleset {
	prefix := prefixOf(linkInstance)
	var follow []string
	for _, l := range links {
		follow = append(follow, fmt.Sprintf("-d 127.0.0.1/32 -p %s -m %[1]s --dport %d -j DNAT --to-destination %s", l.Protocol, l.Local, l.To))
	}
	return Ruleset{
		"raw": {{Name: prefix + "guard", Builtin: "PREROUTING", Rules: []string{"! -i lo -d 127.0.0.0/8 -j DROP"}}},
		"nat": {{Name: prefix + "follow", Builtin: "OUTPUT", Rules: follow},
			{Name: prefix + "leave", Builtin: "POSTROUTING", Rules: []string{fmt.Sprintf("-s 127.0.0.0/8 ! -d 127.0.0.0/8 -j SNAT --to-source %s", pod)}}},
	}
}
