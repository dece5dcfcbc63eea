package read

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "github.com/openshift/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/dashboard"
	"slipway.dev/slipway/dashboard/dashboardtest"
	"slipway.dev/slipway/state/statetest"
)

// TestTraceLeadsFromAnyPartToAllOthers: every part of a chain finds the chain.
func TestTraceLeadsFromAnyPartToAllOthers(t *testing.T) {
	t.Parallel()
	server, _ := shop(t)
	const digest = "sha256:b4f09be2bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	all := []string{"shop-prod/frontend", "https://shop.example.com", "frontend-2-mm2cd on dock-1", digest, "shop-prod/frontend:live", "shop-dev/frontend-6", "aa00bb1", "Bo Meyer: First light", "version 2"}
	for _, from := range []string{
		"https://shop.example.com/basket", "shop.example.com", "frontend-2-mm2cd", "shop-prod/frontend-2-mm2cd", digest, "sha256:b4f09be2",
		"127.0.0.1:7081/shop-dev/frontend@" + digest, "frontend:live", "frontend-6", "aa00bb1d4e",
	} {
		t.Run(from, func(t *testing.T) {
			t.Parallel()
			out, errOut, err := run(t, server, "trace", from)
			if err != nil {
				t.Fatalf("%v\n%s", err, errOut)
			}
			for _, want := range all {
				if !strings.Contains(out, want) {
					t.Errorf("want %q in\n%s", want, out)
				}
			}
			if strings.Contains(out, "shop-dev/backend\n") {
				t.Errorf("shows what does not belong to it:\n%s", out)
			}
		})
	}
	out, _, err := run(t, server, "trace", "frontend", "-n", "shop-dev", "-o", "json")
	var chains []chain
	if err == nil {
		err = json.Unmarshal([]byte(out), &chains)
	}
	if err != nil || len(chains) != 1 || chains[0].Images[0].Source.Commit != "c0ffee1d4e0d75b1c6a2e0f3d4b5a69788c0d111" {
		t.Errorf("%v in\n%s", err, out)
	}
	for what, want := range map[string]string{
		"nobody": `nothing that is live belongs to "nobody"`, "77aa01d94e": "no longer live: `slipway history",
	} {
		if _, _, err := run(t, server, "trace", what); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", what, err, want)
		}
	}
}

func TestTraceNamesTheConfiguration(t *testing.T) {
	t.Parallel()
	server, c := shop(t)
	dc := find(t, c, "shop-prod", "frontend")
	dc.SetLabels(map[string]string{ownerName: "root", ownerNamespace: "slipway"})
	if err := c.Update(t.Context(), dc); err != nil {
		t.Fatal(err)
	}
	out, errOut, err := run(t, server, "trace", "8c1f2ab94e")
	if err != nil {
		t.Fatalf("%v\n%s", err, errOut)
	}
	for _, want := range []string{"application     slipway/root", "8c1f2ab of ", " by Ada Lindqvist: ", "record"} {
		if !strings.Contains(out, want) {
			t.Errorf("want %q in\n%s", want, out)
		}
	}
}

func TestHistoryShowsOneRecord(t *testing.T) {
	t.Parallel()
	server, _ := shop(t)
	names, errOut, err := run(t, server, "history", "root", "--names")
	if err != nil {
		t.Fatalf("%v\n%s", err, errOut)
	}
	name, _, _ := strings.Cut(names, "\n")
	out, errOut, err := run(t, server, "history", "root", "--record", name)
	if err != nil || !strings.Contains(out, "commit        8c1f2ab94e0d75b1c6a2e0f3d4b5a69788c0d1e2") || !strings.Contains(out, "outcome") {
		t.Errorf("%v %s\n%s", err, errOut, out)
	}
	if _, _, err := run(t, server, "history", "root", "--record", "no"); err == nil || !strings.Contains(err.Error(), `no record "no"`) {
		t.Errorf("a record that is not there: %v", err)
	}
}

