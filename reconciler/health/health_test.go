package health

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
)

func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	json, err := yaml.YAMLToJSON([]byte(text))
	if err == nil {
		err = o.UnmarshalJSON(json)
	}
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return o
}

const (
	dc    = "{apiVersion: apps.openshift.io/v1, kind: DeploymentConfig, metadata: {name: x, generation: 2}, "
	rc    = "{apiVersion: v1, kind: ReplicationController, metadata: {name: x, generation: 1}, "
	is    = "{apiVersion: image.openshift.io/v1, kind: ImageStream, metadata: {name: x}, spec: {tags: [{name: a, from: {kind: DockerImage, name: r/a}}]}, "
	app   = "{apiVersion: slipway.dev/v1alpha1, kind: Application, metadata: {name: x, generation: 3}, "
	rolls = "{type: Progressing, status: 'True', reason: NewReplicationControllerAvailable}"
	auto  = "{type: ImageChange, imageChangeParams: {automatic: true, from: {kind: ImageStreamTag, name: 'web:latest'}}}"
)

func TestHealthOfEveryKind(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		object string
		want   State
		says   string
	}{
		"a config map":               {"{apiVersion: v1, kind: ConfigMap, metadata: {name: x}}", Current, ""},
		"a project":                  {"{apiVersion: project.openshift.io/v1, kind: Project, metadata: {name: x}}", Current, ""},
		"a project that goes":        {"{apiVersion: project.openshift.io/v1, kind: Project, metadata: {name: x, deletionTimestamp: '2026-01-01T00:00:00Z'}}", Terminating, "deleted"},
		"a build config":             {"{apiVersion: build.openshift.io/v1, kind: BuildConfig, metadata: {name: x, generation: 4}, status: {lastVersion: 0}}", Current, ""},
		"a service":                  {"{apiVersion: v1, kind: Service, metadata: {name: x}, spec: {}}", Current, ""},
		"a new config":               {dc + "spec: {replicas: 1}, status: {latestVersion: 1, observedGeneration: 1}}", InProgress, "not been looked at"},
		"a config without an image":  {dc + "spec: {replicas: 1, triggers: [{type: ConfigChange}, " + auto + "]}, status: {observedGeneration: 2}}", InProgress, "waits for image web:latest"},
		"a config by hand":           {dc + "spec: {replicas: 1, triggers: []}, status: {observedGeneration: 2}}", Current, "by hand"},
		"a config about to roll":     {dc + "spec: {replicas: 1, triggers: [{type: ConfigChange}]}, status: {observedGeneration: 2}}", InProgress, "not begun"},
		"a config that just rolls":   {dc + "spec: {replicas: 2}, status: {latestVersion: 3, observedGeneration: 1, conditions: [{type: Progressing, status: 'True', reason: ReplicationControllerUpdated}]}}", InProgress, "version 3 rolls out: 0 of 2"},
		"a config that rolls":        {dc + "spec: {replicas: 2}, status: {latestVersion: 3, observedGeneration: 2, replicas: 3, updatedReplicas: 1, availableReplicas: 2, conditions: [{type: Progressing, status: 'True', reason: ReplicationControllerUpdated}]}}", InProgress, "1 of 2 pods are of version 3"},
		"a config whose rollout ran": {dc + "spec: {replicas: 2}, status: {latestVersion: 3, observedGeneration: 2, replicas: 2, updatedReplicas: 2, availableReplicas: 2, conditions: [" + rolls + "]}}", Current, ""},
		"a config with old pods":     {dc + "spec: {replicas: 1}, status: {latestVersion: 3, observedGeneration: 2, replicas: 2, updatedReplicas: 1, availableReplicas: 2, conditions: [" + rolls + "]}}", InProgress, "1 of 2 pods have still to go"},
		"a config with a sick pod":   {dc + "spec: {replicas: 2}, status: {latestVersion: 3, observedGeneration: 2, replicas: 2, updatedReplicas: 2, availableReplicas: 1, conditions: [" + rolls + "]}}", InProgress, "1 available"},
		"a config that failed":       {dc + "spec: {replicas: 2}, status: {latestVersion: 3, observedGeneration: 2, conditions: [{type: Progressing, status: 'False', reason: ProgressDeadlineExceeded, message: it has failed}]}}", Failed, "it has failed"},
		"a paused config":            {dc + "spec: {replicas: 1, paused: true}, status: {observedGeneration: 2}}", Current, "paused"},
		"a test config":              {dc + "spec: {replicas: 1, test: true}, status: {latestVersion: 1, observedGeneration: 2, conditions: [" + rolls + "]}}", Current, ""},
		"an rc on its way":           {rc + "spec: {replicas: 2}, status: {observedGeneration: 1, replicas: 2, availableReplicas: 1}}", InProgress, "1 of 2"},
		"an rc":                      {rc + "spec: {replicas: 2}, status: {observedGeneration: 1, replicas: 2, availableReplicas: 2}}", Current, ""},
		"an rc that may not":         {rc + "status: {observedGeneration: 1, conditions: [{type: ReplicaFailure, status: 'True', message: over quota}]}}", Failed, "over quota"},
		"a build that runs":          {"{apiVersion: build.openshift.io/v1, kind: Build, metadata: {name: x}, status: {phase: Running}}", InProgress, "running"},
		"a build that failed":        {"{apiVersion: build.openshift.io/v1, kind: Build, metadata: {name: x}, status: {phase: Failed, message: no Dockerfile}}", Failed, "no Dockerfile"},
		"a stream to import":         {is + "status: {}}", InProgress, "tag a: r/a is not imported yet"},
		"a stream that cannot":       {is + "status: {tags: [{tag: a, conditions: [{type: ImportSuccess, status: 'False', message: no route to host}]}]}}", InProgress, "no route to host"},
		"a stream":                   {is + "status: {tags: [{tag: a, items: [{image: 'sha256:1'}]}]}}", Current, ""},
		"a stream that stays as is":  {is + "status: {tags: [{tag: a, items: [{image: 'sha256:1'}], conditions: [{type: ImportSuccess, status: 'False', message: no route}]}]}}", Current, ""},
		"a stream that follows":      {strings.Replace(is, "DockerImage", "ImageStreamTag", 1) + "status: {}}", Current, ""},
		"a new route":                {"{apiVersion: route.openshift.io/v1, kind: Route, metadata: {name: x}, spec: {host: a}}", InProgress, "no router"},
		"a route":                    {"{apiVersion: route.openshift.io/v1, kind: Route, metadata: {name: x}, spec: {host: a}, status: {ingress: [{host: a, conditions: [{type: Admitted, status: 'True'}]}]}}", Current, ""},
		"a route that moved":         {"{apiVersion: route.openshift.io/v1, kind: Route, metadata: {name: x}, spec: {host: b}, status: {ingress: [{host: a, conditions: [{type: Admitted, status: 'True'}]}]}}", InProgress, "no router"},
		"a route to a taken host":    {"{apiVersion: route.openshift.io/v1, kind: Route, metadata: {name: x}, spec: {host: a}, status: {ingress: [{host: a, conditions: [{type: Admitted, status: 'False', reason: HostAlreadyClaimed, message: project b holds the host a}]}]}}", Failed, "project b holds the host a"},
		"a claim":                    {"{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: x}, status: {phase: Bound}}", Current, ""},
		"a claim that waits":         {"{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: x}, status: {phase: Pending}}", InProgress, "waits for a volume of 0"},
		"a claim that is lost":       {"{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: x}, spec: {volumeName: v}, status: {phase: Lost}}", Failed, "has lost its volume v"},
		"a job that failed":          {"{apiVersion: batch/v1, kind: Job, metadata: {name: x}, status: {conditions: [{type: Failed, status: 'True', message: too often}]}}", Failed, "too often"},
		"a job that ran":             {"{apiVersion: batch/v1, kind: Job, metadata: {name: x}, spec: {completions: 1}, status: {startTime: '2026-01-01T00:00:00Z', succeeded: 1, conditions: [{type: Complete, status: 'True'}]}}", Current, ""},
		"a job that runs":            {"{apiVersion: batch/v1, kind: Job, metadata: {name: x}, spec: {completions: 2}, status: {startTime: '2026-01-01T00:00:00Z', active: 1, succeeded: 1}}", InProgress, "1 of 2 completions, 1 pods run, 0 failed"},
		"a job that is suspended":    {"{apiVersion: batch/v1, kind: Job, metadata: {name: x}, spec: {suspend: true}}", Current, "is suspended"},
		"a cron job":                 {"{apiVersion: batch/v1, kind: CronJob, metadata: {name: x}}", Current, ""},
		"a pod that runs":            {"{apiVersion: v1, kind: Pod, metadata: {name: x}, status: {phase: Running, conditions: [{type: Ready, status: 'True'}]}}", Current, ""},
		"a pod that crashes":         {"{apiVersion: v1, kind: Pod, metadata: {name: x}, status: {phase: Running, conditions: [{type: Ready, status: 'False'}], containerStatuses: [{name: c, state: {waiting: {reason: CrashLoopBackOff}}}]}}", Failed, "crash"},
		"a pod without its settings": {"{apiVersion: v1, kind: Pod, metadata: {name: x}, status: {phase: Pending, containerStatuses: [{name: c, state: {waiting: {reason: CreateContainerConfigError, message: configmap cm has no key k}}}]}}", InProgress, "CreateContainerConfigError: configmap cm has no key k"},
		"a pod without a node":       {"{apiVersion: v1, kind: Pod, metadata: {name: x}, status: {phase: Pending, conditions: [{type: PodScheduled, status: 'False', reason: SchedulerError, message: no room}]}}", InProgress, "is not scheduled: no room"},
		"a pod that failed":          {"{apiVersion: v1, kind: Pod, metadata: {name: x}, status: {phase: Failed, reason: Evicted, message: wrote too much}}", Failed, "wrote too much"},
		"a template instance":        {"{apiVersion: template.openshift.io/v1, kind: TemplateInstance, metadata: {name: x}}", Current, ""},
		"an application never seen":  {app + "status: {}}", InProgress, "not been looked at"},
		"an application":             {app + "status: {conditions: [{type: Ready, status: 'True', observedGeneration: 3}]}}", Current, ""},
		"an application as it was":   {app + "status: {conditions: [{type: Ready, status: 'True', observedGeneration: 2}]}}", InProgress, ""},
		"an application with errors": {app + "status: {conditions: [{type: Ready, status: 'False', observedGeneration: 3, message: two problems}]}}", Failed, "two problems"},
		"a suspended application":    {app + "spec: {suspend: true}}", Current, "suspended"},
		"a repository":               {"{apiVersion: slipway.dev/v1alpha1, kind: GitRepository, metadata: {name: x}, status: {conditions: [{type: Ready, status: 'False', message: no such host}]}}", Failed, "no such host"},
		"a promotion that waits":     {"{apiVersion: slipway.dev/v1alpha1, kind: Promotion, metadata: {name: x}, status: {conditions: [{type: Ready, status: 'False', reason: Waiting, message: v1 is waiting}]}}", InProgress, "v1 is waiting"},
		"a new deployment":           {"{apiVersion: apps/v1, kind: Deployment, metadata: {name: x, generation: 2}, status: {observedGeneration: 1}}", InProgress, "not been looked at"},
		"a deployment that rolls":    {"{apiVersion: apps/v1, kind: Deployment, metadata: {name: x}, spec: {replicas: 3}, status: {replicas: 4, updatedReplicas: 1, availableReplicas: 3}}", InProgress, "1 of 3 pods are of its newest template"},
		"one whose old pods go":      {"{apiVersion: apps/v1, kind: Deployment, metadata: {name: x}, spec: {replicas: 3}, status: {replicas: 4, updatedReplicas: 3, availableReplicas: 3}}", InProgress, "1 pods of older templates"},
		"one paused from the first":  {"{apiVersion: apps/v1, kind: Deployment, metadata: {name: x}, spec: {replicas: 3, paused: true}}", Current, "is paused"},
		"a deployment":               {"{apiVersion: apps/v1, kind: Deployment, metadata: {name: x}, spec: {replicas: 3}, status: {replicas: 3, updatedReplicas: 3, availableReplicas: 3}}", Current, ""},
		"a paused deployment":        {"{apiVersion: apps/v1, kind: Deployment, metadata: {name: x}, spec: {replicas: 3, paused: true}, status: {replicas: 3, availableReplicas: 3}}", Current, "paused"},
		"a stuck deployment":         {"{apiVersion: apps/v1, kind: Deployment, metadata: {name: x}, status: {conditions: [{type: Progressing, status: 'False', reason: ProgressDeadlineExceeded, message: has timed out}]}}", Failed, "timed out"},
		"a replica set":              {"{apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: x}, status: {replicas: 1}}", InProgress, "0 of 1 pods are available"},
		"a set above its partition":  {"{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: x}, spec: {replicas: 3, updateStrategy: {rollingUpdate: {partition: 2}}}, status: {replicas: 3, readyReplicas: 3, availableReplicas: 3, updatedReplicas: 1}}", Current, ""},
		"a set that rolls":           {"{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: x}, spec: {replicas: 3}, status: {replicas: 3, readyReplicas: 3, availableReplicas: 3, updatedReplicas: 1}}", InProgress, "1 of 3"},
		"a set updated by hand":      {"{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: x}, spec: {updateStrategy: {type: OnDelete}}, status: {replicas: 1, readyReplicas: 1, availableReplicas: 1}}", Current, ""},
		"a daemon":                   {"{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: x}, status: {desiredNumberScheduled: 2, updatedNumberScheduled: 2, numberAvailable: 1}}", InProgress, "on 1 of 2 nodes"},
		"a daemon that rolls":        {"{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: x}, status: {desiredNumberScheduled: 2, updatedNumberScheduled: 1, numberAvailable: 2}}", InProgress, "1 of 2 nodes run its newest"},
		"a foreign kind":             {"{apiVersion: example.com/v1, kind: Thing, metadata: {name: x}, status: {conditions: [{type: Stalled, status: 'True', message: no quota left}]}}", Failed, "no quota left"},
	} {
		h := Of(object(t, c.object))
		if h.State != c.want || !strings.Contains(strings.ToLower(h.Message), strings.ToLower(c.says)) {
			t.Errorf("%s is %s (%q), want %s (%q)", name, h.State, h.Message, c.want, c.says)
		}
	}
}

