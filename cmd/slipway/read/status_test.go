package read

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestStatusTellsOfRolloutsThatFailed(t *testing.T) {
	t.Parallel()
	const (
		failed = `"conditions": [{"type": "Progressing", "status": "False", "message": "timed out"}]`
		meta   = `"metadata": {"namespace": "shop", "name": "web"}, `
	)
	for object, want := range map[string][]string{
		`{` + meta + `"spec": {"replicas": 2}, "status": {"latestVersion": 2, "readyReplicas": 2, ` + failed + `}}`: {"shop/web 2/2 2 Failed", "shop/deploymentconfig/web: timed out"},
		`{` + meta + `"spec": {"replicas": 1, "test": true}, "status": {"latestVersion": 1}}`:                       {"shop/web 0/0 1 Ready"},
		`{` + meta + `"spec": {"replicas": 1, "triggers": []}}`:                                                     {"shop/web 0/0 0 Ready"},
		`{` + meta + `"spec": {"replicas": 1}}`:                                                                     {"shop/web 0/1 0 NotReady"},
	} {
		var o overview
		if err := json.Unmarshal([]byte(`{"items": [`+object+`]}`), &o.deployments); err != nil {
			t.Fatal(err)
		}
		check(t, &o, object, want)
	}
	var o overview
	if err := json.Unmarshal([]byte(`{"items": [{`+meta+`"spec": {"replicas": 1}, "status": {"readyReplicas": 1, `+failed+`}}]}`), &o.workloads.deployments); err != nil {
		t.Fatal(err)
	}
	check(t, &o, "a Deployment", []string{"shop/deployment/web 1/1 - Failed", "shop/deployment/web: timed out"})
}

func check(t *testing.T, o *overview, object string, want []string) {
	t.Helper()
	var got []string
	for _, row := range append(o.deploymentRows(), o.problemRows()...) {
		got = append(got, strings.Join(row, " "))
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: %q, want %q", object, got, want)
	}
}

func TestStatusTellsOfNodesThatAreNotReady(t *testing.T) {
	t.Parallel()
	node := func(name, status string) string {
		return fmt.Sprintf(`{"metadata": {"name": %q}, "status": {"conditions": [{"type": "DiskPressure", "status": "False"},
			{"type": "Ready", "status": %q, "message": "it says nothing", "lastTransitionTime": %q}]}}`, name, status, time.Now().Add(-time.Hour).Format(time.RFC3339))
	}
	var o overview
	nodes := `{"items": [` + node("n1", "True") + `,` + node("n2", "Unknown") + `,` + node("n3", "False") + `,{"metadata": {"name": "joins"}}]}`
	if err := json.Unmarshal([]byte(nodes), &o.nodes); err != nil {
		t.Fatal(err)
	}
	check(t, &o, "nodes", []string{"node/n2: not ready for 60m: it says nothing", "node/n3: not ready for 60m: it says nothing"})
}
