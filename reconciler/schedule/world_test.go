package schedule

import (
	"fmt"
	"strings"
	"testing"

	projectv1 "github.com/openshift/api/project/v1"
	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"slipway.dev/slipway/api"
)

// worldOf knows these objects and no others.
func worldOf(objects ...client.Object) *world {
	w := newWorld()
	for _, f := range w.followers {
		var mine []client.Object
		for _, o := range objects {
			if kind := strings.TrimSuffix(fmt.Sprintf("%T", f.list), "List"); fmt.Sprintf("%T", o) == kind {
				mine = append(mine, o)
			}
		}
		f.Listed(mine, "1")
	}
	return w
}

func read[T any](t testing.TB, text string) *T {
	t.Helper()
	o := new(T)
	if err := yaml.UnmarshalStrict([]byte(text), o); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return o
}

// node is named, and has two cpus, 1 GiB and room for three pods unless more says otherwise.
func node(t testing.TB, name, more string) *corev1.Node {
	n := read[corev1.Node](t, "{metadata: {name: "+name+", labels: {host: "+name+"}}, status: {conditions: [{type: Ready, status: 'True'}], allocatable: {cpu: '2', memory: 1Gi, ephemeral-storage: 1Gi, pods: '3'}}}")
	if more != "" {
		if err := yaml.UnmarshalStrict([]byte(more), n); err != nil {
			t.Fatalf("%v in %s", err, more)
		}
	}
	return n
}

// pod is in project shop. on is its node; more is laid over it.
func pod(t testing.TB, name, on, more string) *corev1.Pod {
	p := read[corev1.Pod](t, "{metadata: {name: "+name+", namespace: shop}, spec: {containers: [{name: c, image: busybox}]}}")
	p.UID, p.Spec.NodeName = types.UID(name), on
	if more != "" {
		if err := yaml.UnmarshalStrict([]byte(more), p); err != nil {
			t.Fatalf("%v in %s", err, more)
		}
	}
	return p
}

func cpu(n string) string {
	return "{spec: {containers: [{name: c, resources: {requests: {cpu: " + n + "}}}]}}"
}

func labelled(set string) string { return "{metadata: {labels: " + set + "}}" }

type all = []client.Object

