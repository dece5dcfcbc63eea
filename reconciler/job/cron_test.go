package job

import (
	"fmt"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slipway.dev/slipway/api"
)

// newCron was made an hour before noon.
func newCron(schedule string, edit ...func(*batchv1.CronJob)) *batchv1.CronJob {
	c := &batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Name: "night", Namespace: "shop", UID: "c1", CreationTimestamp: *at(noon.Add(-time.Hour))}}
	c.Spec.Schedule = schedule
	for _, e := range edit {
		e(c)
	}
	api.Default(c)
	return c
}

func last(t time.Time) func(*batchv1.CronJob) {
	return func(c *batchv1.CronJob) { c.Status.LastScheduleTime = at(t) }
}

func policy(p batchv1.ConcurrencyPolicy) func(*batchv1.CronJob) {
	return func(c *batchv1.CronJob) { c.Spec.ConcurrencyPolicy = p }
}

func within(seconds int64) func(*batchv1.CronJob) {
	return func(c *batchv1.CronJob) { c.Spec.StartingDeadlineSeconds = &seconds }
}

func zone(name string) func(*batchv1.CronJob) {
	return func(c *batchv1.CronJob) { c.Spec.TimeZone = &name }
}

// run is one of a CronJob's, made so many minutes before noon.
func run(name string, minutes int, kind batchv1.JobConditionType) *batchv1.Job {
	j := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: *at(noon.Add(-time.Duration(minutes) * time.Minute))}}
	if kind != "" {
		with(kind, "x")(j)
		j.Status.CompletionTime = at(noon.Add(-time.Duration(minutes) * time.Minute))
	}
	return j
}

func cronText(d CronDecision) string {
	var words []string
	if !d.Start.IsZero() {
		words = append(words, "start="+d.Start.UTC().Format("02T15:04:05"))
	}
	for verb, all := range map[string][]*batchv1.Job{"stop": d.Stop, "remove": d.Remove} {
		for _, j := range all {
			words = append(words, verb+"="+j.Name)
		}
	}
	for _, a := range d.Status.Active {
		words = append(words, "active="+a.Name)
	}
	for _, n := range d.notes {
		words = append(words, n.reason)
	}
	if d.After > 0 {
		words = append(words, "after="+(d.After-time.Millisecond).String())
	}
	return strings.Join(words, " ")
}

