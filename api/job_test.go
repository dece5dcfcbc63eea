package api

import (
	"maps"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

const jobText = `{apiVersion: batch/v1, kind: Job, metadata: {name: j, namespace: shop}, spec: {SPEC, template: {metadata: {labels: {app: j}}, spec: {restartPolicy: Never, containers: [{name: c, image: busybox}]}}}}`

func TestJobsAreChecked(t *testing.T) {
	t.Parallel()
	for spec, want := range map[string]string{
		"completions: 3, parallelism: 2":                         "",
		"completionMode: Indexed, completions: 4":                "",
		"completionMode: Indexed":                                "",
		"completionMode: Indexed, parallelism: 1":                "spec.completions",
		"completionMode: Indexed, completions: 100001":           "spec.completions",
		"completionMode: Sideways":                               "spec.completionMode",
		"parallelism: -1":                                        "spec.parallelism",
		"backoffLimit: -1, ttlSecondsAfterFinished: -1":          "spec.backoffLimit spec.ttlSecondsAfterFinished",
		"activeDeadlineSeconds: 0":                               "spec.activeDeadlineSeconds",
		"manualSelector: true":                                   "spec.manualSelector",
		"selector: {matchLabels: {app: j}}":                      "spec.selector",
		"backoffLimitPerIndex: 1, maxFailedIndexes: 1":           "spec.backoffLimitPerIndex spec.maxFailedIndexes",
		"successPolicy: {rules: [{succeededCount: 1}]}":          "spec.successPolicy",
		"managedBy: example.com/other":                           "spec.managedBy",
		"managedBy: kubernetes.io/job-controller":                "",
		"podReplacementPolicy: Failed":                           "",
		"podReplacementPolicy: Never":                            "spec.podReplacementPolicy",
		"podReplacementPolicy: TerminatingOrFailed, " + okPolicy: "spec.podReplacementPolicy",
		okPolicy: "",
		"podFailurePolicy: {rules: [{action: FailIndex, onExitCodes: {operator: In, values: [1]}}]}":                        "spec.podFailurePolicy.rules[0].action",
		"podFailurePolicy: {rules: [{action: Count}]}":                                                                      "spec.podFailurePolicy.rules[0]",
		"podFailurePolicy: {rules: [{action: Count, onExitCodes: {operator: In, values: [0, 256, 3, 3]}}]}":                 "spec.podFailurePolicy.rules[0].onExitCodes.values[0] spec.podFailurePolicy.rules[0].onExitCodes.values[1] spec.podFailurePolicy.rules[0].onExitCodes.values[3]",
		"podFailurePolicy: {rules: [{action: Count, onExitCodes: {operator: In, containerName: x, values: []}}]}":           "spec.podFailurePolicy.rules[0].onExitCodes.containerName spec.podFailurePolicy.rules[0].onExitCodes.values",
		"podFailurePolicy: {rules: [{action: Ignore, onPodConditions: [{type: DisruptionTarget, status: Perhaps}]}]}":       "spec.podFailurePolicy.rules[0].onPodConditions[0].status",
		"podFailurePolicy: {rules: [{action: Ignore, onPodConditions: [{type: DisruptionTarget}, {type: x, status: ''}]}]}": "",
	} {
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(strings.Replace(jobText, "SPEC", spec, 1)), &u.Object); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range Check(u) {
			got = append(got, e.Field)
		}
		if spec == "completionMode: Indexed" { // one completion is the default
			want = ""
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: refused %q, want %q", spec, got, want)
		}
	}
}

const okPolicy = "podFailurePolicy: {rules: [{action: FailJob, onExitCodes: {operator: NotIn, containerName: c, values: [0, 3]}}, {action: Ignore, onPodConditions: [{type: DisruptionTarget}]}]}"

// A Job of a repository has no selector; the one that live state takes in has that of its uid, and
// what is applied again keeps it.
func TestJobsGetTheirSelectorFromTheirUID(t *testing.T) {
	t.Parallel()
	j := &batchv1.Job{}
	if err := yaml.Unmarshal([]byte(strings.Replace(jobText, "SPEC, ", "", 1)), j); err != nil {
		t.Fatal(err)
	}
	Default(j)
	if j.Spec.Selector != nil || len(j.Spec.Template.Labels) != 1 || j.Labels["app"] != "j" {
		t.Errorf("without a uid: %+v", j)
	}
	j.UID = "u1"
	Default(j)
	want := map[string]string{
		"app": "j", "batch.kubernetes.io/controller-uid": "u1", "batch.kubernetes.io/job-name": "j", "controller-uid": "u1", "job-name": "j",
	}
	if !maps.Equal(j.Spec.Template.Labels, want) || j.Spec.Selector == nil || j.Spec.Selector.MatchLabels["batch.kubernetes.io/controller-uid"] != "u1" {
		t.Errorf("with a uid: %+v", j.Spec)
	}
	if errs := Validate(j); len(errs) > 0 {
		t.Error(errs)
	}
	again := j.DeepCopy()
	Default(again)
	if !equality.Semantic.DeepEqual(j, again) || len(ValidateUpdate(again, j)) > 0 {
		t.Error("defaulting twice changes it")
	}
	again.Spec.Template.Spec.Containers[0].Image = "other"
	if errs := ValidateUpdate(again, j); len(errs) != 1 || errs[0].Field != "spec.template" {
		t.Errorf("another image: %v", errs)
	}
	again = j.DeepCopy()
	two, yes := int32(2), true
	again.Spec.Parallelism, again.Spec.Suspend, again.Spec.BackoffLimit = &two, &yes, &two
	if errs := ValidateUpdate(again, j); len(errs) > 0 {
		t.Error(errs)
	}
}
