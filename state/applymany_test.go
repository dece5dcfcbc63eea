package state_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	kyaml "sigs.k8s.io/yaml"

	"slipway.dev/slipway/state"
	"slipway.dev/slipway/state/statetest"
)

// singly is what ApplyMany must be equal to.
func singly(t *testing.T, c *state.Client, objects []*unstructured.Unstructured, o client.ApplyOptions) []state.ApplyResult {
	out := make([]state.ApplyResult, len(objects))
	for i, obj := range objects {
		before := obj.DeepCopy()
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(obj), before); err != nil {
			before = nil
		}
		got := obj.DeepCopy()
		po := &client.PatchOptions{DryRun: o.DryRun, Force: o.Force, FieldManager: o.FieldManager}
		if err := c.Patch(t.Context(), got, client.Apply, po); err != nil {
			out[i].Err = err
			continue
		}
		out[i].Object, out[i].Before = got, before
	}
	return out
}

var volatile = regexp.MustCompile(`"(uid|(batch.kubernetes.io/)?controller-uid|resourceVersion|creationTimestamp|deletionTimestamp|time)":"[^"]*"|resourceVersion [0-9]+, now [0-9]+|now has [0-9a-f-]+`)

func text(t *testing.T, u *unstructured.Unstructured) string {
	t.Helper()
	if u == nil {
		return "absent"
	}
	u = u.DeepCopy()
	// Managers are listed by time; here by name.
	managers := u.GetManagedFields()
	slices.SortFunc(managers, func(a, b metav1.ManagedFieldsEntry) int {
		return cmp.Or(cmp.Compare(a.Manager, b.Manager), cmp.Compare(a.Operation, b.Operation))
	})
	u.SetManagedFields(managers)
	data, err := json.Marshal(u.Object)
	must(t, err)
	return volatile.ReplaceAllString(string(data), "*")
}

func sameResults(t *testing.T, what string, objects []*unstructured.Unstructured, got, want []state.ApplyResult) {
	t.Helper()
	for i := range want {
		name := fmt.Sprintf("%s: %d: %s %s", what, i, objects[i].GetKind(), objects[i].GetName())
		g, w := "", ""
		if got[i].Err != nil {
			g = volatile.ReplaceAllString(got[i].Err.Error(), "*")
		}
		if want[i].Err != nil {
			w = volatile.ReplaceAllString(want[i].Err.Error(), "*")
		}
		if g != w || apierrors.ReasonForError(got[i].Err) != apierrors.ReasonForError(want[i].Err) {
			t.Errorf("%s: error %q, singly %q", name, g, w)
		}
		if g, w := text(t, got[i].Object), text(t, want[i].Object); g != w {
			t.Errorf("%s: is\n%s\nsingly\n%s", name, g, w)
		}
		if g, w := text(t, got[i].Before), text(t, want[i].Before); g != w {
			t.Errorf("%s: was\n%s\nsingly\n%s", name, g, w)
		}
	}
}

// sameStored compares what two clients' prefixes hold.
func sameStored(t *testing.T, what string, a, b *state.Client) {
	t.Helper()
	left, err := a.Raw(t.Context())
	must(t, err)
	right, err := b.Raw(t.Context())
	must(t, err)
	strip := func(m map[string]string) map[string]string {
		out := map[string]string{}
		for k, v := range m {
			if !strings.Contains(k, "/core/secrets/") { // sealed with a nonce; compared by results
				u := &unstructured.Unstructured{}
				must(t, json.Unmarshal([]byte(v), &u.Object))
				out[k[strings.Index(k[1:], "/")+1:]] = text(t, u)
			}
		}
		return out
	}
	l, r := strip(left), strip(right)
	if len(l) != len(r) {
		t.Errorf("%s: %d keys, singly %d", what, len(l), len(r))
	}
	for k, v := range r {
		if l[k] != v {
			t.Errorf("%s: %s holds\n%s\nsingly\n%s", what, k, l[k], v)
		}
	}
}

