package job

import (
	"fmt"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"slipway.dev/slipway/api"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func at(t time.Time) *metav1.Time { m := metav1.NewTime(t); return &m }

// newJob began a minute before noon.
func newJob(edit ...func(*batchv1.Job)) *batchv1.Job {
	j := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "work", Namespace: "shop", UID: "u1"}}
	j.Spec.Template.Spec = corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "c", Image: "busybox"}}}
	j.Status.StartTime = at(noon.Add(-time.Minute))
	for _, e := range edit {
		e(j)
	}
	api.Default(j)
	return j
}

func sized(completions, parallelism int32) func(*batchv1.Job) {
	return func(j *batchv1.Job) { j.Spec.Completions, j.Spec.Parallelism = &completions, &parallelism }
}

func queue(parallelism int32) func(*batchv1.Job) {
	return func(j *batchv1.Job) { j.Spec.Completions, j.Spec.Parallelism = nil, &parallelism }
}

func indexedJob(j *batchv1.Job) {
	mode := batchv1.IndexedCompletion
	j.Spec.CompletionMode = &mode
}

func counted(succeeded, failed int32) func(*batchv1.Job) {
	return func(j *batchv1.Job) { j.Status.Succeeded, j.Status.Failed = succeeded, failed }
}

func with(kind batchv1.JobConditionType, reason string) func(*batchv1.Job) {
	return func(j *batchv1.Job) {
		j.Status.Conditions = append(j.Status.Conditions, batchv1.JobCondition{
			Type: kind, Status: corev1.ConditionTrue, Reason: reason, LastTransitionTime: *at(noon.Add(-10 * time.Second)),
		})
	}
}

func pod(name string, edit ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Name: name, UID: types.UID(name), Finalizers: []string{batchv1.JobTrackingFinalizer}, CreationTimestamp: *at(noon.Add(-time.Hour)),
	}}
	p.Spec.NodeName, p.Status.Phase = "node", corev1.PodRunning
	for _, e := range edit {
		e(p)
	}
	return p
}

func well(p *corev1.Pod)    { p.Status.Phase = corev1.PodSucceeded }
func let(p *corev1.Pod)     { p.Finalizers = nil }
func going(p *corev1.Pod)   { p.DeletionTimestamp = at(noon) }
func nowhere(p *corev1.Pod) { p.Spec.NodeName, p.Status.Phase = "", corev1.PodPending }
func isReady(p *corev1.Pod) {
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: "True"}}
}
func evicted(p *corev1.Pod) {
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.DisruptionTarget, Status: "True"}}
}
func restartedTwice(p *corev1.Pod) {
	p.Status.ContainerStatuses = []corev1.ContainerStatus{{RestartCount: 2}}
}

// failedAgo ended with exit code 7.
func failedAgo(d time.Duration) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.Phase = corev1.PodFailed
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "c", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 7, FinishedAt: *at(noon.Add(-d))}}}}
	}
}

func index(i int) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Annotations = map[string]string{batchv1.JobCompletionIndexAnnotation: fmt.Sprint(i)}
	}
}

// text is a decision in one line: what the status says, then what is done.
func text(d Decision) string {
	var words []string
	s := d.Status
	words = append(words, fmt.Sprintf("%d/%d/%d", s.Active, s.Succeeded, s.Failed))
	if u := s.UncountedTerminatedPods; u != nil {
		for _, id := range u.Succeeded {
			words = append(words, "+"+string(id))
		}
		for _, id := range u.Failed {
			words = append(words, "-"+string(id))
		}
	}
	if s.CompletedIndexes != "" {
		words = append(words, "indexes="+s.CompletedIndexes)
	}
	for _, c := range s.Conditions {
		words = append(words, fmt.Sprintf("%s=%s:%s", c.Type, c.Status, c.Reason))
	}
	for verb, pods := range map[string][]*corev1.Pod{"release": d.Release, "delete": d.Delete, "dismiss": d.Dismiss} {
		if len(pods) > 0 {
			var names []string
			for _, p := range pods {
				names = append(names, p.Name)
			}
			words = append(words, verb+"="+strings.Join(names, ","))
		}
	}
	if len(d.Create) > 0 {
		create := fmt.Sprintf("create=%d", len(d.Create))
		for _, c := range d.Create {
			if c.index >= 0 {
				create += fmt.Sprintf("#%d", c.index)
			}
		}
		words = append(words, create)
	}
	if d.Expire {
		words = append(words, "expire")
	}
	if d.After > 0 {
		words = append(words, "after="+d.After.String())
	}
	return strings.Join(words, " ")
}

