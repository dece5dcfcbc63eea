package node

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"

	"slipway.dev/slipway/api/v1alpha1"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func read[T any](t testing.TB, text string) *T {
	t.Helper()
	o := new(T)
	if err := yaml.UnmarshalStrict([]byte(text), o); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return o
}

func TestWhatBecomesOfPods(t *testing.T) {
	t.Parallel()
	const (
		well    = "{status: {conditions: [{type: Ready, status: 'True'}]}}"
		silent  = "{spec: {taints: [{key: node.kubernetes.io/unreachable, effect: NoExecute, timeAdded: '2026-01-02T11:56:00Z'}]}, status: {conditions: [{type: Ready, status: Unknown}]}}"
		long    = "{spec: {taints: [{key: node.kubernetes.io/unreachable, effect: NoExecute, timeAdded: '2026-01-02T11:55:00Z'}]}, status: {conditions: [{type: Ready, status: Unknown}]}}"
		ill     = "{spec: {taints: [{key: node.kubernetes.io/not-ready, effect: NoExecute, timeAdded: '2026-01-02T11:50:00Z'}]}, status: {conditions: [{type: Ready, status: 'False'}]}}"
		tainted = "{spec: {taints: [{key: only, value: db, effect: NoExecute, timeAdded: '2026-01-02T11:59:30Z'}]}, status: {conditions: [{type: Ready, status: 'True'}]}}"
		plain   = "{metadata: {name: p}}"
		ready   = "{metadata: {name: p}, status: {phase: Running, conditions: [{type: Ready, status: 'True'}]}}"
		daemons = "{metadata: {name: p, ownerReferences: [{kind: DaemonSet, name: d, controller: true}]}}"
		ends    = "{metadata: {name: p}, status: {phase: Succeeded}}"
		leaving = "{metadata: {name: p, deletionTimestamp: '2026-01-02T11:59:00Z'}}"
		minute  = "{metadata: {name: p}, spec: {tolerations: [{key: only, operator: Exists, tolerationSeconds: 60}]}}"
		always  = "{metadata: {name: p}, spec: {tolerations: [{operator: Exists}]}}"
	)
	for name, c := range map[string]struct {
		node, pod       string
		config          v1alpha1.NodeConfigSpec
		stateful, storm bool
		want            string
		after           time.Duration
	}{
		"all is well":                    {node: well, pod: plain},
		"silent for less than 5 minutes": {node: silent, pod: plain, after: time.Minute},
		"silent, was ready":              {node: silent, pod: ready, want: "unready", after: time.Minute},
		"silent for 5 minutes":           {node: long, pod: plain, want: "leave"},
		"its own patience":               {node: silent, pod: "{metadata: {name: p}, spec: {tolerations: [{key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 10}]}}", want: "leave"},
		"tolerates for ever":             {node: long, pod: always},
		"silent, stateful":               {node: long, pod: plain, stateful: true},
		"silent, in a storm":             {node: long, pod: plain, storm: true, after: stormPause},
		"silent, of a DaemonSet":         {node: long, pod: daemons},
		"silent, ended":                  {node: long, pod: ends},
		"silent, leaving":                {node: long, pod: leaving},
		"tainted":                        {node: tainted, pod: plain, want: "leave"},
		"tainted, in a storm":            {node: tainted, pod: plain, storm: true, want: "leave"},
		"tainted, for a while":           {node: tainted, pod: minute, after: 30 * time.Second},
		"drain":                          {node: well, pod: ready, config: v1alpha1.NodeConfigSpec{Drain: true}, want: "evict"},
		"drain, of a DaemonSet":          {node: well, pod: daemons, config: v1alpha1.NodeConfigSpec{Drain: true}},
		"drain, leaving":                 {node: well, pod: leaving, config: v1alpha1.NodeConfigSpec{Drain: true}},
		"gone":                           {node: silent, pod: plain, stateful: true, storm: true, config: v1alpha1.NodeConfigSpec{Gone: true}, want: "drop"},
		"gone, leaving":                  {node: silent, pod: leaving, config: v1alpha1.NodeConfigSpec{Gone: true}, want: "drop"},
		"gone, but it reports":           {node: well, pod: plain, config: v1alpha1.NodeConfigSpec{Gone: true}},
		"gone, but it says it is ill":    {node: ill, pod: plain, stateful: true, config: v1alpha1.NodeConfigSpec{Gone: true}},
		"never reported, gone":           {node: "{metadata: {name: n}}", pod: plain, config: v1alpha1.NodeConfigSpec{Gone: true}, want: "drop"},
		"drain, stateful":                {node: well, pod: plain, stateful: true, config: v1alpha1.NodeConfigSpec{Drain: true}, want: "evict"},
		"drain of a silent node":         {node: silent, pod: plain, config: v1alpha1.NodeConfigSpec{Drain: true}, want: "evict", after: time.Minute},
		"drain of one, stateful":         {node: silent, pod: plain, stateful: true, config: v1alpha1.NodeConfigSpec{Drain: true}, want: "stay"},
		"drain of an ill one, stateful":  {node: ill, pod: plain, stateful: true, config: v1alpha1.NodeConfigSpec{Drain: true}, want: "stay"},
		"tainted and silent, stateful":   {node: strings.Replace(tainted, "'True'", "Unknown", 1), pod: plain, stateful: true},
		"tainted and silent":             {node: strings.Replace(tainted, "'True'", "Unknown", 1), pod: plain, want: "leave"},
		"no Node":                        {pod: plain, want: "drop"},
	} {
		p := read[corev1.Pod](t, c.pod)
		s := situation{config: c.config, pods: []*corev1.Pod{p}, stateful: map[*corev1.Pod]bool{p: c.stateful}, storm: c.storm, now: noon}
		if c.node != "" {
			s.node = read[corev1.Node](t, c.node)
		}
		acts, after := decide(s)
		var got []string
		for _, a := range acts {
			got = append(got, string(a.step))
		}
		if strings.Join(got, " ") != c.want || after != c.after {
			t.Errorf("%s: got %v, again after %s; want %s, %s", name, got, after, c.want, c.after)
		}
	}
}