// TestEveryKindHasARule: a kind that is added must be decided upon, not fall to a rule that
// takes any object without a status for Current.
func TestEveryKindHasARule(t *testing.T) {
	t.Parallel()
	known := map[string]bool{"Pod": true, "PersistentVolumeClaim": true, "Job": true}
	for _, k := range api.Kinds() {
		if _, own := rules[k.GroupKind()]; !own && !Immediate(k.GroupKind()) && !known[k.Kind] {
			t.Errorf("%s has no rule of its own, and kstatus has none", k.GroupKind())
		}
	}
}

func TestExpressionsDecide(t *testing.T) {
	t.Parallel()
	exprs := []v1alpha1.HealthCheckExpr{
		{APIVersion: "v1", Kind: "ConfigMap", InProgress: "data.phase == 'wait'", Failed: "data.phase == 'bad'", Current: "data.phase == 'good'"},
		{APIVersion: "v1", Kind: "Secret", Current: "[1,2,3,4,5,6,7,8,9,10].all(a, [1,2,3,4,5,6,7,8,9,10].all(b, [1,2,3,4,5,6,7,8,9,10].all(c, [1,2,3,4,5,6,7,8,9,10].all(d, [1,2,3,4,5,6,7,8,9,10].all(e, [1,2,3,4,5,6,7,8,9,10].all(f, a+b+c+d+e+f > 0))))))"},
		{APIVersion: "v1", Kind: "Service", Current: "spec.answer"},
	}
	c, err := NewChecker("shop/web", exprs)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		object string
		want   State
		says   string
	}{
		{"{apiVersion: v1, kind: ConfigMap, metadata: {name: x}, data: {phase: wait}}", InProgress, "inProgress holds"},
		{"{apiVersion: v1, kind: ConfigMap, metadata: {name: x}, data: {phase: bad}}", Failed, "spec.healthCheckExprs[0].failed holds"},
		{"{apiVersion: v1, kind: ConfigMap, metadata: {name: x}, data: {phase: good}}", Current, ""},
		{"{apiVersion: v1, kind: ConfigMap, metadata: {name: x}, data: {phase: other}}", InProgress, "current does not hold yet"},
		{"{apiVersion: v1, kind: ConfigMap, metadata: {name: x}}", InProgress, "application shop/web: spec.healthCheckExprs[0].inProgress: no such key: phase"},
		{"{apiVersion: v1, kind: Secret, metadata: {name: x}}", Unknown, "application shop/web: spec.healthCheckExprs[1].current: operation cancelled: actual cost limit exceeded"},
		{"{apiVersion: v1, kind: Service, metadata: {name: x}, spec: {answer: 42}}", Unknown, "not true or false"},
		{"{apiVersion: v1, kind: ServiceAccount, metadata: {name: x}}", Current, ""},
	} {
		h := c.Of(object(t, x.object))
		if h.State != x.want || !strings.Contains(h.Message, x.says) {
			t.Errorf("%s is %s (%q), want %s (%q)", x.object, h.State, h.Message, x.want, x.says)
		}
	}
	if c.Of(nil).State != InProgress {
		t.Error("an object that does not exist is not on its way")
	}
	cm := object(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: x}}").GroupVersionKind()
	if c.Immediate(cm) || !Immediate(cm.GroupKind()) {
		t.Error("an expression must be looked at though the kind needs no look")
	}
	if _, err := NewChecker("shop/web", []v1alpha1.HealthCheckExpr{{APIVersion: "v1", Kind: "Pod", Current: "status.phase =="}}); err == nil ||
		!strings.Contains(err.Error(), "application shop/web: spec.healthCheckExprs[0].current: ") {
		t.Errorf("a mistake says %v", err)
	}
}