func TestWait(t *testing.T) {
	t.Parallel()
	const old, newer = "1111111111111111111111111111111111111111", "2222222222222222222222222222222222222222"
	status := func(applied, attempted, ready, reason string, problems ...v1alpha1.Problem) v1alpha1.ApplicationStatus {
		return v1alpha1.ApplicationStatus{
			LastAppliedCommit: applied, LastAttemptedCommit: attempted, ObservedGeneration: 1, Problems: problems,
			Conditions: []metav1.Condition{{Type: "Ready", Status: metav1.ConditionStatus(ready), Reason: reason, Message: "says " + reason, LastTransitionTime: metav1.Now()}},
		}
	}
	for name, c := range map[string]struct {
		status v1alpha1.ApplicationStatus
		args   string
		code   int
		says   string
	}{
		"ready":                     {status(old, old, "True", "ReconciliationSucceeded"), "", 0, "applied 1111111"},
		"applied, not healthy":      {status(old, old, "Unknown", "Progressing"), "--timeout 1s", waitTimeout, "still waits: says Progressing"},
		"applied is enough":         {status(old, old, "Unknown", "Progressing"), "--for applied", 0, "applied 1111111"},
		"unhealthy":                 {status(old, old, "False", "HealthCheckFailed"), "", waitRefused, "says HealthCheckFailed"},
		"mistakes":                  {status(old, newer, "False", "ValidationFailed", v1alpha1.Problem{Message: "x"}), "--commit 2222222", waitRefused, "says ValidationFailed"},
		"the commit":                {status(newer, newer, "True", "ReconciliationSucceeded"), "--commit 22222222", 0, "applied 2222222"},
		"a commit that was applied": {status(newer, newer, "True", "ReconciliationSucceeded"), "--commit 1111111", 0, "applied 1111111, and is at 2222222 now"},
		"a commit to come":          {status(old, old, "True", "ReconciliationSucceeded"), "--commit 3333333 --timeout 1s", waitTimeout, "waits for commit 3333333 to arrive"},
		"a strange commit":          {status(old, old, "True", "ReconciliationSucceeded"), "--commit HEAD", 2, "at least seven digits"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, c := oneApplication(t, c.status, old), c
			_, errOut, err := run(t, server, strings.Fields("wait app "+c.args)...)
			code := 0
			var coded interface{ ExitCode() int }
			if errors.As(err, &coded) {
				code = coded.ExitCode()
			}
			if text := errOut + fmt.Sprint(err); code != c.code || !strings.Contains(text, c.says) {
				t.Errorf("ends with %d and says %s", code, text)
			}
		})
	}
}

// oneApplication serves an application with a status, and a record of a commit.
func oneApplication(t *testing.T, status v1alpha1.ApplicationStatus, recorded string) string {
	t.Helper()
	c := statetest.New(t)
	app := &v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Namespace: "slipway", Name: "app"}, Spec: v1alpha1.ApplicationSpec{SourceRef: v1alpha1.SourceReference{Name: "root"}}}
	record := &v1alpha1.Record{ObjectMeta: metav1.ObjectMeta{Namespace: "slipway", Name: "app-1"}, Spec: v1alpha1.RecordSpec{
		Application: "app", Commit: recorded, Outcome: "Applied", Started: metav1.NewTime(time.Now()),
	}}
	repository := &v1alpha1.GitRepository{ObjectMeta: metav1.ObjectMeta{Namespace: "slipway", Name: "root"}, Spec: v1alpha1.GitRepositorySpec{URL: "https://git.example.com/root"}}
	for _, o := range []client.Object{app, record, repository} {
		if err := c.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	app.Status = status
	if err := c.Status().Update(t.Context(), app); err != nil {
		t.Fatal(err)
	}
	return dashboardtest.Serve(t, c, dashboard.Options{})
}

func find(t *testing.T, c client.Client, project, name string) client.Object {
	t.Helper()
	dc := &appsv1.DeploymentConfig{}
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: project, Name: name}, dc); err != nil {
		t.Fatal(err)
	}
	return dc
}

func TestStatusShowsWhatWaitsAndWhatIsNotInGit(t *testing.T) {
	t.Parallel()
	server := oneApplication(t, v1alpha1.ApplicationStatus{
		Waiting:   &v1alpha1.WaitingPlan{Commit: "1111111111", Reason: "Brakes", Message: "of its plan\nmore", Since: metav1.Now()},
		Overrides: []string{"shop/service/web until tomorrow by Ada: trial"}, Drift: []string{"shop/configmap/a"}, Orphans: []string{"shop/pod/x"},
	}, "1111111")
	out, errOut, err := run(t, server, "status")
	if err != nil {
		t.Fatalf("%v\n%s", err, errOut)
	}
	for _, want := range []string{"Brakes", "of its plan\n", "override: shop/service/web until tomorrow by Ada: trial", "drift: shop/configmap/a", "orphan: shop/pod/x"} {
		if !strings.Contains(out, want) {
			t.Errorf("want %q in\n%s", want, out)
		}
	}
}