func TestDecideCron(t *testing.T) {
	t.Parallel()
	now := noon.Add(30 * time.Second)
	own := fmt.Sprintf("night-%d", noon.Unix()/60)
	suspend := func(c *batchv1.CronJob) { yes := true; c.Spec.Suspend = &yes }
	history := func(well, ill int32) func(*batchv1.CronJob) {
		return func(c *batchv1.CronJob) {
			c.Spec.SuccessfulJobsHistoryLimit, c.Spec.FailedJobsHistoryLimit = &well, &ill
		}
	}
	newYork := func(c *batchv1.CronJob) {
		zone("America/New_York")(c)
		c.CreationTimestamp = *at(noon.Add(-24 * time.Hour))
	}
	for name, c := range map[string]struct {
		cron *batchv1.CronJob
		runs []*batchv1.Job
		want string
	}{
		"the last of the missed ones":        {newCron("*/10 * * * *"), nil, "start=01T12:00:00 after=9m30s"},
		"none is due":                        {newCron("*/10 * * * *", last(noon)), nil, "after=9m30s"},
		"one is due":                         {newCron("0 12 * * *", last(noon.Add(-24*time.Hour))), nil, "start=01T12:00:00 after=23h59m30s"},
		"none since it was made":             {newCron("0 10 * * *"), nil, "after=21h59m30s"},
		"suspended":                          {newCron("* * * * *", suspend), nil, ""},
		"too late":                           {newCron("0 12 * * *", within(29)), nil, "after=23h59m30s"},
		"just in time":                       {newCron("0 12 * * *", within(30)), nil, "start=01T12:00:00 after=23h59m30s"},
		"a hundred missed are still silent":  {newCron("* * * * *", last(noon.Add(-100*time.Minute))), nil, "start=01T12:00:00 after=30s"},
		"more are told, and the last is run": {newCron("* * * * *", last(noon.Add(-1000*time.Minute))), nil, "start=01T12:00:00 TooManyMissedTimes after=30s"},
		"a deadline bounds what was missed":  {newCron("* * * * *", last(noon.Add(-1000*time.Minute)), within(600)), nil, "start=01T12:00:00 after=30s"},
		"in another time zone":               {newCron("0 7 * * *", newYork), nil, "start=01T12:00:00 after=23h59m30s"},
		"every so often":                     {newCron("@every 7m", last(noon.Add(-20*time.Minute))), nil, "start=01T11:54:00 after=7m0s"},
		"never":                              {newCron("0 0 31 2 *"), nil, ""},

		"others may run beside it":   {newCron("0 12 * * *"), []*batchv1.Job{run("night-1", 60, "")}, "start=01T12:00:00 active=night-1 after=23h59m30s"},
		"no other may run":           {newCron("0 12 * * *", policy("Forbid")), []*batchv1.Job{run("night-1", 60, "")}, "active=night-1 JobAlreadyActive after=23h59m30s"},
		"it waits no longer":         {newCron("0 12 * * *", policy("Forbid")), []*batchv1.Job{run("night-1", 60, "Complete")}, "start=01T12:00:00 after=23h59m30s"},
		"it replaces the other":      {newCron("0 12 * * *", policy("Replace")), []*batchv1.Job{run("night-1", 60, "")}, "start=01T12:00:00 stop=night-1 active=night-1 after=23h59m30s"},
		"started, not yet noted":     {newCron("0 12 * * *", policy("Forbid")), []*batchv1.Job{run(own, 0, "")}, "start=01T12:00:00 active=" + own + " after=23h59m30s"},
		"it does not replace itself": {newCron("0 12 * * *", policy("Replace")), []*batchv1.Job{run(own, 0, "")}, "start=01T12:00:00 active=" + own + " after=23h59m30s"},
		"history beyond its limits":  {newCron("0 12 * * *", last(noon), history(1, 0)), []*batchv1.Job{run("a", 3, "Complete"), run("b", 2, "Complete"), run("c", 1, "Failed")}, "remove=a remove=c after=23h59m30s"},
		"history is kept as Kubernetes does": {newCron("0 12 * * *", last(noon)), []*batchv1.Job{
			run("a", 5, "Complete"), run("b", 4, "Complete"), run("c", 3, "Complete"), run("d", 2, "Complete"), run("e", 1, "Failed"), run("f", 0, "Failed")},
			"remove=a remove=e after=23h59m30s"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := cronText(DecideCron(c.cron, c.runs, now)); !sameWords(got, c.want) {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// What finds the last of very many finds the same as going through all of them.
func TestTheLastOfManyMissedRuns(t *testing.T) {
	t.Parallel()
	for _, schedule := range []string{"* * * * *", "*/7 3-5 * * *", "0 0 1 * *", "30 2 29 2 *", "0 12 * * MON"} {
		s, err := api.ParseSchedule(schedule)
		if err != nil {
			t.Fatal(err)
		}
		since := noon.AddDate(-1, 0, 0)
		var want time.Time
		for at := s.Next(since); !at.IsZero() && !at.After(noon); at = s.Next(at) {
			want = at
		}
		if got := latest(s, since, noon); !got.Equal(want) {
			t.Errorf("%s: %v, want %v", schedule, got, want)
		}
	}
}

func TestLastSuccess(t *testing.T) {
	t.Parallel()
	d := DecideCron(newCron("0 12 * * *"), []*batchv1.Job{run("a", 3, "Complete"), run("b", 2, "Complete"), run("c", 1, "Failed")}, noon)
	if got := d.Status.LastSuccessfulTime; got == nil || !got.Equal(at(noon.Add(-2*time.Minute))) {
		t.Errorf("last success: %v", got)
	}
}
