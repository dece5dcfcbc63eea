package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const volumeAndClaim = `apiVersion: v1
kind: PersistentVolume
metadata: { name: ledger }
spec:
  capacity: { storage: 1Gi }
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Recycle
  hostPath: { path: PATH }
`

const jobsOfAProject = `apiVersion: v1
kind: PersistentVolumeClaim
metadata: { name: data }
spec:
  accessModes: [ReadWriteOnce]
  resources: { requests: { storage: 500Mi } }
---
apiVersion: batch/v1
kind: Job
metadata:
  name: migrate
  annotations: { slipway.dev/force: enabled }
spec:
  template:
    spec:
      restartPolicy: Never
      containers:
        - name: migrate
          image: IMAGE
          command: [sh, -c, "echo COMMIT >> /data/migrations; echo migrated"]
          volumeMounts: [{ name: data, mountPath: /data }]
      volumes:
        - name: data
          persistentVolumeClaim: { claimName: data }
---
apiVersion: batch/v1
kind: CronJob
metadata: { name: tick }
spec:
  schedule: "@every 1s"
  concurrencyPolicy: Forbid
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: OnFailure
          containers:
            - { name: tick, image: IMAGE, command: [sh, -c, echo tick] }
`

// TestJobs is a migration that keeps what it did on a claim, a nightly job in a hurry, the
// migration's next version, and the end of all of it.
func TestJobs(t *testing.T) {
	t.Parallel()
	u := newUp(t)
	disk := filepath.Join(u.dir, "disk")
	project := func(commit string) string {
		return strings.NewReplacer("IMAGE", u.image, "COMMIT", commit).Replace(jobsOfAProject)
	}
	repo := newRepository(t, filepath.Join(u.dir, "config"), map[string]string{
		"cluster/volumes.yaml": strings.Replace(volumeAndClaim, "PATH", disk, 1), "projects/shop/jobs.yaml": project("first"),
		"projects/shop/settings.yaml": settingsMap("settings", "1"),
	})
	u.args = append(u.args, "--repo", fileURL(repo.dir))
	u.start()
	migrations := func(want string) {
		t.Helper()
		eventually(t, "the migrations on disk", func() error {
			b, err := os.ReadFile(filepath.Join(disk, "migrations"))
			if err == nil && string(b) != want {
				err = fmt.Errorf("%q, want %q", b, want)
			}
			return err
		})
	}
	u.says("get jobs migrate -n shop", "Complete", "1/1")
	migrations("first\n")
	u.says("get pv,pvc -A", "Bound", "shop/data", "ledger")
	pod := strings.TrimSpace(u.says("get pods -n shop -l job-name=migrate -o name", "pod/migrate-"))
	u.says("logs "+pod+" -n shop", "migrated")
	u.says("get cronjobs tick -n shop -o jsonpath={.status.lastSuccessfulTime}", "T")
	u.says("get jobs -n shop", "tick-", "Complete")

	// A Job runs once: a commit that does not change it does not run it again, a changed one does.
	repo.commit(map[string]string{"projects/shop/settings.yaml": settingsMap("settings", "2")})
	u.hook()
	u.says("get configmap settings -n shop -o jsonpath={.data.v}", "2")
	migrations("first\n")
	repo.commit(map[string]string{"projects/shop/jobs.yaml": project("second")})
	u.hook()
	migrations("first\nsecond\n")
	u.says("get application shop -n slipway -o jsonpath={.status.lastAppliedCommit}", repo.git("rev-parse", "HEAD"))

	// The claim goes with an approval; then its volume is emptied, for the next one.
	content := project("second")
	repo.commit(map[string]string{"projects/shop/jobs.yaml": content[strings.Index(content, "kind: CronJob")-len("apiVersion: batch/v1\n"):]})
	u.hook()
	trailer := ""
	eventually(t, "the plan waits for an approval", func() error {
		res := u.runs("plan", "shop")
		_, after, found := strings.Cut(res.out, "Slipway-Approve: ")
		if !found {
			return errors.New(res.String())
		}
		trailer = "Slipway-Approve: " + strings.Fields(after)[0]
		return nil
	})
	repo.git("commit", "-q", "--allow-empty", "-m", "Let it go", "-m", trailer)
	u.hook()
	u.says("get pv ledger -o jsonpath={.status.phase}", "Available")
	eventually(t, "the volume is empty", func() error {
		left, err := os.ReadDir(disk)
		if err == nil && len(left) > 0 {
			err = errors.New(left[0].Name() + " is left")
		}
		return err
	})
}
