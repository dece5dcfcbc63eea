package lint

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/render/document"
)

// objects parses YAML into objects of project shop, with the lines of their fields.
func objects(t *testing.T, text string) []api.DesiredObject {
	t.Helper()
	docs, problems := document.Parse("a.yaml", []byte(text))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	var out []api.DesiredObject
	for _, d := range docs {
		u := &unstructured.Unstructured{Object: d.Object}
		if u.GetNamespace() == "" {
			u.SetNamespace("shop")
		}
		out = append(out, api.DesiredObject{Unstructured: u, Origin: api.Origin{File: "a.yaml", Line: d.Line, FieldLines: d.Lines}})
	}
	return out
}

// pod is a pod's text with a container of these fields.
func pod(container string) string {
	return "apiVersion: v1\nkind: Pod\nmetadata: {name: p, labels: {app: p}}\nspec:\n  containers:\n  - " + container + "\n"
}

const limits = "resources: {limits: {memory: 64Mi}}"

func TestObjects(t *testing.T) {
	dc := func(image, trigger string) string {
		return "apiVersion: apps.openshift.io/v1\nkind: DeploymentConfig\nmetadata: {name: d}\nspec:\n  triggers: [" + trigger + "]\n  template:\n    metadata: {labels: {app: d}}\n    spec:\n      containers:\n      - {name: c, image: '" + image + "', " + limits + "}\n"
	}
	const service = "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {selector: %}\n"
	const stream = "---\napiVersion: image.openshift.io/v1\nkind: ImageStream\nmetadata: {name: frontend}\n"
	follow := func(name string) string {
		return "{type: ImageChange, imageChangeParams: {automatic: true, containerNames: [c], from: {kind: ImageStreamTag, name: '" + name + "'}}}"
	}
	for _, c := range []struct{ name, in, want string }{
		{"good", pod("{name: c, image: 'a/b:1', " + limits + "}"), ""},
		{"latest", pod("{name: c, image: 'a/b:latest', " + limits + "}"), "a.yaml:6: warning: shop/pod/p: spec.containers[0].image: image a/b:latest may be another one tomorrow: name a tag, better a digest, or follow an image stream [image]"},
		{"no tag", pod("{name: c, image: 'host:5000/b', " + limits + "}"), "image host:5000/b may be another"},
		{"a digest", pod("{name: c, image: 'a/b@sha256:0', " + limits + "}"), ""},
		{"no limit", pod("{name: c, image: 'a/b:1'}"), "a.yaml:6: warning: shop/pod/p: spec.containers[0].resources.limits.memory: there is no memory limit"},
		{"limits by the project", pod("{name: c, image: 'a/b:1'}") + "---\nkind: LimitRange\nmetadata: {name: l}\nspec: {limits: [{type: Container, default: {memory: 64Mi}}]}\n", ""},
		{"spared", strings.Replace(pod("{name: c, image: a}"), "name: p,", "name: p, annotations: {slipway.dev/lint-ignore: 'limits, image'},", 1), ""},
		{"an image by a trigger", dc("x", follow("frontend:latest")) + stream, ""},
		{"a stream that is not there", dc("x", follow("frontent:latest")) + stream, "a.yaml:5: warning: shop/deploymentconfig/d: spec.triggers[0].imageChangeParams.from.name: ImageStream frontent is not in this repository: did you mean frontend? [reference]"},
		{"last triggered", dc("a:1", "{type: ImageChange, imageChangeParams: {lastTriggeredImage: x, from: {kind: ImageStreamTag, name: 'frontend:x'}}}") + stream, "lastTriggeredImage: is the server's to write"},
		{"service account", strings.Replace(pod("{name: c, image: 'a:1', "+limits+"}"), "containers:", "serviceAccount: x\n  serviceAccountName: robot\n  containers:", 1),
			"a.yaml:5: warning: shop/pod/p: spec.serviceAccount: is out of date: use serviceAccountName [deprecated]\na.yaml:6: warning: shop/pod/p: spec.serviceAccountName: ServiceAccount robot is not in this repository [reference]"},
		{"a secret in the environment", pod("{name: c, image: 'a:1', env: [{name: A, valueFrom: {secretKeyRef: {name: s, key: k}}}], envFrom: [{configMapRef: {name: m, optional: true}}], " + limits + "}"), "spec.containers[0].env[0].valueFrom.secretKeyRef.name: Secret s is not in this repository"},
		{"volumes", strings.Replace(pod("{name: c, image: 'a:1', "+limits+"}"), "containers:", "volumes: [{name: v, secret: {secretName: v}}, {name: w, configMap: {name: w}}]\n  containers:", 1), "ConfigMap w is not in this repository"},
		{"selects", strings.Replace(service, "%", "{app: p}", 1) + "---\n" + pod("{name: c, image: 'a:1', "+limits+"}"), ""},
		{"selects what a rollout labels", strings.Replace(service, "%", "{deploymentconfig: d}", 1) + "---\n" + dc("a:1", ""), ""},
		{"selects nothing", strings.Replace(service, "%", "{app: q}", 1) + "---\n" + pod("{name: c, image: 'a:1', "+limits+"}"), "a.yaml:4: warning: shop/service/s: spec.selector: selects no pods of this repository [reference]"},
		{"selects in another project", strings.Replace(service, "%", "{app: p}", 1) + "---\n" + strings.Replace(pod("{name: c, image: 'a:1', "+limits+"}"), "name: p,", "name: p, namespace: other,", 1), "selects no pods"},
		{"cluster IP", "kind: Service\nmetadata: {name: s}\nspec: {clusterIP: 172.30.0.1}\n", "spec.clusterIP: is the server's to allocate"},
		{"route", "kind: Route\nmetadata: {name: r}\nspec: {to: {name: webb}, alternateBackends: [{name: web}]}\n---\nkind: Service\nmetadata: {name: web}\nspec: {}\n", "spec.to.name: Service webb is not in this repository: did you mean web?"},
		{"repository of a stream", "kind: ImageStream\nmetadata: {name: s}\nspec: {dockerImageRepository: a/b, tags: [{name: a, from: {kind: ImageStreamTag, name: b}}]}\n", "spec.dockerImageRepository: is out of date"},
		{"the host, by nobody's leave", pod("{name: c, image: 'a:1', securityContext: {privileged: true}, " + limits + "}"),
			"a.yaml:6: warning: shop/pod/p: spec.containers[0].securityContext.privileged: Invalid value: true: Privileged containers are not allowed; service account shop/default may use anyuid at most; privileged would allow it, if an administrator let the account use it [host-access]"},
		{"the host, by constraints", pod("{name: c, image: 'a:1', securityContext: {privileged: true}, "+limits+"}") +
			"---\napiVersion: v1\nkind: SecurityContextConstraints\nmetadata: {name: own}\nallowPrivilegedContainer: true\nrunAsUser: {type: RunAsAny}\nseLinuxContext: {type: RunAsAny}\nusers: ['system:serviceaccount:shop:default']\n", ""},
		{"another project's stream", "kind: ImageStream\nmetadata: {name: s}\nspec: {tags: [{name: a, from: {kind: ImageStreamTag, name: 'x:1', namespace: other}}]}\n", "ImageStream x of project other is not in this repository"},
	} {
		var got []string
		for _, f := range Sort(Objects(objects(t, c.in), true)) {
			got = append(got, f.String())
		}
		if text := strings.Join(got, "\n"); (c.want == "") != (text == "") || !strings.Contains(text, c.want) {
			t.Errorf("%s: got\n%s\nwant %q", c.name, text, c.want)
		}
	}
	if got := Objects(objects(t, "kind: Route\nmetadata: {name: r}\nspec: {to: {name: web}}\n"), false); len(got) > 0 {
		t.Errorf("references of a part: %v", got)
	}
}

