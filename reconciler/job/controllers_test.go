package job_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/reconciler/job"
	"slipway.dev/slipway/state"
	"slipway.dev/slipway/state/statetest"
)

func start(t *testing.T, c *state.Client, d job.Deps) {
	t.Helper()
	d.Events = statetest.Silent{}
	if d.Client == nil {
		d.Client = c
	}
	statetest.Run(t, c, job.Controllers(d)...)
}

func template() corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{Spec: corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "c", Image: "busybox"}}}}
}

func newJob(name string, completions, parallelism int32) *batchv1.Job {
	return &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop"}, Spec: batchv1.JobSpec{Completions: &completions, Parallelism: &parallelism, Template: template()}}
}

func podsOf(t *testing.T, c client.Client) []corev1.Pod {
	t.Helper()
	var list corev1.PodList
	statetest.Must(t, c.List(t.Context(), &list, client.InNamespace("shop")))
	return list.Items
}

// end has every pod end, as a node would.
func end(t *testing.T, c client.Client, phase corev1.PodPhase) {
	t.Helper()
	for _, p := range podsOf(t, c) {
		if p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed {
			p.Status.Phase = phase
			if err := c.Status().Update(t.Context(), &p); !apierrors.IsConflict(err) && client.IgnoreNotFound(err) != nil {
				t.Fatal(err)
			}
		}
	}
}

func is(j *batchv1.Job, kind batchv1.JobConditionType) bool {
	for _, c := range j.Status.Conditions {
		if c.Type == kind && c.Status == corev1.ConditionTrue {
			return true
		}
	}
	return false
}

func get(t *testing.T, c client.Client, name string) *batchv1.Job {
	t.Helper()
	var j batchv1.Job
	statetest.Must(t, c.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: name}, &j))
	return &j
}

// TestPodsAreCountedOnceWhereverItDies runs Jobs with servers side by side that die in the middle
// of everything: each completion takes one pod, and each pod is counted once.
func TestPodsAreCountedOnceWhereverItDies(t *testing.T) {
	t.Parallel()
	c, ctx := statetest.New(t), t.Context()
	for seed := range int64(2) {
		start(t, c, job.Deps{Client: statetest.NewFlaky(c, seed)})
	}
	plain, indexed := newJob("plain", 12, 4), newJob("indexed", 12, 4)
	mode := batchv1.IndexedCompletion
	indexed.Spec.CompletionMode = &mode
	statetest.Must(t, c.Create(ctx, plain))
	statetest.Must(t, c.Create(ctx, indexed))
	statetest.Eventually(t, "both are complete", func() bool {
		end(t, c, corev1.PodSucceeded)
		return is(get(t, c, "plain"), batchv1.JobComplete) && is(get(t, c, "indexed"), batchv1.JobComplete)
	})
	for _, name := range []string{"plain", "indexed"} {
		if s := get(t, c, name).Status; s.Succeeded != 12 || s.Failed != 0 || s.Active != 0 || s.CompletionTime == nil {
			t.Errorf("%s: %+v", name, s)
		}
	}
	if s := get(t, c, "indexed").Status.CompletedIndexes; s != "0-11" {
		t.Errorf("indexes %q", s)
	}
	pods := podsOf(t, c)
	if len(pods) != 24 {
		t.Errorf("%d pods were made, not 24", len(pods))
	}
	statetest.Eventually(t, "no pod is held back", func() bool {
		for _, p := range podsOf(t, c) {
			if len(p.Finalizers) > 0 {
				return false
			}
		}
		return true
	})
}

func TestFailuresEndAJob(t *testing.T) {
	t.Parallel()
	c, ctx, time0 := statetest.New(t), t.Context(), statetest.NewClock(time.Now())
	start(t, c, job.Deps{Clock: time0.Now})
	j := newJob("work", 1, 1)
	limit := int32(2)
	j.Spec.BackoffLimit = &limit
	statetest.Must(t, c.Create(ctx, j))
	statetest.Eventually(t, "given up", func() bool {
		end(t, c, corev1.PodFailed)
		time0.Move(time.Minute) // its back-off is over
		j := get(t, c, "work")
		j.Annotations = map[string]string{"woken": time0.Now().String()}
		if err := c.Update(ctx, j); err != nil && !apierrors.IsConflict(err) {
			t.Fatal(err)
		}
		return is(j, batchv1.JobFailed)
	})
	if j := get(t, c, "work"); j.Status.Failed != 3 || len(podsOf(t, c)) != 3 || j.Status.CompletionTime != nil {
		t.Errorf("%+v, %d pods", j.Status, len(podsOf(t, c)))
	}
}

