package api

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

func TestUnserved(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{apiVersion: batch/v1, kind: Job}`:                                                                                        "",
		`{apiVersion: batch/v1, kind: CronJob}`:                                                                                    "",
		`{apiVersion: v1, kind: PersistentVolumeClaim}`:                                                                            "",
		`{apiVersion: example.com/v1, kind: Job}`:                                                                                  "",
		`{apiVersion: v1, kind: ConfigMap, spec: {volumes: [{persistentVolumeClaim: {claimName: a}}]}}`:                            "",
		`{apiVersion: v1, kind: Pod, spec: {volumes: [{emptyDir: {}}, {persistentVolumeClaim: {}}]}}`:                              "",
		`{apiVersion: v1, kind: Pod, spec: {volumes: [{emptyDir: {}}, 7]}}`:                                                        "",
		`{apiVersion: v1, kind: DeploymentConfig, spec: {template: {spec: {volumes: [{emptyDir: {}}]}}}}`:                          "",
		`{apiVersion: v1, kind: DeploymentConfig, spec: {template: {spec: {volumes: [{persistentVolumeClaim: {claimName: a}}]}}}}`: "",
		`{apiVersion: v1, kind: BuildConfig, spec: {strategy: {jenkinsPipelineStrategy: {}}}}`:                                     "spec.strategy.jenkinsPipelineStrategy",
		`{apiVersion: v1, kind: BuildConfig, spec: {source: {binary: {}}, strategy: {customStrategy: {a: b}}}}`:                    "spec.strategy.customStrategy spec.source.binary",
		`{apiVersion: v1, kind: BuildConfig, spec: {source: {git: {}}, strategy: {dockerStrategy: {}}}}`:                           "",
	} {
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range Unserved(u) {
			got = append(got, e.Field)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: refused %q, want %q", text, got, want)
		}
	}
}