// generator makes manifests at random, good and bad ones, of few names, so that they meet.
type generator struct{ *rand.Rand }

func (g generator) pick(of ...string) string { return of[g.IntN(len(of))] }

var shapes = []string{
	`{apiVersion: v1, kind: ConfigMap, metadata: {namespace: a, name: NAME, labels: {l: "VALUE"}}, data: {KEY: "VALUE", fixed: "1"}}`,
	`{apiVersion: v1, kind: ConfigMap, metadata: {namespace: a, name: NAME, annotations: {}, creationTimestamp: null}, data: {}, immutable: false}`,
	`{apiVersion: v1, kind: ConfigMap, metadata: {namespace: a, name: NAME}, data: null, binaryData: {KEY: aGVsbG8=}}`,
	`{apiVersion: v1, kind: ConfigMap, metadata: {namespace: a, name: NAME, annotations: {kubectl.kubernetes.io/last-applied-configuration: '{"data":{"KEY":"VALUE"}}'}}, data: {KEY: x}}`,
	`{apiVersion: v1, kind: ConfigMap, metadata: {namespace: a, name: NAME}, nope: {}}`,
	`{apiVersion: v1, kind: ConfigMap, metadata: {namespace: a, name: NAME, finalizers: [slipway.dev/KEY], ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: o, uid: u}]}}`,
	`{apiVersion: v1, kind: ConfigMap, metadata: {namespace: a, name: NAME, generateName: x-, generation: 7, selfLink: s}, status: {a: b}}`,
	`{apiVersion: v1, kind: ConfigMap, metadata: {namespace: a, name: NAME, resourceVersion: "1"}, data: {KEY: VALUE}}`,
	`{apiVersion: v1, kind: ConfigMap, metadata: {namespace: a, name: NAME, uid: other}}`,
	`{apiVersion: v1, kind: ConfigMap, metadata: {namespace: a, name: NAME, managedFields: [{manager: m}]}}`,
	`{apiVersion: v1, kind: ConfigMap, metadata: {namespace: "", name: NAME}}`,
	`{apiVersion: v1, kind: Nothing, metadata: {namespace: a, name: NAME}}`,
	`{apiVersion: v1, kind: Secret, metadata: {namespace: a, name: NAME}, stringData: {KEY: "VALUE"}, data: {z: aGVsbG8=}}`,
	`{apiVersion: v1, kind: Secret, metadata: {namespace: a, name: NAME}, data: [a]}`,
	`{apiVersion: v1, kind: Service, metadata: {namespace: a, name: NAME}, spec: {selector: {app: "VALUE"}, ports: [{name: KEY, port: 80, targetPort: web}, {name: other, port: 81, protocol: UDP}]}}`,
	`{apiVersion: v1, kind: Service, metadata: {namespace: a, name: NAME}, spec: {ports: [{port: 80}, {port: 80}]}}`,
	`{apiVersion: v1, kind: DeploymentConfig, metadata: {namespace: a, name: NAME}, spec: {replicas: 2, selector: {app: x}, triggers: [{type: ConfigChange}], template: {metadata: {labels: {app: x}}, spec: {containers: [{name: KEY, image: "VALUE", resources: {limits: {cpu: 500m, memory: 1Gi}}, env: [{name: KEY, value: "VALUE"}, {name: LAST, value: ""}], ports: [{containerPort: 80}]}]}}}}`,
	`{apiVersion: apps.openshift.io/v1, kind: DeploymentConfig, metadata: {namespace: a, name: NAME}, spec: {selector: {app: x}, strategy: {type: Recreate}, template: {metadata: {labels: {app: x}, creationTimestamp: null}, spec: {containers: [{name: c, image: i, command: [a, "VALUE"], resources: {}, volumeMounts: []}], tolerations: []}}}, status: {replicas: 9}}`,
	`{apiVersion: apps.openshift.io/v1, kind: DeploymentConfig, metadata: {namespace: a, name: NAME}, spec: {replicas: "KEY"}}`,
	`{apiVersion: route.openshift.io/v1, kind: Route, metadata: {namespace: a, name: NAME}, spec: {host: "KEY.example.com", to: {kind: Service, name: "s-KEY"}, tls: {termination: edge}}}`,
	`{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {namespace: a, name: NAME}, rules: [{apiGroups: [""], resources: [pods], verbs: [get, KEY]}]}`,
	`{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {namespace: a, name: NAME}, rules: []}`,
	`{apiVersion: image.openshift.io/v1, kind: ImageStream, metadata: {namespace: a, name: NAME}, spec: {tags: [{name: KEY, from: {kind: DockerImage, name: "example.com/x:VALUE"}}]}}`,
	`{apiVersion: template.openshift.io/v1, kind: Template, metadata: {namespace: a, name: NAME}, objects: [{apiVersion: v1, kind: ConfigMap, metadata: {name: t}, data: {KEY: "VALUE"}}], parameters: [{name: P, value: "VALUE"}]}`,
	`{apiVersion: build.openshift.io/v1, kind: BuildConfig, metadata: {namespace: a, name: NAME}, spec: {source: {git: {uri: "https://example.com/KEY"}}, strategy: {dockerStrategy: {}}, output: {to: {kind: ImageStreamTag, name: "x:KEY"}}}}`,
	`{apiVersion: slipway.dev/v1alpha1, kind: Application, metadata: {namespace: a, name: NAME}, spec: {repositoryRef: {name: r}, path: KEY, dependsOn: [{name: other}]}}`,
	`{apiVersion: v1, kind: Pod, metadata: {namespace: a, name: NAME}, spec: {containers: [{name: c, image: "VALUE"}]}}`,
	`{apiVersion: v1, kind: Pod, metadata: {namespace: a, name: NAME}, spec: {volumes: [{name: KEY, emptyDir: {}}], securityContext: {}, containers: [{name: c, image: i, resources: {limits: {}}, ports: [{containerPort: 80}, {containerPort: 80, protocol: UDP}]}, {name: KEY, image: i}]}}`,
	`{apiVersion: v1, kind: Service, metadata: {namespace: a, name: NAME}, spec: {ports: [{name: other, port: 81, protocol: UDP, targetPort: 81}]}}`,
	`{apiVersion: apps.openshift.io/v1, kind: DeploymentConfig, metadata: {namespace: a, name: NAME}, spec: {replicas: 1, test: false, paused: true, selector: {app: x}, template: {metadata: {labels: {app: x}}, spec: {containers: [{name: c, image: i, env: [{name: B, value: b}, {name: KEY, value: "VALUE"}]}]}}}}`,
	`{apiVersion: batch/v1, kind: Job, metadata: {namespace: a, name: NAME}, spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: VALUE}]}}}}`,
}