func TestPodsOfAJobThatIsGoneAreLetGo(t *testing.T) {
	t.Parallel()
	c, ctx := statetest.New(t), t.Context()
	start(t, c, job.Deps{})
	statetest.Must(t, c.Create(ctx, newJob("work", 2, 2)))
	statetest.Eventually(t, "it has pods", func() bool { return len(podsOf(t, c)) == 2 })
	statetest.Must(t, c.Delete(ctx, get(t, c, "work")))
	statetest.Eventually(t, "nothing holds its pods back", func() bool {
		for _, p := range podsOf(t, c) {
			if len(p.Finalizers) > 0 {
				return false
			}
		}
		return true
	})
}

func TestSuspendedJobsHaveNoPods(t *testing.T) {
	t.Parallel()
	c, ctx := statetest.New(t), t.Context()
	start(t, c, job.Deps{})
	statetest.Must(t, c.Create(ctx, newJob("work", 1, 1)))
	statetest.Eventually(t, "it runs", func() bool { return len(podsOf(t, c)) == 1 })
	suspend := func(yes bool) {
		statetest.Eventually(t, "its spec is changed", func() bool {
			j := get(t, c, "work")
			j.Spec.Suspend = &yes
			return c.Update(ctx, j) == nil
		})
	}
	suspend(true)
	statetest.Eventually(t, "it is suspended", func() bool { return len(podsOf(t, c)) == 0 && is(get(t, c, "work"), batchv1.JobSuspended) })
	if s := get(t, c, "work").Status; s.Failed != 0 {
		t.Errorf("%d failures", s.Failed)
	}
	suspend(false)
	statetest.Eventually(t, "it goes on", func() bool { return len(podsOf(t, c)) == 1 && !is(get(t, c, "work"), batchv1.JobSuspended) })
}

func TestTimeToLive(t *testing.T) {
	t.Parallel()
	c, ctx := statetest.New(t), t.Context()
	start(t, c, job.Deps{})
	now := int32(0)
	owned, git := newJob("owned", 1, 1), newJob("git", 1, 1)
	owned.Spec.TTLSecondsAfterFinished, git.Spec.TTLSecondsAfterFinished = &now, &now
	cron := newCron("night", "0 0 1 1 *")
	statetest.Must(t, c.Create(ctx, cron))
	owned.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(cron, batchv1.SchemeGroupVersion.WithKind("CronJob"))}
	statetest.Must(t, c.Create(ctx, owned))
	statetest.Must(t, c.Create(ctx, git))
	statetest.Eventually(t, "one is gone, of the other its pods", func() bool {
		end(t, c, corev1.PodSucceeded)
		err := c.Get(ctx, client.ObjectKeyFromObject(owned), &batchv1.Job{})
		left := 0
		for _, p := range podsOf(t, c) {
			if strings.HasPrefix(p.Name, "git-") && p.DeletionTimestamp == nil {
				left++
			}
		}
		return apierrors.IsNotFound(err) && is(get(t, c, "git"), batchv1.JobComplete) && left == 0
	})
}

func newCron(name, schedule string) *batchv1.CronJob {
	return &batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop"}, Spec: batchv1.CronJobSpec{Schedule: schedule, JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: template()}}}}
}

// counting counts the runs that were made, by name.
type counting struct {
	client.Client
	mu   sync.Mutex
	made map[string]int
}

func (c *counting) Create(ctx context.Context, o client.Object, opts ...client.CreateOption) error {
	err := c.Client.Create(ctx, o, opts...)
	if _, ok := o.(*batchv1.Job); ok && err == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.made[o.GetName()]++
	}
	return err
}

