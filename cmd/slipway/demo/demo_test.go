package demo

import (
	"io"
	"net/netip"
	"strings"
	"testing"
)

func TestPlaceIsFree(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		links, routes []string
		want          string
	}{
		"bare machine": {
			[]string{"lo", "eth0"}, []string{"0.0.0.0/0", "192.168.1.0/24"},
			"network slipway, pods 10.128.0.0/14, services 172.30.0.0/16",
		},
		"beside a server": {
			[]string{"lo", "slipway0", "slipway-a800002"}, []string{"10.128.0.0/14", "10.128.0.2/32", "172.30.0.0/16"},
			"network slipwa2, pods 10.132.0.0/14, services 172.29.0.0/16",
		},
		"a pod's link is left": {
			[]string{"slipway-a800002", "slipwa20"}, nil,
			"network slipwa3, pods 10.128.0.0/14, services 172.30.0.0/16",
		},
		"an office on 10.128.0.0/9 but its end": {
			nil, []string{"10.128.0.0/10", "10.192.0.0/11", "10.224.0.0/12", "10.240.0.0/13", "10.248.0.0/14"},
			"network slipway, pods 10.252.0.0/14, services 172.30.0.0/16",
		},
		"an office on 10.0.0.0/8":    {nil, []string{"10.0.0.0/8"}, "is free of routes"},
		"no more services":           {nil, []string{"172.16.0.0/12"}, "is free of routes"},
		"another name that is alike": {[]string{"slipway0x", "slipways-1"}, nil, "network slipway, "},
		"nine of them": {
			[]string{"slipway0", "slipwa20", "slipwa30", "slipwa40", "slipwa50", "slipwa60", "slipwa70", "slipwa80", "slipwa90"}, nil,
			"slipway down",
		},
	} {
		var routes []netip.Prefix
		for _, r := range c.routes {
			routes = append(routes, netip.MustParsePrefix(r))
		}
		p, err := choosePlace(c.links, routes)
		got := p.String()
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, c.want) {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// Enter that was typed ahead, or comes from a pipe, counts for the steps to come.
func TestEnterIsReadLineByLine(t *testing.T) {
	t.Parallel()
	s := newStory(Options{In: strings.NewReader("\n\n\n"), Out: io.Discard})
	for i := range 3 {
		if err := s.enter(t.Context(), "next"); err != nil {
			t.Fatalf("Enter %d: %v", i+1, err)
		}
	}
	if err := s.enter(t.Context(), "next"); err == nil || !strings.Contains(err.Error(), "no more input") {
		t.Errorf("at the end of input: %v", err)
	}
}