func (g generator) manifest(t *testing.T) *unstructured.Unstructured {
	r := strings.NewReplacer("NAME", g.pick("n1", "n2", "n3", "n4"), "KEY", g.pick("k1", "k2"), "VALUE", g.pick("v1", "v2", "v3"))
	u := &unstructured.Unstructured{}
	must(t, kyaml.Unmarshal([]byte(r.Replace(shapes[g.IntN(len(shapes))])), &u.Object))
	return u
}

// The same objects at random, singly and together, through several managers, come to the same bytes.
func TestApplyManyIsApplyOfEach(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		many, one := statetest.New(t), statetest.New(t)
		g := generator{rand.New(rand.NewPCG(seed, 1))}
		for round := range 12 {
			var objects []*unstructured.Unstructured
			for range 1 + g.IntN(60) {
				objects = append(objects, g.manifest(t))
			}
			o := client.ApplyOptions{FieldManager: g.pick("git", "git", "other", ""), Force: new(g.IntN(2) == 0)}
			if g.IntN(4) == 0 {
				o.DryRun = []string{metav1.DryRunAll}
			}
			what := fmt.Sprintf("seed %d, round %d by %q", seed, round, o.FieldManager)
			sameResults(t, what, objects, many.ApplyMany(t.Context(), objects, o), singly(t, one, objects, o))
			sameStored(t, what, many, one)
			if t.Failed() {
				return
			}
			// Somebody else changes or removes some.
			for _, c := range []*state.Client{many, one} {
				cm := configMap("a", "n1")
				_ = c.Patch(t.Context(), cm, client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"data":{"k1":"by hand %d","own":"1"}}`, round)), client.FieldOwner("hand"))
				_ = c.Delete(t.Context(), configMap("a", "n"+fmt.Sprint(2+round%3)))
			}
		}
	}
}

func TestApplyManyWritesNothingWhereNothingChanged(t *testing.T) {
	everywhere(t, applyManyWritesNothingWhereNothingChanged)
}

func applyManyWritesNothingWhereNothingChanged(t *testing.T, c *state.Client) {
	objects := manifests(250)
	o := client.ApplyOptions{FieldManager: "git"}
	first := c.ApplyMany(t.Context(), objects, o)
	for _, dry := range [][]string{nil, {metav1.DryRunAll}} {
		o.DryRun = dry
		for i, r := range c.ApplyMany(t.Context(), objects, o) {
			if r.Err != nil || r.Changed || r.Before == nil || r.Object.GetResourceVersion() != first[i].Object.GetResourceVersion() {
				t.Fatalf("%s: changed %v, %v", objects[i].GetName(), r.Changed, r.Err)
			}
		}
	}
}

// Writers who race with a batch lose nothing and neither does the batch.
func TestApplyManyRaces(t *testing.T) { everywhere(t, applyManyRaces) }

func applyManyRaces(t *testing.T, c *state.Client) {
	ctx := t.Context()
	var objects []*unstructured.Unstructured
	for i := range 40 {
		objects = append(objects, manifest(t, `{apiVersion: v1, kind: ConfigMap, metadata: {namespace: a, name: x%d}, data: {git: "0"}}`, i))
	}
	apply := func(who, value string) {
		mine := make([]*unstructured.Unstructured, len(objects))
		for i, o := range objects {
			mine[i] = o.DeepCopy()
			mine[i].Object["data"] = map[string]any{who: value}
		}
		for _, r := range c.ApplyMany(ctx, mine, client.ApplyOptions{FieldManager: who}) {
			if r.Err != nil {
				t.Error(who, r.Err)
			}
		}
	}
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for n := range 5 {
				apply(fmt.Sprintf("w%d", w), fmt.Sprint(n))
			}
		})
	}
	wg.Wait()
	var l corev1.ConfigMapList
	must(t, c.List(ctx, &l))
	for _, cm := range l.Items {
		for w := range 4 {
			if cm.Data[fmt.Sprintf("w%d", w)] != "4" {
				t.Errorf("%s: %v", cm.Name, cm.Data)
			}
		}
	}
	if len(l.Items) != len(objects) {
		t.Errorf("%d objects", len(l.Items))
	}
}

// Objects that are too large for one transaction are written in several; one that is too large at all is
// refused alone.
func TestApplyManyOfLargeObjects(t *testing.T) { everywhere(t, applyManyOfLargeObjects) }

func applyManyOfLargeObjects(t *testing.T, c *state.Client) {
	var objects []*unstructured.Unstructured
	for i := range 12 {
		size := 300 << 10
		if i == 5 {
			size = 3 << 20
		}
		u := manifest(t, `{apiVersion: v1, kind: ConfigMap, metadata: {namespace: a, name: x%d}}`, i)
		u.Object["data"] = map[string]any{"big": strings.Repeat("x", size)}
		objects = append(objects, u)
	}
	for i, r := range c.ApplyMany(t.Context(), objects, client.ApplyOptions{FieldManager: "git"}) {
		if (r.Err != nil) != (i == 5) {
			t.Errorf("%d: %v", i, r.Err)
		}
	}
}