// TestNoRunIsStartedTwice has two servers, which die in the middle of everything, start the runs of
// minutes that pass. Runs are removed at once when they are over, and still none is made twice.
func TestNoRunIsStartedTwice(t *testing.T) {
	t.Parallel()
	c, ctx := statetest.New(t), t.Context()
	counted := &counting{Client: c, made: map[string]int{}}
	cron := newCron("minutely", "* * * * *")
	none := int32(0)
	cron.Spec.SuccessfulJobsHistoryLimit, cron.Spec.JobTemplate.Spec.TTLSecondsAfterFinished = &none, &none
	statetest.Must(t, c.Create(ctx, cron))
	time0 := statetest.NewClock(cron.CreationTimestamp.Time)
	for seed := range int64(2) {
		start(t, c, job.Deps{Client: statetest.NewFlaky(counted, seed), Clock: time0.Now})
	}
	const minutes = 6
	for i := range minutes {
		time0.Move(time.Minute)
		statetest.Eventually(t, fmt.Sprintf("minute %d is run, and over", i), func() bool {
			end(t, c, corev1.PodSucceeded)
			var cron batchv1.CronJob
			statetest.Must(t, c.Get(ctx, client.ObjectKey{Namespace: "shop", Name: "minutely"}, &cron))
			if s := cron.Status; s.LastScheduleTime != nil && time0.Now().Sub(s.LastScheduleTime.Time) < time.Minute && len(s.Active) == 0 {
				return true
			}
			cron.Annotations = map[string]string{"woken": time.Now().String()}
			if err := c.Update(ctx, &cron); err != nil && !apierrors.IsConflict(err) {
				t.Fatal(err)
			}
			return false
		})
	}
	counted.mu.Lock()
	defer counted.mu.Unlock()
	for name, n := range counted.made {
		if n != 1 {
			t.Errorf("run %s was started %d times", name, n)
		}
	}
	if len(counted.made) != minutes {
		t.Errorf("%d runs of %d minutes", len(counted.made), minutes)
	}
}

// forgetful cannot write the status of a CronJob, as a process that dies each time before it does.
type forgetful struct {
	client.Client
	mu   sync.Mutex
	cure bool
}

func (f *forgetful) Status() client.SubResourceWriter {
	return forgetfulStatus{f.Client.Status(), f}
}

type forgetfulStatus struct {
	client.SubResourceWriter
	f *forgetful
}

func (s forgetfulStatus) Update(ctx context.Context, o client.Object, opts ...client.SubResourceUpdateOption) error {
	s.f.mu.Lock()
	cured := s.f.cure
	s.f.mu.Unlock()
	if _, ok := o.(*batchv1.CronJob); ok && !cured {
		return statetest.ErrDied
	}
	return s.SubResourceWriter.Update(ctx, o, opts...)
}

// TestARunStaysUntilItIsNoted: a run whose time to live is over, and that no history keeps, is not
// removed while the CronJob does not know that it was started. It would be started again.
func TestARunStaysUntilItIsNoted(t *testing.T) {
	t.Parallel()
	c, ctx := statetest.New(t), t.Context()
	counted := &counting{Client: c, made: map[string]int{}}
	over := &forgetful{Client: counted}
	cron := newCron("minutely", "* * * * *")
	none := int32(0)
	cron.Spec.SuccessfulJobsHistoryLimit, cron.Spec.JobTemplate.Spec.TTLSecondsAfterFinished = &none, &none
	statetest.Must(t, c.Create(ctx, cron))
	start(t, c, job.Deps{Client: over, Clock: func() time.Time { return cron.CreationTimestamp.Add(time.Minute) }})
	runs := func() []batchv1.Job {
		var list batchv1.JobList
		statetest.Must(t, c.List(ctx, &list))
		return list.Items
	}
	statetest.Eventually(t, "its run is complete", func() bool {
		end(t, c, corev1.PodSucceeded)
		all := runs()
		return len(all) == 1 && is(&all[0], batchv1.JobComplete)
	})
	time.Sleep(500 * time.Millisecond)
	if len(runs()) != 1 {
		t.Error("the run is gone")
	}
	over.mu.Lock()
	over.cure = true
	over.mu.Unlock()
	statetest.Eventually(t, "it goes when it is noted", func() bool { return len(runs()) == 0 })
	counted.mu.Lock()
	defer counted.mu.Unlock()
	for name, n := range counted.made {
		if n != 1 {
			t.Errorf("run %s was started %d times", name, n)
		}
	}
}
