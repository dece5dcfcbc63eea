package gate_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/reconciler/gate"
)

func effects(deleted, restarted int) []gate.Effect {
	var out []gate.Effect
	for i := range deleted {
		out = append(out, gate.Effect{Object: fmt.Sprint("shop/configmap/c", i), Kind: "ConfigMap", Deletes: true})
	}
	for i := range restarted {
		out = append(out, gate.Effect{Object: fmt.Sprint("shop/deploymentconfig/d", i), Kind: "DeploymentConfig", Restarts: true})
	}
	return out
}

func pointer(n int32) *int32 { return &n }

func TestBrakes(t *testing.T) {
	t.Parallel()
	claim := gate.Effect{Object: "shop/persistentvolumeclaim/db", Kind: "PersistentVolumeClaim", Deletes: true}
	for name, c := range map[string]struct {
		brakes *v1alpha1.Brakes
		loss   gate.Loss
		want   string
	}{
		"nothing":                         {nil, gate.Loss{Live: 10}, ""},
		"few of few":                      {nil, gate.Loss{effects(3, 0), 3}, ""},
		"many of very many":               {nil, gate.Loss{effects(30, 0), 100}, ""},
		"more than both":                  {nil, gate.Loss{effects(31, 0), 100}, "deletes 31 of 100 objects (31 %), which is more than 3 and more than 30 %"},
		"one more than three":             {nil, gate.Loss{effects(4, 0), 4}, "deletes 4 of 4"},
		"restarts count":                  {nil, gate.Loss{effects(0, 4), 10}, "restarts 4 of 10"},
		"both are added":                  {nil, gate.Loss{effects(2, 2), 10}, "deletes 2 and restarts 2 of 10"},
		"exactly 30 % passes":             {nil, gate.Loss{effects(6, 0), 20}, ""},
		"just above 30 %":                 {nil, gate.Loss{effects(6, 0), 19}, "deletes 6 of 19"},
		"a claim always":                  {nil, gate.Loss{[]gate.Effect{claim}, 1000}, "deletes shop/persistentvolumeclaim/db"},
		"a claim that is changed":         {nil, gate.Loss{[]gate.Effect{{Kind: "PersistentVolumeClaim"}}, 1}, ""},
		"a project always":                {&v1alpha1.Brakes{Percent: pointer(100)}, gate.Loss{[]gate.Effect{{Object: "project/shop", Kind: "Project", Deletes: true}}, 9}, "deletes project/shop"},
		"disabled":                        {&v1alpha1.Brakes{Disabled: true}, gate.Loss{[]gate.Effect{claim}, 1}, ""},
		"none allowed":                    {&v1alpha1.Brakes{Percent: pointer(0), Objects: pointer(0)}, gate.Loss{effects(1, 0), 1000}, "deletes 1 of 1000"},
		"only the objects are set":        {&v1alpha1.Brakes{Objects: pointer(10)}, gate.Loss{effects(10, 0), 10}, ""},
		"nothing is owned, yet restarted": {nil, gate.Loss{effects(0, 4), 0}, "restarts 4 of 0"},
	} {
		got := gate.Braked(c.brakes, c.loss)
		if (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestApprovals(t *testing.T) {
	t.Parallel()
	const digest = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	for message, want := range map[string]bool{
		"Approve\n\nSlipway-Approve: 0123456789ab":                                         true,
		"Approve\n\nslipway-approve: 0123456789AB\n":                                       true,
		"Approve\n\nSlipway-Approve: " + digest:                                            true,
		"Approve\n\nwhy\n\nSlipway-Approve: ffffffffffff\nSlipway-Approve: " + digest[:20]: true,
		"Approve\n\nSlipway-Approve: 0123456789a":                                          false, // too short
		"Approve\n\nSlipway-Approve: 0123456789ac":                                         false,
		"Approve\n\nSlipway-Approve: " + digest + "0":                                      false,
		"Approve\n\nSlipway-Approve: 0123456789ab cd":                                      false,
		"Slipway-Approve: 0123456789ab":                                                    false, // the title
		"Approve\n\nSlipway-Approve: 0123456789ab\n\nThat was all.":                        false, // not last
		"Approve\n\nplease note\nSlipway-Approve: 0123456789ab":                            false, // prose beside it
		"Approve\n\nwould be Slipway-Approve: 0123456789ab":                                false,
	} {
		if gate.Approves(message, digest) != want {
			t.Errorf("%q: want %v", message, want)
		}
	}
	commits := []api.Commit{
		{Hash: "c", Author: "Cy", Message: "no"}, {Hash: "b", Author: "Bo", Message: "x\n\nSlipway-Approve: 0123456789ab"},
		{Hash: "a", Author: "Al", Message: "x\n\nSlipway-Approve: 0123456789ab"},
	}
	if by, ok := gate.Approval(commits, digest); !ok || by.Author != "Bo" {
		t.Errorf("approved by %+v, %v", by, ok)
	}
	if by, ok := gate.Approval(commits, "f"+digest[1:]); ok {
		t.Errorf("another digest is approved by %+v", by)
	}
}

func TestRollbacksNameWhereTo(t *testing.T) {
	t.Parallel()
	bad, good := strings.Repeat("a", 40), strings.Repeat("b", 40)
	for message, want := range map[string]string{
		"x\n\nSlipway-Rollback: " + bad + ".." + good: good,
		"x\n\nSlipway-Rollback: yes":                  "",
		"x\n\nSlipway-Rollback: " + bad:               "",
		"x\n\nSlipway-Rollback: " + bad + "..main":    "",
	} {
		if got := gate.RollsBackTo(message); got != want {
			t.Errorf("%q: %q", message, got)
		}
	}
}

func at(t *testing.T, s string) time.Time {
	t.Helper()
	out, err := time.Parse("2006-01-02 15:04", s)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func window(kind v1alpha1.WindowKind, schedule string, d time.Duration, zone string) v1alpha1.Window {
	return v1alpha1.Window{Kind: kind, Schedule: schedule, Duration: metav1.Duration{Duration: d}, TimeZone: zone}
}

func TestWindows(t *testing.T) {
	t.Parallel()
	const allow, deny = v1alpha1.WindowAllow, v1alpha1.WindowDeny
	night := window(allow, "0 22 * * *", 4*time.Hour, "")
	freeze := window(deny, "0 0 24 12 *", 9*24*time.Hour, "")
	never := window(allow, "0 0 30 2 *", time.Hour, "")
	zurich := "Europe/Zurich" // leaps from 2 to 3 on 2026-03-29, back from 3 to 2 on 2026-10-25
	for name, c := range map[string]struct {
		windows []v1alpha1.Window
		at      string
		// until is when a closed time ends; "-": never; empty: it is open.
		until string
	}{
		"none":                                  {nil, "2026-05-01 12:00", ""},
		"before the allowed time":               {[]v1alpha1.Window{night}, "2026-05-01 21:59", "2026-05-01 22:00"},
		"at its beginning":                      {[]v1alpha1.Window{night}, "2026-05-01 22:00", ""},
		"past midnight":                         {[]v1alpha1.Window{night}, "2026-05-02 01:59", ""},
		"at its end":                            {[]v1alpha1.Window{night}, "2026-05-02 02:00", "2026-05-02 22:00"},
		"outside of a denied time":              {[]v1alpha1.Window{freeze}, "2026-12-23 23:59", ""},
		"inside of a denied time":               {[]v1alpha1.Window{freeze}, "2026-12-31 12:00", "2027-01-02 00:00"},
		"deny beats allow":                      {[]v1alpha1.Window{night, freeze}, "2026-12-24 23:00", "2027-01-02 00:00"},
		"denied, then not allowed yet":          {[]v1alpha1.Window{window(allow, "0 22 * * *", time.Hour, ""), freeze}, "2026-12-24 12:00", "2027-01-02 22:00"},
		"two that allow":                        {[]v1alpha1.Window{night, window(allow, "0 12 * * *", time.Hour, "")}, "2026-05-01 12:30", ""},
		"the sooner of two":                     {[]v1alpha1.Window{night, window(allow, "0 12 * * *", time.Hour, "")}, "2026-05-01 11:30", "2026-05-01 12:00"},
		"allowed never":                         {[]v1alpha1.Window{never}, "2026-05-01 12:00", "-"},
		"denied for ever, by overlapping":       {[]v1alpha1.Window{window(deny, "0 * * * *", 2*time.Hour, "")}, "2026-05-01 12:00", "-"},
		"denied by two that touch":              {[]v1alpha1.Window{window(deny, "0 1 * * *", time.Hour, ""), window(deny, "0 2 * * *", time.Hour, "")}, "2026-05-01 01:30", "2026-05-01 03:00"},
		"by the clock of its zone, in summer":   {[]v1alpha1.Window{window(allow, "0 9 * * *", time.Hour, zurich)}, "2026-07-01 06:00", "2026-07-01 07:00"},
		"by the clock of its zone, in winter":   {[]v1alpha1.Window{window(allow, "0 9 * * *", time.Hour, zurich)}, "2026-01-01 06:00", "2026-01-01 08:00"},
		"an hour that the clock leaps over":     {[]v1alpha1.Window{window(deny, "30 2 * * *", 2*time.Hour, zurich)}, "2026-03-29 01:30", "2026-03-29 03:00"},
		"before that hour":                      {[]v1alpha1.Window{window(deny, "30 2 * * *", 2*time.Hour, zurich)}, "2026-03-29 00:59", ""},
		"waits for the hour leapt over":         {[]v1alpha1.Window{window(allow, "30 2 * * *", 2*time.Hour, zurich)}, "2026-03-29 00:00", "2026-03-29 01:00"},
		"another schedule at the leap":          {[]v1alpha1.Window{window(deny, "30 4 * * *", time.Hour, zurich)}, "2026-03-29 01:10", ""},
		"an hour that the clock has twice":      {[]v1alpha1.Window{window(deny, "30 2 * * *", 10*time.Minute, zurich)}, "2026-10-25 00:35", "2026-10-25 00:40"},
		"and its repetition":                    {[]v1alpha1.Window{window(deny, "30 2 * * *", 10*time.Minute, zurich)}, "2026-10-25 01:35", "2026-10-25 01:40"},
		"a span across the leap keeps its time": {[]v1alpha1.Window{window(deny, "0 1 * * *", 3*time.Hour, zurich)}, "2026-03-29 02:59", "2026-03-29 03:00"},
	} {
		why, until, err := gate.Closed(c.windows, at(t, c.at))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := ""
		if why != "" {
			got = "-"
			if !until.IsZero() {
				got = until.UTC().Format("2006-01-02 15:04")
			}
		}
		if got != c.until {
			t.Errorf("%s: closed until %q (%s), want %q", name, got, why, c.until)
		}
	}
	if _, _, err := gate.Closed([]v1alpha1.Window{window(allow, "nonsense", time.Hour, "")}, time.Now()); err == nil {
		t.Error("a schedule that is none is taken")
	}
}

// TestClosedUntilIsTheVeryTime: a minute before it is still closed, at the time it is open.
func TestClosedUntilIsTheVeryTime(t *testing.T) {
	t.Parallel()
	windows := []v1alpha1.Window{
		window(v1alpha1.WindowAllow, "15 9,14 * * 1-5", 90*time.Minute, "America/New_York"),
		window(v1alpha1.WindowDeny, "0 10 * * 3", 6*time.Hour, "Europe/Zurich"),
	}
	for now := at(t, "2026-10-20 00:00"); now.Before(at(t, "2026-11-20 00:00")); now = now.Add(37 * time.Minute) {
		why, until, err := gate.Closed(windows, now)
		if err != nil {
			t.Fatal(err)
		}
		if why == "" {
			continue
		}
		if again, _, _ := gate.Closed(windows, until.Add(-time.Minute)); again == "" {
			t.Errorf("at %s it is closed until %s, but open a minute before", now, until)
		}
		if again, _, _ := gate.Closed(windows, until); again != "" {
			t.Errorf("at %s it is closed until %s, but then still: %s", now, until, again)
		}
	}
}

func TestHolds(t *testing.T) {
	t.Parallel()
	now := at(t, "2026-05-01 12:00")
	past, soon := metav1.NewTime(now), metav1.NewTime(now.Add(time.Hour))
	active, until := gate.Active([]v1alpha1.Hold{
		{At: "a", Until: &past}, {At: "b", Until: &soon}, {At: "c"}, {Commit: "d"}, {Digest: "sha256:e"},
	}, now)
	if len(active) != 4 || !until.Equal(soon.Time) {
		t.Fatalf("%+v until %s", active, until)
	}
	if h, ok := gate.At(active); !ok || h.At != "b" {
		t.Errorf("at %+v", h)
	}
	if bad := gate.Bad(active); len(bad) != 1 || bad[0].Commit != "d" {
		t.Errorf("bad %+v", bad)
	}
	_, object, held := gate.BadImage(active, func(digest string) (string, bool) { return "shop/dc", digest == "sha256:e" })
	if !held || object != "shop/dc" {
		t.Errorf("image: %v %q", held, object)
	}
	object1 := map[string]any{"spec": map[string]any{"tags": []any{map[string]any{"from": "127.0.0.1:7081/a/b@sha256:e"}}}}
	if !gate.Names(object1, "sha256:e") || gate.Names(object1, "sha256:f") {
		t.Error("names")
	}
}

func TestSuspended(t *testing.T) {
	t.Parallel()
	now := at(t, "2026-05-01 12:00")
	later, past := metav1.NewTime(now.Add(time.Minute)), metav1.NewTime(now)
	for _, c := range []struct {
		suspend bool
		until   *metav1.Time
		yes     bool
		left    time.Duration
	}{{false, nil, false, 0}, {true, nil, true, 0}, {true, &later, true, 0}, {false, &later, true, time.Minute}, {false, &past, false, 0}} {
		if yes, left := gate.Suspended(c.suspend, c.until, now); yes != c.yes || left != c.left {
			t.Errorf("%+v: %v %s", c, yes, left)
		}
	}
	if d := gate.Soonest(now, time.Hour, time.Time{}, now, now.Add(-time.Hour), later.Time, now.Add(2*time.Hour)); d != time.Minute {
		t.Errorf("soonest in %s", d)
	}
}
