package reconciler_test

import (
	"strings"
	"testing"
)

const migration = `apiVersion: batch/v1
kind: Job
metadata: {name: migrate, namespace: pp, annotations: {slipway.dev/force: enabled}}
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{name: c, image: "example.com/web:1"}]
`

const nightly = `apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly, namespace: pp}
spec:
  schedule: "0 3 * * *"
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          containers: [{name: c, image: "example.com/web:1"}]
`

func TestThePlanSaysWhatJobsDo(t *testing.T) {
	w := newWorld(t, map[string]string{"job.yaml": migration, "cron.yaml": nightly})
	w.applied("root", "c1")
	for name, c := range map[string]struct {
		files map[string]string
		want  []string
		never string
	}{
		"another": {map[string]string{"job.yaml": migration, "cron.yaml": nightly, "b.yaml": strings.Replace(migration, "migrate", "seed", 1)},
			[]string{"runs job seed"}, "job migrate"},
		"suspended": {map[string]string{"job.yaml": migration, "cron.yaml": nightly, "b.yaml": strings.NewReplacer("migrate", "seed", "spec:\n  template", "spec:\n  suspend: true\n  template").Replace(migration)},
			nil, "runs job"},
		"changed": {map[string]string{"job.yaml": strings.Replace(migration, "web:1", "web:2", 1), "cron.yaml": nightly},
			[]string{"± pp/job/migrate", "deletes job migrate with its pods, and runs it anew"}, "nightly"},
		"gone": {map[string]string{"cm.yaml": inProject(config("a", "1"))},
			[]string{"deletes job migrate with its pods", "deletes the jobs of cron job nightly, those that run too"}, "anew"},
	} {
		text := w.preview(c.files)
		for _, want := range c.want {
			if !strings.Contains(text, want) {
				t.Errorf("%s: does not say %q:\n%s", name, want, text)
			}
		}
		if strings.Contains(text, c.never) {
			t.Errorf("%s: says %q:\n%s", name, c.never, text)
		}
	}
}