func TestShape(t *testing.T) {
	t.Parallel()
	n := read[corev1.Node](t, "{metadata: {name: n, labels: {own: x, old: y}, annotations: {slipway.dev/node-config-labels: old}}, spec: {podCIDR: 10.1.0.0/24, taints: [{key: kept, effect: NoExecute, timeAdded: '2026-01-02T11:00:00Z'}, {key: former, effect: NoSchedule}]}, status: {conditions: [{type: Ready, status: 'False'}]}}")
	got := shape(n, &v1alpha1.NodeConfigSpec{Drain: true, Labels: map[string]string{"own": "other", "zone": "a"}, Taints: []corev1.Taint{{Key: "kept", Effect: corev1.TaintEffectNoExecute}}}, noon)
	if fmt.Sprint(got.Labels) != "map[own:x zone:a]" || got.Annotations[GivenLabels] != "zone" || !got.Spec.Unschedulable || got.Spec.PodCIDR != "10.1.0.0/24" {
		t.Errorf("got %+v %+v", got.ObjectMeta, got.Spec)
	}
	if len(got.Spec.Taints) != 2 || !got.Spec.Taints[0].TimeAdded.UTC().Equal(noon.Add(-time.Hour)) || got.Spec.Taints[1].Key != corev1.TaintNodeNotReady || !got.Spec.Taints[1].TimeAdded.UTC().Equal(noon) {
		t.Errorf("got %+v", got.Spec.Taints)
	}
	ahead := shape(got, &v1alpha1.NodeConfigSpec{Taints: []corev1.Taint{{Key: "kept", Effect: corev1.TaintEffectNoExecute}}}, noon.Add(-2*time.Hour))
	if at := ahead.Spec.Taints[0].TimeAdded; !at.UTC().Equal(noon.Add(-2 * time.Hour)) {
		t.Errorf("a clock that was set back keeps the pods until %s", at)
	}
	back := shape(got, &v1alpha1.NodeConfigSpec{}, noon)
	if fmt.Sprint(back.Labels) != "map[own:x]" || len(back.Annotations) != 0 || back.Spec.Unschedulable || len(back.Spec.Taints) != 1 {
		t.Errorf("what leaves the NodeConfig leaves the node: got %+v %+v", back.ObjectMeta, back.Spec)
	}
}