func TestFile(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"legacy", "kind: ConfigMap\napiVersion: v1\n---\nkind: Route\napiVersion: v1\nmetadata: {name: r}\n", "a.yaml:5: warning: route/r: apiVersion: v1 Route is out of date: use route.openshift.io/v1 [deprecated]"},
		{"legacy in a template", "kind: Template\napiVersion: template.openshift.io/v1\nmetadata: {name: t}\nobjects:\n- kind: Service\n  apiVersion: v1\n- kind: DeploymentConfig\n  apiVersion: v1\n", "a.yaml:8: warning: template/t: objects[1].apiVersion: v1 DeploymentConfig is out of date: use apps.openshift.io/v1"},
		{"plain secret", "kind: Secret\napiVersion: v1\nmetadata: {name: s}\nstringData:\n  password: canary\n", "a.yaml:4: warning: secret/s: stringData: its values stand in the repository in plain text: encrypt the file with sops, or generate them by a template [plain-secret]"},
		{"empty secret", "kind: Secret\napiVersion: v1\nmetadata: {name: s}\n", ""},
		{"encrypted secret", "kind: Secret\napiVersion: v1\nmetadata: {name: s}\nstringData:\n  password: ENC[x]\nsops: {mac: x}\n", ""},
		{"namespace", "kind: Namespace\napiVersion: v1\nmetadata: {name: s}\n", ""},
		{"broken", "kind: [", ""},
	} {
		var got []string
		for _, f := range File("a.yaml", []byte(c.in)) {
			got = append(got, f.String())
		}
		if text := strings.Join(got, "\n"); text != c.want && (c.want == "" || !strings.Contains(text, c.want)) || strings.Contains(text, "canary") {
			t.Errorf("%s: got %q, want %q", c.name, text, c.want)
		}
	}
}
