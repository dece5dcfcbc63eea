package network

import (
	"errors"

	"github.com/vishvananda/netlink"
)

// dumpTries is how often a list is read that others change while it is read.
const dumpTries = 20

// dump reads a list from the kernel, again where it changed meanwhile and may be
// incomplete.
func dump[T any](read func() (T, error)) (out T, err error) {
	for range dumpTries {
		if out, err = read(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			return out, err
		}
	}
	return out, err
}

func allLinks() ([]netlink.Link, error) { return dump(netlink.LinkList) }

func allRoutes() ([]netlink.Route, error) {
	return dump(func() ([]netlink.Route, error) { return netlink.RouteList(nil, netlink.FAMILY_V4) })
}
