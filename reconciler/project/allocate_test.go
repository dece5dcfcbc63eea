package project

import (
	"fmt"
	"testing"
	"time"

	networkv1 "github.com/openshift/api/network/v1"
	projectv1 "github.com/openshift/api/project/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slipway.dev/slipway/api"
)

func project(name string, age int, annotations ...string) projectv1.Project {
	p := projectv1.Project{ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.NewTime(time.Unix(int64(1000-age), 0)), Annotations: map[string]string{}}}
	for i := 0; i < len(annotations); i += 2 {
		p.Annotations[annotations[i]] = annotations[i+1]
	}
	return p
}

const net, uids, change, from = api.NetIDAnnotation, api.UIDRangeAnnotation, api.ChangeNetworkAnnotation, api.NetIDFromAnnotation

func netNamespace(id uint32, wish string) *networkv1.NetNamespace {
	n := &networkv1.NetNamespace{NetID: id}
	if wish != "" {
		n.Annotations = map[string]string{change: wish}
	}
	return n
}

func TestAllocate(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		p         projectv1.Project
		others    []projectv1.Project
		said      *networkv1.NetNamespace
		net, uids string
		fails     bool
	}{
		"first":                            {p: project("a", 0), net: "10", uids: "1000000000/10000"},
		"default is global":                {p: project("default", 0), net: "0", uids: "1000000000/10000"},
		"lowest free":                      {p: project("a", 0), others: []projectv1.Project{project("b", 1, net, "10", uids, "1000000000/10000"), project("c", 1, net, "12", uids, "1000020000/10000")}, net: "11", uids: "1000010000/10000"},
		"keeps":                            {p: project("a", 0, net, "77", uids, "1000990000/10000"), others: []projectv1.Project{project("b", 1, net, "10")}, net: "77", uids: "1000990000/10000"},
		"the younger gives way":            {p: project("a", 0, net, "10", uids, "1000000000/10000"), others: []projectv1.Project{project("b", 1, net, "10", uids, "1000000000/10000")}, net: "11", uids: "1000010000/10000"},
		"the older keeps":                  {p: project("a", 2, net, "10", uids, "1000000000/10000"), others: []projectv1.Project{project("b", 1, net, "10", uids, "1000000000/10000")}, net: "10", uids: "1000000000/10000"},
		"made global":                      {p: project("a", 0, change, "global"), net: "0", uids: "1000000000/10000"},
		"joins":                            {p: project("a", 0, change, "join:b"), others: []projectv1.Project{project("b", 1, net, "15")}, net: "15", uids: "1000000000/10000"},
		"joins nobody":                     {p: project("a", 0, change, "join:b"), net: "10", uids: "1000000000/10000", fails: true},
		"joins nobody instead of all":      {p: project("a", 0, net, "0", from, "global", change, "join:b"), net: "10", uids: "1000000000/10000", fails: true},
		"whom it joined is gone":           {p: project("a", 0, net, "15", from, "join:b", change, "join:b"), others: []projectv1.Project{project("c", 1, net, "15")}, net: "10", uids: "1000000000/10000", fails: true},
		"joins too early":                  {p: project("a", 0, change, "join:b"), others: []projectv1.Project{project("b", 1)}, fails: true},
		"host keeps its own":               {p: project("a", 0, net, "15"), others: []projectv1.Project{project("b", 1, net, "15", change, "join:a", from, "join:a")}, net: "15", uids: "1000000000/10000"},
		"leaves again":                     {p: project("a", 9, net, "15", from, "join:b"), others: []projectv1.Project{project("b", 1, net, "15")}, net: "10", uids: "1000000000/10000"},
		"no longer global":                 {p: project("a", 9, net, "0", from, "global"), net: "10", uids: "1000000000/10000"},
		"unreadable":                       {p: project("a", 9, net, "ten", uids, "5/5"), net: "10", uids: "1000000000/10000"},
		"zero is not its own":              {p: project("a", 9, net, "0"), net: "10", uids: "1000000000/10000"},
		"isolated":                         {p: project("a", 9, net, "0", from, "global", change, "isolate"), net: "10", uids: "1000000000/10000"},
		"global by NetNamespace":           {p: project("a", 0, change, "join:b"), said: netNamespace(0, "global"), net: "0", uids: "1000000000/10000"},
		"isolated by NetNamespace":         {p: project("a", 0, net, "15", from, "join:b", change, "join:b"), others: []projectv1.Project{project("b", 1, net, "15")}, said: netNamespace(0, "isolate"), net: "10", uids: "1000000000/10000"},
		"numbered":                         {p: project("a", 0, net, "12"), said: netNamespace(15, ""), net: "15", uids: "1000000000/10000"},
		"a number for two":                 {p: project("a", 0), others: []projectv1.Project{project("b", 1, net, "15", from, "netid:15")}, said: netNamespace(15, ""), net: "15", uids: "1000000000/10000"},
		"a number is asked for by another": {p: project("a", 9, net, "15"), others: []projectv1.Project{project("b", 1, net, "15", from, "netid:15")}, net: "10", uids: "1000000000/10000"},
		"default stays global":             {p: project("default", 0), said: netNamespace(15, ""), net: "0", uids: "1000000000/10000"},
		"unknown wish":                     {p: project("a", 9, change, "everywhere"), fails: true},
	} {
		got, err := Allocate(&c.p, c.said, append(c.others, c.p))
		if c.fails != (err != nil) {
			t.Errorf("%s: %v", name, err)
		}
		if got[net] != c.net || got[uids] != c.uids {
			t.Errorf("%s: got %s, %s; want %s, %s", name, got[net], got[uids], c.net, c.uids)
		}
	}
}

func TestAllocateConverges(t *testing.T) {
	t.Parallel()
	// All chose at once and thus the same; each then chooses again, seeing the others.
	var all []projectv1.Project
	for i := range 20 {
		all = append(all, project(fmt.Sprintf("p%02d", i), 0, net, "10", uids, "1000000000/10000"))
	}
	for i := range all {
		want, err := Allocate(&all[i], nil, all)
		if err != nil {
			t.Fatal(err)
		}
		all[i].Annotations = want
	}
	seen := map[string]bool{}
	for i := range all {
		again, err := Allocate(&all[i], nil, all)
		if err != nil || again[net] != all[i].Annotations[net] {
			t.Errorf("%s moves on: %v", all[i].Name, err)
		}
		if id := all[i].Annotations[net]; seen[id] {
			t.Errorf("%s is given twice", id)
		} else {
			seen[id] = true
		}
	}
}

func TestLevelsDiffer(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for n := range 2000 {
		l := levels(n)
		if seen[l] {
			t.Fatalf("%s is given twice", l)
		}
		seen[l] = true
	}
}