func TestPredicates(t *testing.T) {
	t.Parallel()
	const terms = "requiredDuringSchedulingIgnoredDuringExecution: "
	affinity := func(kind, rest string) string {
		return "{metadata: {labels: {app: web}}, spec: {affinity: {" + kind + ": {" + terms + "[" + rest + "]}}}}"
	}
	with := func(objects ...client.Object) all { return objects }
	a, b := node(t, "a", "{metadata: {labels: {zone: x, disk: ssd}}}"), node(t, "b", "{metadata: {labels: {zone: y}}}")
	two := with(a, b)
	claim := func(status string) *corev1.PersistentVolumeClaim {
		return read[corev1.PersistentVolumeClaim](t, "{metadata: {name: data, namespace: shop}, spec: {volumeName: v}, status: {phase: "+status+"}}")
	}
	volume := read[corev1.PersistentVolume](t, "{metadata: {name: v}, spec: {nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: host, operator: In, values: [b]}]}]}}}}")
	data := "{spec: {volumes: [{name: d, persistentVolumeClaim: {claimName: data}}]}}"
	alone := read[corev1.PersistentVolumeClaim](t, "{metadata: {name: alone, namespace: shop}, spec: {volumeName: p, accessModes: [ReadWriteOncePod]}, status: {phase: Bound}}")
	pv := read[corev1.PersistentVolume](t, "{metadata: {name: p}}")
	one := "{spec: {volumes: [{name: d, persistentVolumeClaim: {claimName: alone}}]}}"
	ebs := "{spec: {volumes: [{name: d, awsElasticBlockStore: {volumeID: x}}]}}"
	gce := "{spec: {volumes: [{name: d, gcePersistentDisk: {pdName: x, readOnly: true}}]}}"
	for name, c := range map[string]struct {
		world all
		pod   string
		want  string
	}{
		"no nodes":                     {nil, "", "no nodes available to schedule pods"},
		"ready":                        {with(node(t, "a", "{status: {conditions: [{type: Ready, status: Unknown}]}}"), b), "", "b"},
		"all bad":                      {with(node(t, "a", "{status: {conditions: []}}"), node(t, "b", "{spec: {unschedulable: true}}")), "", "0/2 nodes are available: 1 node(s) were not ready, 1 node(s) were unschedulable."},
		"for every node":               {with(node(t, "a", "{spec: {unschedulable: true}}")), "{spec: {tolerations: [{operator: Exists}]}}", "a"},
		"taint":                        {with(node(t, "a", "{spec: {taints: [{key: only, value: db, effect: NoSchedule}]}}"), b), "", "b"},
		"taint NoExecute":              {with(node(t, "a", "{spec: {taints: [{key: only, value: db, effect: NoExecute}]}}")), "", "0/1 nodes are available: 1 node(s) had untolerated taint {only: db}."},
		"taint that prefers":           {with(node(t, "a", "{spec: {taints: [{key: only, effect: PreferNoSchedule}]}}")), "", "a"},
		"toleration":                   {with(node(t, "a", "{spec: {taints: [{key: only, value: db, effect: NoSchedule}]}}")), "{spec: {tolerations: [{key: only, value: db}]}}", "a"},
		"toleration, value":            {with(node(t, "a", "{spec: {taints: [{key: only, value: db, effect: NoSchedule}]}}")), "{spec: {tolerations: [{key: only, value: web}]}}", "0/1 nodes are available: 1 node(s) had untolerated taint {only: db}."},
		"toleration, effect":           {with(node(t, "a", "{spec: {taints: [{key: only, effect: NoSchedule}]}}")), "{spec: {tolerations: [{key: only, operator: Exists, effect: NoExecute}]}}", "0/1 nodes are available: 1 node(s) had untolerated taint {only: }."},
		"selector":                     {two, "{spec: {nodeSelector: {host: b}}}", "b"},
		"selector matches none":        {two, "{spec: {nodeSelector: {host: c}}}", "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector."},
		"node affinity":                {two, "{spec: {affinity: {nodeAffinity: {" + terms + "{nodeSelectorTerms: [{matchExpressions: [{key: host, operator: NotIn, values: [a]}]}]}}}}}", "b"},
		"terms are alternatives":       {two, "{spec: {affinity: {nodeAffinity: {" + terms + "{nodeSelectorTerms: [{matchExpressions: [{key: host, operator: In, values: [c]}]}, {matchFields: [{key: metadata.name, operator: In, values: [b]}]}]}}}}}", "b"},
		"empty term":                   {two, "{spec: {affinity: {nodeAffinity: {" + terms + "{nodeSelectorTerms: [{}]}}}}}", "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector."},
		"memory pressure, best effort": {with(node(t, "a", "{status: {conditions: [{type: Ready, status: 'True'}, {type: MemoryPressure, status: 'True'}]}}")), "", "0/1 nodes are available: 1 node(s) had memory pressure."},
		"memory pressure":              {with(node(t, "a", "{status: {conditions: [{type: Ready, status: 'True'}, {type: MemoryPressure, status: 'True'}]}}")), cpu("1"), "a"},
		"disk pressure":                {with(node(t, "a", "{status: {conditions: [{type: Ready, status: 'True'}, {type: DiskPressure, status: 'True'}]}}")), cpu("1"), "0/1 nodes are available: 1 node(s) had disk pressure."},
		"too little room":              {append(with(pod(t, "x", "a", cpu("1")), pod(t, "y", "b", cpu("1m"))), two...), cpu("'2'"), "0/2 nodes are available: 2 Insufficient cpu."},
		"of everything":                {with(a), "{spec: {containers: [{name: c, resources: {requests: {cpu: '3', memory: 2Gi, ephemeral-storage: 2Gi, example.com/gpu: '1'}}}]}}", "0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient ephemeral-storage, 1 Insufficient example.com/gpu, 1 Insufficient memory."},
		"ended pods are free":          {with(a, pod(t, "x", "a", "{spec: {containers: [{name: c, resources: {requests: {cpu: '2'}}}]}, status: {phase: Succeeded}}")), cpu("'2'"), "a"},
		"init containers":              {with(a), "{spec: {initContainers: [{name: i, resources: {requests: {cpu: '3'}}}], containers: [{name: c, resources: {requests: {cpu: '1'}}}]}}", "0/1 nodes are available: 1 Insufficient cpu."},
		"init runs before":             {with(a), "{spec: {initContainers: [{name: i, resources: {requests: {cpu: '2'}}}], containers: [{name: c, resources: {requests: {cpu: '2'}}}]}}", "a"},
		"sidecars run along":           {with(a), "{spec: {initContainers: [{name: i, restartPolicy: Always, resources: {requests: {cpu: '1'}}}], containers: [{name: c, resources: {requests: {cpu: '2'}}}]}}", "0/1 nodes are available: 1 Insufficient cpu."},
		"as many as may":               {with(a, pod(t, "x", "a", ""), pod(t, "y", "a", ""), pod(t, "z", "a", "")), "", "0/1 nodes are available: 1 Too many pods."},
		"host port taken":              {append(with(pod(t, "x", "a", port("80", ""))), two...), port("80", ""), "b"},
		"host port, protocol":          {with(a, pod(t, "x", "a", port("80", ""))), port("80", ", protocol: UDP"), "a"},
		"host port, addresses":         {with(a, pod(t, "x", "a", port("80", ", hostIP: 10.0.0.1"))), port("80", ", hostIP: 10.0.0.2"), "a"},
		"host port, any":               {with(a, pod(t, "x", "a", port("80", ", hostIP: 10.0.0.1"))), port("80", ""), "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports."},
		"disk in use":                  {with(a, pod(t, "x", "a", ebs)), ebs, "0/1 nodes are available: 1 node(s) had no available disk."},
		"disk of readers":              {with(a, pod(t, "x", "a", gce)), gce, "a"},
		"disk pressure, borne":         {with(node(t, "a", "{status: {conditions: [{type: Ready, status: 'True'}, {type: DiskPressure, status: 'True'}, {type: MemoryPressure, status: 'True'}, {type: PIDPressure, status: 'True'}]}}")), "{spec: {tolerations: [{operator: Exists, effect: NoSchedule}]}}", "a"},
		"pid pressure":                 {with(node(t, "a", "{status: {conditions: [{type: Ready, status: 'True'}, {type: PIDPressure, status: 'True'}]}}")), "", "0/1 nodes are available: 1 node(s) had pid pressure."},
		"no network":                   {with(node(t, "a", "{status: {conditions: [{type: Ready, status: 'True'}, {type: NetworkUnavailable, status: 'True'}]}}")), "", "0/1 nodes are available: 1 node(s) had unavailable network."},
		"host name":                    {two, "{spec: {nodeName: b}}", "b"},
		"host name of nobody":          {two, "{spec: {nodeName: c}}", "0/2 nodes are available: 2 node(s) didn't match the requested node name."},
		"claim of one pod":             {append(with(claim("Bound"), alone, pv, pod(t, "x", "b", one)), two...), one, "0/2 nodes are available: 2 node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode."},
		"that has ended":               {append(with(alone, pv, pod(t, "x", "b", strings.Replace(one, "{spec", "{status: {phase: Failed}, spec", 1))), two...), one, "a"},
		"of another project":           {append(with(alone, pv, pod(t, "x", "b", strings.Replace(one, "{spec", "{metadata: {namespace: other}, spec", 1))), two...), one, "a"},
		"zone of a volume":             {append(with(claim("Bound"), read[corev1.PersistentVolume](t, "{metadata: {name: v, labels: {topology.kubernetes.io/zone: east}}}"), node(t, "c", "{metadata: {labels: {topology.kubernetes.io/zone: west}}}")), node(t, "d", "{metadata: {labels: {topology.kubernetes.io/zone: east}}}")), data, "d"},
		"every reason":                 {with(node(t, "a", "{spec: {unschedulable: true}}"), schedulerConfig("alwaysCheckAllPredicates: true", "")), cpu("3"), "0/1 nodes are available: 1 Insufficient cpu, 1 node(s) were unschedulable."},
		"the first reason":             {with(node(t, "a", "{spec: {unschedulable: true}}")), cpu("3"), "0/1 nodes are available: 1 node(s) were unschedulable."},
		"no claim":                     {two, data, "0/2 nodes are available: persistentvolumeclaim \"data\" not found."},
		"claim waits":                  {append(with(claim("Pending")), two...), data, "0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims."},
		"volume on a node":             {append(with(claim("Bound"), volume), two...), data, "b"},
		"volume elsewhere":             {with(a, claim("Bound"), volume), data, "0/1 nodes are available: 1 node(s) had volume node affinity conflict."},
		"apart from its like":          {append(with(pod(t, "x", "a", labelled("{app: web}"))), two...), affinity("podAntiAffinity", "{topologyKey: zone, labelSelector: {matchLabels: {app: web}}}"), "b"},
		"no other place":               {with(a, pod(t, "x", "a", labelled("{app: web}"))), affinity("podAntiAffinity", "{topologyKey: zone, labelSelector: {matchLabels: {app: web}}}"), "0/1 nodes are available: 1 node(s) didn't match pod anti-affinity rules."},
		"barred by one there":          {with(a, pod(t, "x", "a", affinity("podAntiAffinity", "{topologyKey: zone, labelSelector: {matchLabels: {app: web}}}"))), labelled("{app: web}"), "0/1 nodes are available: 1 node(s) didn't satisfy existing pods anti-affinity rules."},
		"other projects":               {with(a, pod(t, "x", "a", "{metadata: {namespace: other, labels: {app: web}}}")), affinity("podAntiAffinity", "{topologyKey: zone, labelSelector: {matchLabels: {app: web}}}"), "a"},
		"namespaces":                   {with(a, pod(t, "x", "a", "{metadata: {namespace: other, labels: {app: web}}}")), affinity("podAntiAffinity", "{topologyKey: zone, namespaces: [other], labelSelector: {matchLabels: {app: web}}}"), "0/1 nodes are available: 1 node(s) didn't match pod anti-affinity rules."},
		"every namespace":              {with(a, pod(t, "x", "a", "{metadata: {namespace: other, labels: {app: web}}}")), affinity("podAntiAffinity", "{topologyKey: zone, namespaceSelector: {}, labelSelector: {}}"), "0/1 nodes are available: 1 node(s) didn't match pod anti-affinity rules."},
		"namespaces by label": {with(a, read[projectv1.Project](t, "{metadata: {name: other, labels: {team: red}}}"), pod(t, "x", "a", "{metadata: {namespace: other, labels: {app: web}}}")),
			affinity("podAntiAffinity", "{topologyKey: zone, namespaceSelector: {matchLabels: {team: red}}, labelSelector: {}}"), "0/1 nodes are available: 1 node(s) didn't match pod anti-affinity rules."},
		"near another":          {append(with(pod(t, "x", "b", labelled("{app: db}"))), two...), affinity("podAffinity", "{topologyKey: zone, labelSelector: {matchLabels: {app: db}}}"), "b"},
		"nobody to be near":     {two, affinity("podAffinity", "{topologyKey: zone, labelSelector: {matchLabels: {app: db}}}"), "0/2 nodes are available: 2 node(s) didn't match pod affinity rules."},
		"the first of its kind": {two, affinity("podAffinity", "{topologyKey: zone, labelSelector: {matchLabels: {app: web}}}"), "a"},
		"near all it asks for": {append(with(pod(t, "x", "a", labelled("{app: db}")), pod(t, "y", "b", labelled("{app: db, tier: one}"))), two...),
			affinity("podAffinity", "{topologyKey: zone, labelSelector: {matchLabels: {app: db}}}, {topologyKey: zone, labelSelector: {matchLabels: {tier: one}}}"), "b"},
		"spread":             {append(with(pod(t, "x", "a", labelled("{app: web}"))), two...), spreading("DoNotSchedule", ""), "b"},
		"spread, even":       {append(with(pod(t, "x", "a", labelled("{app: web}")), pod(t, "y", "b", labelled("{app: web}"))), two...), spreading("DoNotSchedule", ""), "a"},
		"spread, room":       {append(with(pod(t, "x", "a", labelled("{app: web}")), pod(t, "y", "b", cpu("'2'"))), two...), "{metadata: {labels: {app: web}}, spec: {containers: [{name: c, resources: {requests: {cpu: '1'}}}], topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: web}}}]}}", "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) didn't match pod topology spread constraints."},
		"spread, label":      {with(node(t, "c", "")), spreading("DoNotSchedule", ""), "0/1 nodes are available: 1 node(s) didn't match pod topology spread constraints (missing required label)."},
		"spread, leaving":    {append(with(pod(t, "x", "a", "{metadata: {labels: {app: web}, deletionTimestamp: '2026-01-01T00:00:00Z'}}"), pod(t, "y", "b", labelled("{app: web}"))), two...), spreading("DoNotSchedule", ""), "a"},
		"spread, domains":    {with(a, pod(t, "x", "a", labelled("{app: web}"))), spreading("DoNotSchedule", ", minDomains: 2"), "0/1 nodes are available: 1 node(s) didn't match pod topology spread constraints."},
		"unknown class":      {two, "{spec: {priorityClassName: high}}", "0/2 nodes are available: no PriorityClass with name high was found."},
		"project's selector": {append(with(read[projectv1.Project](t, "{metadata: {name: shop, annotations: {openshift.io/node-selector: 'host=b'}}}")), two...), "", "b"},
		"selectors conflict": {append(with(read[projectv1.Project](t, "{metadata: {name: shop, annotations: {openshift.io/node-selector: 'host=b'}}}")), two...), "{spec: {nodeSelector: {host: a}}}",
			`0/2 nodes are available: pod node label selector conflicts with its project node label selector: host is "a" and "b".`},
		"cluster's selector":           {append(with(schedulerConfig("", "host=b")), two...), "", "b"},
		"free of the cluster's":        {append(with(schedulerConfig("", "host=b"), read[projectv1.Project](t, "{metadata: {name: shop, annotations: {openshift.io/node-selector: ''}}}")), two...), "", "a"},
		"policy without resources":     {with(a, schedulerConfig("predicates: []", "")), cpu("'3'"), "a"},
		"policy keeps the mandatory":   {with(node(t, "a", "{spec: {unschedulable: true}}"), schedulerConfig("predicates: []", "")), "", "0/1 nodes are available: 1 node(s) were unschedulable."},
		"policy of labels":             {append(with(schedulerConfig("predicates: [{name: Retiring, argument: {labelsPresence: {labels: [disk], presence: false}}}]", "")), two...), "", "b"},
		"policy of a service's region": {append(with(schedulerConfig("predicates: [{name: Region, argument: {serviceAffinity: {labels: [zone]}}}]", ""), service(t), pod(t, "x", "b", labelled("{app: web}"))), two...), labelled("{app: web}"), "b"},
	} {
		w := worldOf(c.world...)
		var s scratch
		d := w.decide(w.task(pod(t, "p", "", c.pod)), &s)
		got := d.why
		if d.host != nil {
			got = d.host.name
		} else if d.cause == 0 {
			t.Errorf("%s: nothing would wake the pod", name)
		}
		if got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, c.want)
		}
	}
}

