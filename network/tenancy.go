package network

import (
	"fmt"
	"net/netip"
	"strconv"

	projectv1 "github.com/openshift/api/project/v1"
	"k8s.io/apimachinery/pkg/types"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/network/rules"
)

// tenancy is which pod has which address, and which project which virtual network.
type tenancy struct {
	pods   map[string]map[string]netip.Addr // project → pod → address
	netids map[string]uint32                // of projects that say so
	own    map[string]uint32                // of projects that do not
}

func newTenancy() *tenancy {
	return &tenancy{pods: map[string]map[string]netip.Addr{}, netids: map[string]uint32{}, own: map[string]uint32{}}
}

// firstOwn is above all ids that are given to projects.
const firstOwn = rules.FirstOwn

// netid of a project is what its annotation says. A project without one is isolated from
// all others, under a number that no other has on this node; project default is
// global, as in OpenShift 3.
func (t *tenancy) netid(project string) uint32 {
	if n, ok := t.netids[project]; ok {
		return n
	}
	if project == "default" {
		return 0
	}
	n, ok := t.own[project]
	if !ok {
		n = firstOwn + uint32(len(t.own))
		t.own[project] = n
	}
	return n
}

// setProject replaces what is known of a project; nil: it is gone. What its annotation
// says wrongly is an error, and then it is as without.
func (t *tenancy) setProject(name string, p *projectv1.Project) error {
	delete(t.netids, name)
	if p == nil {
		return nil
	}
	text, has := p.Annotations[api.NetIDAnnotation]
	if !has {
		return nil
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil || n >= firstOwn {
		return fmt.Errorf("project %s: metadata.annotations[%s]: %q is no number from 0 to %d", name, api.NetIDAnnotation, text, firstOwn-1)
	}
	t.netids[name] = uint32(n)
	return nil
}

func (t *tenancy) setPod(pod types.NamespacedName, a netip.Addr) {
	if t.pods[pod.Namespace] == nil {
		t.pods[pod.Namespace] = map[string]netip.Addr{}
	}
	t.pods[pod.Namespace][pod.Name] = a
}

func (t *tenancy) removePod(pod types.NamespacedName) {
	delete(t.pods[pod.Namespace], pod.Name)
	if len(t.pods[pod.Namespace]) == 0 {
		delete(t.pods, pod.Namespace)
	}
}
