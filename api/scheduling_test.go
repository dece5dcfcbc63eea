package api

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func TestPlacementIsChecked(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ spec, want string }{
		{`tolerations: [{key: a, operator: Exists, effect: NoExecute, tolerationSeconds: 5}]`, ""},
		{`tolerations: [{operator: Exists}]`, ""},
		{`tolerations: [{key: a, operator: Exists, value: b}]`, "spec.tolerations[0].value"},
		{`tolerations: [{effect: NoSchedule}]`, "spec.tolerations[0].operator"},
		{`tolerations: [{key: a, effect: Never}]`, "spec.tolerations[0].effect"},
		{`tolerations: [{key: a, tolerationSeconds: 5}]`, "spec.tolerations[0].effect"},
		{`affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: []}}}`, "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"},
		{`affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 101, preference: {matchExpressions: [{key: a, operator: Near}]}}]}}`,
			"spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].preference.matchExpressions[0].operator spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight"},
		{`affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{labelSelector: {}}]}}`, "spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey"},
		{`affinity: {podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: zone, matchLabelKeys: [a]}]}}`, "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].matchLabelKeys"},
		{`topologySpreadConstraints: [{maxSkew: 0, topologyKey: zone, whenUnsatisfiable: Sometimes}]`, "spec.topologySpreadConstraints[0].maxSkew spec.topologySpreadConstraints[0].whenUnsatisfiable"},
		{`topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway, minDomains: 2}]`, "spec.topologySpreadConstraints[0].minDomains"},
		{`schedulingGates: [{name: a}]`, "spec.schedulingGates"},
		{`schedulerName: mine`, "spec.schedulerName"},
	} {
		u := object(t, `{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: shop}, spec: {containers: [{name: c, image: busybox}], `+c.spec+`}}`)
		if got := fields(Check(u)); got != c.want {
			t.Errorf("%s: refused %q, want %q", c.spec, got, c.want)
		}
	}
}

// TestNodesAreChosenByTheScheduler: whoever names his node passes by taints, cordons and the project's selector.
func TestNodesAreChosenByTheScheduler(t *testing.T) {
	t.Parallel()
	const spec = `{restartPolicy: Never, nodeName: n1, containers: [{name: c, image: busybox}]}`
	for text, want := range map[string]string{
		`{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: shop}, spec: ` + spec + `}`:                                                                           "spec.nodeName",
		`{apiVersion: batch/v1, kind: Job, metadata: {name: j, namespace: shop}, spec: {template: {spec: ` + spec + `}}}`:                                                 "spec.template.spec.nodeName",
		`{apiVersion: batch/v1, kind: CronJob, metadata: {name: j, namespace: shop}, spec: {schedule: '@hourly', jobTemplate: {spec: {template: {spec: ` + spec + `}}}}}`: "spec.jobTemplate.spec.template.spec.nodeName",
	} {
		errs := Check(object(t, text))
		if got := fields(errs); got != want || !strings.Contains(errs[0].Detail, "nodeSelector: {kubernetes.io/hostname: n1}") {
			t.Errorf("%s: refused %v, want %s", text, errs, want)
		}
	}
	// A pod that the scheduler has bound is another matter.
	if errs := Validate(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "p"}, Spec: corev1.PodSpec{NodeName: "n1"}}); strings.Contains(fields(errs), "nodeName") {
		t.Error(errs)
	}
}

func fields(errs field.ErrorList) string {
	var names []string
	for _, e := range errs {
		names = append(names, e.Field)
	}
	return strings.Join(names, " ")
}