func port(n, more string) string {
	return "{spec: {containers: [{name: c, ports: [{containerPort: 80, hostPort: " + n + more + "}]}]}}"
}

func spreading(how, more string) string {
	return "{metadata: {labels: {app: web}}, spec: {topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: " + how + ", labelSelector: {matchLabels: {app: web}}" + more + "}]}}"
}

func service(t testing.TB) *corev1.Service {
	return read[corev1.Service](t, "{metadata: {name: web, namespace: shop}, spec: {selector: {app: web}}}")
}

func schedulerConfig(policy, selector string) *corev1.ConfigMap {
	c := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: api.SystemProject, Name: api.SchedulerConfig}, Data: map[string]string{}}
	if policy != "" {
		c.Data[api.SchedulerPolicyKey] = "kind: Policy\napiVersion: v1\n" + policy
	}
	if selector != "" {
		c.Data[api.DefaultNodeSelectorKey] = selector
	}
	return c
}

func TestPriorityIsThatOfTheClass(t *testing.T) {
	t.Parallel()
	w := worldOf(read[schedulingv1.PriorityClass](t, "{metadata: {name: high}, value: 1000}"), read[schedulingv1.PriorityClass](t, "{metadata: {name: usual}, value: 10, globalDefault: true}"),
		read[schedulingv1.PriorityClass](t, "{metadata: {name: other}, value: 20, globalDefault: true}"))
	for more, want := range map[string]int32{
		"": 10, "{spec: {priorityClassName: high}}": 1000, "{spec: {priorityClassName: system-node-critical}}": api.SystemNodeCritical, "{spec: {priority: 7, priorityClassName: high}}": 7,
	} {
		if got := w.priority(pod(t, "p", "", more)); got != want {
			t.Errorf("%s: got %d, want %d", more, got, want)
		}
	}
}
