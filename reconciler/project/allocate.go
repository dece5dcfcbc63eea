package project

import (
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"

	networkv1 "github.com/openshift/api/network/v1"
	projectv1 "github.com/openshift/api/project/v1"

	"slipway.dev/slipway/api"
)

// The blocks that OpenShift allocates from: 10000 ids each, from 1000000000 up.
const (
	blockStart = 1_000_000_000
	blockSize  = 10_000
)

// Allocate returns the annotations that a project should have, given all projects. What
// it has already it keeps, unless an older project has the same; then, and in the
// beginning, it gets the lowest free block and the lowest free network. Project default
// is in network 0, which reaches everybody and is reached by everybody. The NetNamespace of its
// name may say what it wants, besides its own annotation; nil: there is none. With an error come
// the annotations, too, where the project has to have them until what it wants can be had.
func Allocate(p *projectv1.Project, said *networkv1.NetNamespace, all []projectv1.Project) (map[string]string, error) {
	others := make([]*projectv1.Project, 0, len(all))
	for i := range all {
		if all[i].Name != p.Name {
			others = append(others, &all[i])
		}
	}
	want := maps.Clone(p.Annotations)
	if want == nil {
		want = map[string]string{}
	}
	block, err := blockOf(p, others)
	if err != nil {
		return nil, err
	}
	rangeText := fmt.Sprintf("%d/%d", blockStart+block*blockSize, blockSize)
	want[api.UIDRangeAnnotation] = rangeText
	want[api.SupplementalGroupsAnnotation] = rangeText
	want[api.MCSAnnotation] = levels(block)
	id, from, err := netID(p, wishOf(p, said), others)
	if errors.Is(err, errNobody) {
		// Rather alone than in whichever network it was before.
		own, _, ownErr := netID(p, "", others)
		if ownErr != nil {
			return nil, ownErr
		}
		id, from = own, ""
	} else if err != nil {
		return nil, err
	}
	want[api.NetIDAnnotation] = strconv.Itoa(id)
	delete(want, api.NetIDFromAnnotation)
	if from != "" {
		want[api.NetIDFromAnnotation] = from
	}
	return want, err
}

func blockOf(p *projectv1.Project, others []*projectv1.Project) (int, error) {
	used := map[int]bool{}
	own, has := readBlock(p)
	for _, o := range others {
		if b, ok := readBlock(o); ok {
			used[b] = true
			has = has && (b != own || api.Older(p, o) < 0)
		}
	}
	if has {
		return own, nil
	}
	for b := range (1<<31 - 1 - blockStart) / blockSize {
		if !used[b] {
			return b, nil
		}
	}
	return 0, fmt.Errorf("project %s: every block of user ids is given", p.Name)
}

func readBlock(p *projectv1.Project) (int, bool) {
	first, _, _ := strings.Cut(p.Annotations[api.UIDRangeAnnotation], "/")
	n, err := strconv.Atoi(first)
	if err != nil || n < blockStart || (n-blockStart)%blockSize != 0 {
		return 0, false
	}
	return (n - blockStart) / blockSize, true
}

// levels are two different SELinux categories of 1024, counted as OpenShift does.
func levels(n int) string {
	for a := 1; a < 1024; a++ {
		if n < a {
			return fmt.Sprintf("s0:c%d,c%d", a, n)
		}
		n -= a
	}
	return "s0"
}

// numbered begins the wish for a network by its number, which several projects may share.
const numbered = "netid:"

// wishOf is what is asked for a project: global, join:PROJECT, netid:NUMBER, or nothing.
func wishOf(p *projectv1.Project, said *networkv1.NetNamespace) string {
	wish := p.Annotations[api.ChangeNetworkAnnotation]
	switch {
	case said != nil && said.Annotations[api.ChangeNetworkAnnotation] != "":
		wish = said.Annotations[api.ChangeNetworkAnnotation]
	case said != nil && said.NetID != 0:
		wish = numbered + strconv.FormatUint(uint64(said.NetID), 10)
	}
	if wish == "isolate" {
		return ""
	}
	return wish
}

// netID returns a project's virtual network, and what asked for it if it is not the
// project's own.
func netID(p *projectv1.Project, wish string, others []*projectv1.Project) (id int, from string, err error) {
	switch {
	case p.Name == "default":
		return 0, "", nil
	case wish == "global":
		return 0, wish, nil
	case strings.HasPrefix(wish, "join:"):
		id, err := joined(p, strings.TrimPrefix(wish, "join:"), others)
		return id, wish, err
	case strings.HasPrefix(wish, numbered):
		id, err := strconv.Atoi(strings.TrimPrefix(wish, numbered))
		return id, wish, err
	case wish != "":
		return 0, "", fmt.Errorf("project %s: annotation %s: %q is none of global, isolate, join:<project>", p.Name, api.ChangeNetworkAnnotation, wish)
	}
	used := map[int]bool{}
	own, has := readNetID(p)
	has = has && own >= api.FirstNetID && p.Annotations[api.NetIDFromAnnotation] == ""
	for _, o := range others {
		id, ok := readNetID(o)
		if !ok {
			continue
		}
		used[id] = true
		// A guest in this project's network does not contest it; who asks for the number does.
		from := o.Annotations[api.NetIDFromAnnotation]
		guest := from != ""
		if id == own && strings.HasPrefix(from, numbered) {
			has = false
		}
		has = has && (id != own || guest || api.Older(p, o) < 0)
	}
	if has {
		return own, "", nil
	}
	for id := api.FirstNetID; id <= api.MaxNetID; id++ {
		if !used[id] {
			return id, "", nil
		}
	}
	return 0, "", fmt.Errorf("project %s: every virtual network is given", p.Name)
}

// errNobody says that a project joins one that is not there.
var errNobody = errors.New("there is no project")

// joined is the virtual network of the project that p joins.
func joined(p *projectv1.Project, target string, others []*projectv1.Project) (int, error) {
	for _, o := range others {
		if o.Name == target {
			if id, ok := readNetID(o); ok {
				return id, nil
			}
			return 0, fmt.Errorf("project %s: project %s, whose network it joins, has none yet", p.Name, target)
		}
	}
	return 0, fmt.Errorf("project %s: annotation %s: %w %s: it is by itself until there is one", p.Name, api.ChangeNetworkAnnotation, errNobody, target)
}

func readNetID(p *projectv1.Project) (int, bool) {
	id, err := strconv.Atoi(p.Annotations[api.NetIDAnnotation])
	return id, err == nil && id >= 0 && id <= api.MaxNetID
}