func TestNodeConfigsBudgetsAndClassesAreChecked(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{apiVersion: slipway.dev/v1alpha1, kind: NodeConfig, metadata: {name: n1}, spec: {labels: {kubernetes.io/hostname: other}}}`:                                                                   "spec.labels[kubernetes.io/hostname]",
		`{apiVersion: slipway.dev/v1alpha1, kind: NodeConfig, metadata: {name: n1}, spec: {taints: [{key: node.kubernetes.io/not-ready, effect: NoExecute}]}}`:                                          "spec.taints[0].key",
		`{apiVersion: slipway.dev/v1alpha1, kind: NodeConfig, metadata: {name: n1}, spec: {taints: [{key: a, effect: NoExecute}, {key: a, value: b, effect: NoExecute}, {key: a, effect: Sometimes}]}}`: "spec.taints[1] spec.taints[2].effect",
		`{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: b, namespace: a}, spec: {minAvailable: 1, maxUnavailable: 1}}`:                                                             "spec",
		`{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: b, namespace: a}, spec: {maxUnavailable: 101%}}`:                                                                           "spec.maxUnavailable",
		`{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: b, namespace: a}, spec: {minAvailable: -1}}`:                                                                               "spec.minAvailable",
		`{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: b, namespace: a}, spec: {selector: {}}}`:                                                                                   "spec",
		`{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: system-mine}, value: 1000000001}`:                                                                                     "metadata.name value",
	} {
		if got := fields(Check(object(t, text))); got != want {
			t.Errorf("%s: refused %q, want %q", text, got, want)
		}
	}
}

func TestSchedulerPolicy(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{"kind": "Policy", "apiVersion": "v1", "predicates": [{"name": "PodFitsResources"}, {"name": "Region", "argument": {"serviceAffinity": {"labels": ["region"]}}}], "priorities": [{"name": "LeastRequestedPriority", "weight": 1}, {"name": "Zone", "weight": 2, "argument": {"serviceAntiAffinity": {"label": "zone"}}}]}`: "",
		"kind: Policy\napiVersion: v1\npredicates: []\npriorities: []\n":                                                                         "",
		`{"kind": "Policies", "apiVersion": "v1"}`:                                                                                               "data[policy.cfg]",
		`{"kind": "Policy", "apiVersion": "v1", "extenders": []}`:                                                                                "data[policy.cfg]",
		`{"kind": "Policy", "apiVersion": "v1", "predicates": [{"name": "FitsNicely"}]}`:                                                         "data[policy.cfg].predicates[0].name",
		`{"kind": "Policy", "apiVersion": "v1", "predicates": [{"name": "A", "argument": {}}]}`:                                                  "data[policy.cfg].predicates[0].argument",
		`{"kind": "Policy", "apiVersion": "v1", "priorities": [{"name": "EqualPriority", "weight": 0}, {"name": "EqualPriority", "weight": 1}]}`: "data[policy.cfg].priorities[0].weight data[policy.cfg].priorities[1].name",
	} {
		c := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: SystemProject, Name: SchedulerConfig}, Data: map[string]string{SchedulerPolicyKey: text}}
		if got := fields(Validate(c)); got != want {
			t.Errorf("%s: refused %q, want %q", text, got, want)
		}
		if c.Namespace = "shop"; len(Validate(c)) > 0 {
			t.Error("a project's ConfigMap of that name is its own")
		}
	}
	c := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: SystemProject, Name: SchedulerConfig}, Data: map[string]string{DefaultNodeSelectorKey: "a in (b)", "policy": ""}}
	if got := fields(Validate(c)); got != "data[defaultNodeSelector] data[policy]" {
		t.Errorf("refused %q", got)
	}
}

func FuzzSchedulerPolicy(f *testing.F) {
	f.Add(`{"kind": "Policy", "apiVersion": "v1", "predicates": [{"name": "Region", "argument": {"serviceAffinity": {"labels": ["region"]}}}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		p, errs := ReadSchedulerPolicy(text, field.NewPath("data"))
		if (p == nil) == (len(errs) == 0) {
			t.Errorf("%v, %v", p, errs)
		}
	})
}

func TestNodeSelectorsMerge(t *testing.T) {
	t.Parallel()
	got, err := MergeNodeSelectors(map[string]string{"a": "1", "b": "2"}, map[string]string{"a": "1", "c": "3"})
	if err != nil || len(got) != 3 || got["b"] != "2" || got["c"] != "3" {
		t.Error(got, err)
	}
	if _, err := MergeNodeSelectors(map[string]string{"a": "1"}, map[string]string{"a": "2"}); err == nil {
		t.Error("different values are a conflict")
	}
}