// TestBudgets against the results that Kubernetes' disruption controller documents.
func TestBudgets(t *testing.T) {
	t.Parallel()
	ready := func(name string) corev1.Pod {
		return *read[corev1.Pod](t, "{metadata: {name: "+name+"}, status: {phase: Running, conditions: [{type: Ready, status: 'True'}]}}")
	}
	four := []corev1.Pod{ready("a"), ready("b"), ready("c"), *read[corev1.Pod](t, "{metadata: {name: d}, status: {phase: Pending}}")}
	for _, c := range []struct {
		spec     string
		expected int
		failure  error
		want     string
	}{
		{"spec: {minAvailable: 2}", 4, nil, "healthy 3 of 2 desired, 4 expected, 1 allowed, SufficientPods"},
		{"spec: {minAvailable: 3}", 4, nil, "healthy 3 of 3 desired, 4 expected, 0 allowed, InsufficientPods"},
		{"spec: {minAvailable: 50%}", 4, nil, "healthy 3 of 2 desired, 4 expected, 1 allowed, SufficientPods"},
		{"spec: {minAvailable: 51%}", 4, nil, "healthy 3 of 3 desired, 4 expected, 0 allowed, InsufficientPods"},
		{"spec: {maxUnavailable: 2}", 4, nil, "healthy 3 of 2 desired, 4 expected, 1 allowed, SufficientPods"},
		{"spec: {maxUnavailable: 30%}", 10, nil, "healthy 3 of 7 desired, 10 expected, 0 allowed, InsufficientPods"},
		{"spec: {maxUnavailable: 100%}", 4, nil, "healthy 3 of 0 desired, 4 expected, 3 allowed, SufficientPods"},
		{"spec: {minAvailable: 0}", 0, nil, "healthy 3 of 0 desired, 0 expected, 0 allowed, InsufficientPods"},
		{"spec: {minAvailable: 50%}", 4, errors.New("x"), "healthy 3 of 0 desired, 4 expected, 0 allowed, SyncFailed"},
		{"spec: {minAvailable: 1}, status: {disruptedPods: {a: '2026-01-02T11:59:00Z', b: '2026-01-02T11:57:00Z', gone: '2026-01-02T11:59:00Z'}}", 4, nil, "healthy 2 of 1 desired, 4 expected, 1 allowed, SufficientPods"},
	} {
		s, after := count(read[policyv1.PodDisruptionBudget](t, "{"+c.spec+"}"), four, c.expected, c.failure, noon)
		got := fmt.Sprintf("healthy %d of %d desired, %d expected, %d allowed, %s", s.CurrentHealthy, s.DesiredHealthy, s.ExpectedPods, s.DisruptionsAllowed, s.Conditions[0].Reason)
		if got != c.want || (after == time.Minute) != (len(s.DisruptedPods) == 1) {
			t.Errorf("%s: got %s, want %s; again after %s", c.spec, got, c.want, after)
		}
	}
}

// TestSilenceIsCountedFromWhatWasHeard: neither the node's clock nor a time without live state counts.
func TestSilenceIsCountedFromWhatWasHeard(t *testing.T) {
	t.Parallel()
	now := noon
	c := &controller{Deps: Deps{Clock: func() time.Time { return now }, Grace: 40 * time.Second}, seen: map[string]sight{}}
	n := read[corev1.Node](t, "{metadata: {name: n}, status: {conditions: [{type: Ready, status: 'True', lastHeartbeatTime: '2020-01-01T00:00:00Z'}]}}")
	at := func(after, want time.Duration) {
		t.Helper()
		if now = noon.Add(after); c.silence(n) != want {
			t.Errorf("after %s: silent for %s, want %s", after, c.silence(n), want)
		}
	}
	at(0, 0)
	at(30*time.Second, 30*time.Second)
	n.Status.Conditions[0].LastHeartbeatTime.Time = time.Date(2020, 1, 1, 0, 0, 10, 0, time.UTC)
	at(35*time.Second, 0)
	at(65*time.Second, 30*time.Second)
	now = noon.Add(time.Hour)
	c.wasDeaf()
	at(time.Hour, 0)
	at(time.Hour+39*time.Second, 39*time.Second)
}

// TestNothingIsConcludedFromWhatIsNotListed: before the pods are listed a node seems to have none.
func TestNothingIsConcludedFromWhatIsNotListed(t *testing.T) {
	t.Parallel()
	c := &controller{Deps: Deps{Clock: func() time.Time { return noon }, Grace: 40 * time.Second}, index: newIndex(), seen: map[string]sight{}}
	n := read[corev1.Node](t, "{metadata: {name: n}, status: {conditions: [{type: Ready, status: 'True'}]}}")
	config := &v1alpha1.NodeConfig{Spec: v1alpha1.NodeConfigSpec{Drain: true}}
	attend := func() (time.Duration, []string) {
		after, left, err := c.attend(t.Context(), n, config)
		if err != nil {
			t.Fatal(err)
		}
		return after, left
	}
	if after, left := attend(); after != again || left != nil {
		t.Errorf("unlisted: again after %s, left %v", after, left)
	}
	podsOf{c.index}.Listed(nil, "1")
	if after, left := attend(); after != 0 || left == nil || len(left) > 0 {
		t.Errorf("listed: again after %s, left %v", after, left)
	}
	podsOf{c.index}.Lost()
	if after, left := attend(); after != again || left != nil {
		t.Errorf("lost: again after %s, left %v", after, left)
	}
}
