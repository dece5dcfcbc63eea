package access

import (
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

func TestReferencesToOtherProjects(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		object string
		want   []string
	}{
		"trigger": {`{kind: DeploymentConfig, metadata: {namespace: shop}, spec: {triggers: [{imageChangeParams: {from: {kind: ImageStreamTag, name: "app:live", namespace: other}}}]}}`,
			[]string{"spec.triggers[0].imageChangeParams.from.namespace other/app"}},
		"own trigger":                       {`{kind: DeploymentConfig, metadata: {namespace: shop}, spec: {triggers: [{imageChangeParams: {from: {kind: ImageStreamTag, name: "app:live", namespace: shop}}}, {imageChangeParams: {from: {kind: ImageStreamTag, name: "app:live"}}}]}}`, nil},
		"image":                             {`{kind: DeploymentConfig, metadata: {namespace: shop}, spec: {template: {spec: {initContainers: [{image: "127.0.0.1:7081/other/app@sha256:00"}]}}}}`, []string{"spec.template.spec.initContainers[0].image other/app"}},
		"image by another name of the host": {`{kind: Pod, metadata: {namespace: shop}, spec: {containers: [{image: "registry.example.com:7081/other/app"}]}}`, []string{"spec.containers[0].image other/app"}},
		"image elsewhere":                   {`{kind: Pod, metadata: {namespace: shop}, spec: {containers: [{image: "registry.example.com/other/app:7081"}, {image: app}, {image: "127.0.0.1:7081/shop/app:1"}]}}`, nil},
		"cron job":                          {`{kind: CronJob, metadata: {namespace: shop}, spec: {jobTemplate: {spec: {template: {spec: {containers: [{image: "127.0.0.1:7081/other/app:1"}]}}}}}}`, []string{"spec.jobTemplate.spec.template.spec.containers[0].image other/app"}},
		"build":                             {`{kind: BuildConfig, metadata: {namespace: shop}, spec: {strategy: {sourceStrategy: {from: {kind: ImageStreamTag, name: "go:1", namespace: base}}}, source: {images: [{from: {kind: ImageStreamImage, name: "go@sha256:00", namespace: base}}]}}}`, []string{"spec.source.images[0].from.namespace base/go", "spec.strategy.sourceStrategy.from.namespace base/go"}},
		"stream":                            {`{kind: ImageStream, metadata: {namespace: shop}, spec: {dockerImageRepository: "127.0.0.1:7081/other/app", tags: [{name: live, from: {kind: ImageStreamTag, name: "app:1", namespace: other}}, {name: x, from: {kind: DockerImage, name: "docker://127.0.0.1:7081/other/app:1"}}]}}`, []string{"spec.dockerImageRepository other/app", "spec.tags[0].from.namespace other/app", "spec.tags[1].from.name other/app"}},
		"promotion":                         {`{kind: Promotion, metadata: {namespace: live}, spec: {from: dev, "on": {sourceRef: {name: a, namespace: dev}}, write: {sourceRef: {name: c, namespace: slipway}}}}`, []string{"spec.from dev/", "spec.on.sourceRef.namespace dev/a", "spec.write.sourceRef.namespace slipway/c"}},
		"application":                       {`{kind: Application, metadata: {namespace: shop}, spec: {sourceRef: {name: a, namespace: other}}}`, []string{"spec.sourceRef.namespace other/a"}},
		"instance":                          {`{kind: TemplateInstance, metadata: {namespace: shop}, spec: {template: {metadata: {name: db, namespace: base}}}}`, []string{"spec.template.metadata.namespace base/db"}},
		"text":                              {`{kind: ConfigMap, metadata: {namespace: shop}, data: {image: "127.0.0.1:7081/other/app"}}`, nil},
	} {
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(c.object), &o.Object); err != nil {
			t.Fatal(name, err)
		}
		var got []string
		for _, r := range ReferencesOf(o, "127.0.0.1:7081") {
			got = append(got, r.Field+" "+r.Project+"/"+r.Name)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