func deadline(seconds int64) func(*batchv1.Job) {
	return func(j *batchv1.Job) { j.Spec.ActiveDeadlineSeconds = &seconds }
}

func failureRules(rules ...batchv1.PodFailurePolicyRule) func(*batchv1.Job) {
	return func(j *batchv1.Job) { j.Spec.PodFailurePolicy = &batchv1.PodFailurePolicy{Rules: rules} }
}

func onCode(action batchv1.PodFailurePolicyAction, code int32) batchv1.PodFailurePolicyRule {
	return batchv1.PodFailurePolicyRule{Action: action, OnExitCodes: &batchv1.PodFailurePolicyOnExitCodesRequirement{Operator: batchv1.PodFailurePolicyOnExitCodesOpIn, Values: []int32{code}}}
}

func TestDecide(t *testing.T) {
	t.Parallel()
	uncounted := func(succeeded, failed []types.UID) func(*batchv1.Job) {
		return func(j *batchv1.Job) {
			j.Status.UncountedTerminatedPods = &batchv1.UncountedTerminatedPods{Succeeded: succeeded, Failed: failed}
		}
	}
	suspend := func(j *batchv1.Job) { yes := true; j.Spec.Suspend = &yes }
	limit := func(n int32) func(*batchv1.Job) { return func(j *batchv1.Job) { j.Spec.BackoffLimit = &n } }
	onFailure := func(j *batchv1.Job) { j.Spec.Template.Spec.RestartPolicy = corev1.RestartPolicyOnFailure }
	ttl := func(n int32) func(*batchv1.Job) { return func(j *batchv1.Job) { j.Spec.TTLSecondsAfterFinished = &n } }
	for name, c := range map[string]struct {
		job  *batchv1.Job
		pods []*corev1.Pod
		want string
	}{
		"a pod is made":                    {newJob(), nil, "0/0/0 create=1"},
		"as many as may run":               {newJob(sized(5, 3)), []*corev1.Pod{pod("a")}, "1/0/0 create=2"},
		"no more than are still needed":    {newJob(sized(5, 3), counted(4, 0)), nil, "0/4/0 create=1"},
		"too many, the least worth go":     {newJob(sized(5, 1)), []*corev1.Pod{pod("a", isReady), pod("b"), pod("c", nowhere)}, "3/0/0 dismiss=c,b"},
		"success is noted, then let go":    {newJob(), []*corev1.Pod{pod("a", well)}, "0/0/0 +a SuccessCriteriaMet=True:CompletionsReached release=a"},
		"the same again after a crash":     {newJob(uncounted([]types.UID{"a"}, nil)), []*corev1.Pod{pod("a", well)}, "0/0/0 +a SuccessCriteriaMet=True:CompletionsReached release=a"},
		"let go, it is counted":            {newJob(sized(2, 1), uncounted([]types.UID{"a"}, nil)), []*corev1.Pod{pod("a", well, let)}, "0/1/0 create=1"},
		"counted, it is counted no more":   {newJob(sized(2, 1), counted(1, 0)), []*corev1.Pod{pod("a", well, let)}, "0/1/0 create=1"},
		"gone before it was counted":       {newJob(sized(2, 1), uncounted(nil, []types.UID{"a"})), nil, "0/0/1 create=1"},
		"complete when the last is let go": {newJob(uncounted([]types.UID{"a"}, nil), with(batchv1.JobSuccessCriteriaMet, "CompletionsReached")), []*corev1.Pod{pod("a", well, let)}, "0/1/0 SuccessCriteriaMet=True:CompletionsReached Complete=True:CompletionsReached"},
		"a spare pod goes uncounted":       {newJob(sized(1, 1), counted(1, 0), with(batchv1.JobSuccessCriteriaMet, "CompletionsReached")), []*corev1.Pod{pod("b")}, "1/1/0 SuccessCriteriaMet=True:CompletionsReached dismiss=b"},
		"no completions wanted":            {newJob(sized(0, 1)), nil, "0/0/0 SuccessCriteriaMet=True:CompletionsReached Complete=True:CompletionsReached"},

		"a queue runs in parallel":      {newJob(queue(2)), nil, "0/0/0 create=2"},
		"a queue that is emptied":       {newJob(queue(2), counted(1, 0)), []*corev1.Pod{pod("a")}, "1/1/0"},
		"a queue that is empty":         {newJob(queue(2), counted(2, 0)), nil, "0/2/0 SuccessCriteriaMet=True:CompletionsReached Complete=True:CompletionsReached"},
		"one that is going is replaced": {newJob(), []*corev1.Pod{pod("a", going)}, "0/0/0 -a release=a create=1"},

		"a failure is noted and slows down": {newJob(), []*corev1.Pod{pod("a", failedAgo(4*time.Second))}, "0/0/0 -a release=a after=6s"},
		"two failures slow down more":       {newJob(counted(0, 2)), []*corev1.Pod{pod("a", let, failedAgo(4*time.Second)), pod("b", let, failedAgo(time.Minute))}, "0/0/2 after=16s"},
		"many wait six minutes":             {newJob(counted(0, 8), limit(9)), manyFailed(8), "0/0/8 after=5m59s"},
		"a success ends the waiting":        {newJob(sized(2, 1), counted(1, 1)), []*corev1.Pod{pod("a", let, failedAgo(time.Hour)), pod("b", let, well, func(p *corev1.Pod) { p.CreationTimestamp = *at(noon) })}, "0/1/1 create=1"},
		"after the wait a pod is made":      {newJob(counted(0, 1)), []*corev1.Pod{pod("a", let, failedAgo(10*time.Second))}, "0/0/1 create=1"},
		"one failure too many":              {newJob(limit(1), sized(2, 2), counted(0, 1)), []*corev1.Pod{pod("a", failedAgo(0)), pod("b")}, "1/0/1 -a FailureTarget=True:BackoffLimitExceeded release=a delete=b"},
		"given up when nothing runs":        {newJob(limit(0), counted(0, 1), with(batchv1.JobFailureTarget, "BackoffLimitExceeded")), nil, "0/0/1 FailureTarget=True:BackoffLimitExceeded Failed=True:BackoffLimitExceeded"},
		"not while a pod is still going":    {newJob(limit(0), counted(0, 1), with(batchv1.JobFailureTarget, "x")), []*corev1.Pod{pod("b", let, going)}, "0/0/1 FailureTarget=True:x"},
		"restarts count where pods restart": {newJob(limit(2), onFailure), []*corev1.Pod{pod("a", restartedTwice)}, "1/0/0 FailureTarget=True:BackoffLimitExceeded delete=a"},
		"restarts below the limit":          {newJob(limit(3), onFailure), []*corev1.Pod{pod("a", restartedTwice)}, "1/0/0"},

		"the deadline is near":              {newJob(deadline(90)), []*corev1.Pod{pod("a")}, "1/0/0 after=30s"},
		"the deadline is over":              {newJob(deadline(60)), []*corev1.Pod{pod("a")}, "1/0/0 FailureTarget=True:DeadlineExceeded delete=a"},
		"no deadline while it is suspended": {newJob(deadline(60), suspend), []*corev1.Pod{pod("a")}, "1/0/0 Suspended=True:JobSuspended dismiss=a"},
		"resumed, its time begins anew":     {newJob(with(batchv1.JobSuspended, "JobSuspended")), nil, "0/0/0 Suspended=False:JobResumed create=1"},

		"the first free indexes":          {newJob(sized(5, 3), indexedJob), []*corev1.Pod{pod("a", index(1))}, "1/0/0 create=2#0#2"},
		"an index that is done":           {newJob(sized(5, 3), indexedJob), []*corev1.Pod{pod("a", index(0), well), pod("b", index(2))}, "1/1/0 indexes=0 release=a create=2#1#3"},
		"an index done twice counts once": {newJob(sized(5, 2), indexedJob, func(j *batchv1.Job) { j.Status.CompletedIndexes, j.Status.Succeeded = "0-2", 3 }), []*corev1.Pod{pod("a", index(1), well)}, "0/3/0 indexes=0-2 release=a create=2#3#4"},
		"all indexes are done":            {newJob(sized(2, 2), indexedJob, func(j *batchv1.Job) { j.Status.CompletedIndexes = "1" }), []*corev1.Pod{pod("a", index(0), well)}, "0/2/0 indexes=0,1 SuccessCriteriaMet=True:CompletionsReached release=a"},
		"an index that failed is redone":  {newJob(sized(2, 2), indexedJob, counted(0, 1)), []*corev1.Pod{pod("a", index(0), let, failedAgo(time.Minute)), pod("b", index(1))}, "1/0/1 create=1#0"},

		"the policy fails the job":         {newJob(failureRules(onCode("FailJob", 7))), []*corev1.Pod{pod("a", failedAgo(0))}, "0/0/0 -a FailureTarget=True:PodFailurePolicy release=a"},
		"the policy ignores a disruption":  {newJob(failureRules(batchv1.PodFailurePolicyRule{Action: "Ignore", OnPodConditions: []batchv1.PodFailurePolicyOnPodConditionsPattern{{Type: corev1.DisruptionTarget}}})), []*corev1.Pod{pod("a", failedAgo(time.Minute), evicted)}, "0/0/0 release=a create=1"},
		"a rule for another code":          {newJob(failureRules(onCode("FailJob", 8))), []*corev1.Pod{pod("a", failedAgo(time.Minute))}, "0/0/0 -a release=a create=1"},
		"with a policy it must have ended": {newJob(failureRules(onCode("FailJob", 8))), []*corev1.Pod{pod("a", going)}, "0/0/0"},

		"over, its pods are kept":       {newJob(with(batchv1.JobComplete, "x")), []*corev1.Pod{pod("a", well, let)}, "0/0/0 Complete=True:x"},
		"over, what is left is let go":  {newJob(with(batchv1.JobFailed, "x")), []*corev1.Pod{pod("a", well), pod("b")}, "0/0/0 Failed=True:x release=a dismiss=b"},
		"time to live is not over":      {newJob(with(batchv1.JobComplete, "x"), ttl(15)), nil, "0/0/0 Complete=True:x after=5s"},
		"time to live is over":          {newJob(with(batchv1.JobComplete, "x"), ttl(10)), nil, "0/0/0 Complete=True:x expire"},
		"a job that is deleted lets go": {newJob(func(j *batchv1.Job) { j.DeletionTimestamp = at(noon) }), []*corev1.Pod{pod("a", well)}, "0/0/0 release=a"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := text(Decide(c.job, c.pods, noon)); !sameWords(got, c.want) {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// sameWords: a map's order is not the decision's.
func sameWords(a, b string) bool {
	x, y := strings.Fields(a), strings.Fields(b)
	count := map[string]int{}
	for _, w := range x {
		count[w]++
	}
	for _, w := range y {
		count[w]--
	}
	for _, n := range count {
		if n != 0 {
			return false
		}
	}
	return len(x) == len(y)
}

func manyFailed(n int) []*corev1.Pod {
	var all []*corev1.Pod
	for i := range n {
		all = append(all, pod(fmt.Sprint(i), let, failedAgo(time.Second+time.Duration(i)*time.Minute)))
	}
	return all
}

func TestIndexes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"": "", "0": "0", "0,1": "0,1", "0-2": "0-2", "0,1,2,4,6,7": "0-2,4,6,7", "9": "", "x,3": "3", "7-12": "7", "-3": "", "5-x": "",
	} {
		if got := parseIndexes(text, 8).String(); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func FuzzParseIndexes(f *testing.F) {
	f.Add("0,2-4")
	f.Add("1-99999999999,,-")
	f.Fuzz(func(t *testing.T, text string) {
		once := parseIndexes(text, 100)
		if again := parseIndexes(once.String(), 100); again.String() != once.String() {
			t.Errorf("%q: %q, then %q", text, once, again)
		}
	})
}

func TestPodsOfIndexedJobs(t *testing.T) {
	t.Parallel()
	j := newJob(sized(3, 1), indexedJob)
	p := newPod(j, slotFor(j, 2, map[string]bool{}))
	env := p.Spec.Containers[0].Env
	if !strings.HasPrefix(p.Name, "work-2-") || p.Spec.Hostname != "work-2" || p.Annotations[batchv1.JobCompletionIndexAnnotation] != "2" ||
		len(env) != 1 || env[0].Name != "JOB_COMPLETION_INDEX" || p.Labels[api.JobUIDLabel] != "u1" || p.Labels["job-name"] != "work" {
		t.Errorf("%+v", p)
	}
	if len(j.Spec.Template.Spec.Containers[0].Env) > 0 {
		t.Error("the template was changed")
	}
}
