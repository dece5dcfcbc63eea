package table

import (
	"encoding/json"
	"fmt"
	"reflect"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"slipway.dev/slipway/api"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func decode(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	if err := json.Unmarshal([]byte(text), &o.Object); err != nil {
		t.Fatal(err)
	}
	return o
}

func TestRows(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind, object string
		want         []any
	}{
		{"Pod", `{"metadata":{"name":"p","deletionTimestamp":"2026-01-02T11:59:00Z"},"spec":{"containers":[{}]},"status":{"phase":"Running"}}`, []any{"p", "0/1", "Terminating", "0"}},
		{"Pod", `{"metadata":{"name":"p"},"spec":{"containers":[{}],"initContainers":[{},{}]},"status":{"phase":"Pending","initContainerStatuses":[{"state":{"terminated":{"exitCode":0}}},{"state":{"running":{}}}]}}`, []any{"p", "0/1", "Init:1/2", "0"}},
		{"Pod", `{"metadata":{"name":"p"},"spec":{"containers":[{}]},"status":{"phase":"Failed","containerStatuses":[{"restartCount":2,"state":{"terminated":{"exitCode":3}}}]}}`, []any{"p", "0/1", "ExitCode:3", "2"}},
		{"Pod", `{"metadata":{"name":"p"},"spec":{"containers":[{}]},"status":{"phase":"Failed","reason":"Evicted","containerStatuses":[{"state":{"terminated":{"exitCode":137,"reason":"Error"}}}]}}`, []any{"p", "0/1", "Evicted", "0"}},
		{"Pod", `{"metadata":{"name":"p"},"spec":{"nodeName":"n"},"status":{"phase":"Pending"}}`, []any{"p", "0/0", "ContainerCreating", "0"}},
		{"Pod", `{"metadata":{"name":"p","creationTimestamp":"2026-01-02T11:59:00Z"},"spec":{"readinessGates":[{"conditionType":"a"},{"conditionType":"b"}]},"status":{"conditions":[{"type":"b","status":"True"}]}}`, []any{"p", "0/0", "Pending", "0", "60s", "<none>", "<none>", "<none>", "1/2"}},
		{"Pod", `{"metadata":{"name":"p"},"spec":{"containers":[{"name":"c"}],"initContainers":[{"name":"i"},{"name":"s","restartPolicy":"Always"}]},"status":{"phase":"Pending","initContainerStatuses":[{"name":"i","restartCount":3,"state":{"waiting":{"reason":"CrashLoopBackOff"}}},{"name":"s"}]}}`, []any{"p", "0/2", "Init:CrashLoopBackOff", "3"}},
		{"Pod", `{"metadata":{"name":"p"},"spec":{"containers":[{"name":"c"}],"initContainers":[{"name":"i"},{"name":"s","restartPolicy":"Always"}]},"status":{"phase":"Running","initContainerStatuses":[{"name":"i","restartCount":3,"state":{"terminated":{"exitCode":0}}},{"name":"s","restartCount":1,"ready":true,"started":true,"state":{"running":{}}}],"containerStatuses":[{"name":"c","restartCount":1,"ready":true,"state":{"running":{}}}]}}`, []any{"p", "2/2", "Running", "2"}},
		{"Pod", `{"metadata":{"name":"p"},"spec":{"containers":[{"name":"c"}],"initContainers":[{"name":"s","restartPolicy":"Always"}]},"status":{"phase":"Succeeded","conditions":[{"type":"Initialized","status":"True"}],"initContainerStatuses":[{"name":"s","state":{"terminated":{"exitCode":143,"reason":"Error"}}}],"containerStatuses":[{"name":"c","state":{"terminated":{"exitCode":0,"reason":"Completed"}}}]}}`, []any{"p", "0/2", "Completed", "0"}},
		{"Pod", `{"metadata":{"name":"p"}}`, []any{"p", "0/0", "Pending", "0"}},
		{"DeploymentConfig", `{"metadata":{"name":"d"},"spec":{"replicas":2,"triggers":[{"type":"ConfigChange"},{"type":"ImageChange","imageChangeParams":{"from":{"name":"a:b"}}}]},"status":{"latestVersion":4,"updatedReplicas":1}}`, []any{"d", int64(4), int32(2), int32(1), "config,image(a:b)"}},
		{"Deployment", `{"metadata":{"name":"d"},"spec":{"replicas":3,"selector":{"matchLabels":{"a":"b"}},"template":{"spec":{"containers":[{"name":"c","image":"i"}]}}},"status":{"readyReplicas":2,"updatedReplicas":1,"availableReplicas":2}}`, []any{"d", "2/3", int32(1), int32(2), "<unknown>", "c", "i", "a=b"}},
		{"ReplicaSet", `{"metadata":{"name":"r"},"status":{"replicas":1}}`, []any{"r", int32(1), int32(1), int32(0)}},
		{"StatefulSet", `{"metadata":{"name":"s"},"spec":{"replicas":2},"status":{"readyReplicas":1}}`, []any{"s", "1/2"}},
		{"DaemonSet", `{"metadata":{"name":"d"},"spec":{"template":{"spec":{"nodeSelector":{"disk":"ssd"}}}},"status":{"desiredNumberScheduled":3,"numberReady":2}}`, []any{"d", int32(3), int32(0), int32(2), int32(0), int32(0), "disk=ssd"}},
		{"HorizontalPodAutoscaler", `{"metadata":{"name":"h"},"spec":{"scaleTargetRef":{"kind":"Deployment","name":"web"},"minReplicas":2,"maxReplicas":5,"metrics":[{"type":"Resource","resource":{"name":"cpu","target":{"type":"Utilization","averageUtilization":80}}}]},"status":{"currentReplicas":3,"currentMetrics":[{"type":"Resource","resource":{"name":"cpu","current":{"averageUtilization":41}}}]}}`, []any{"h", "Deployment/web", "cpu: 41%/80%", int32(2), int32(5), int32(3)}},
		{"ControllerRevision", `{"metadata":{"name":"r","ownerReferences":[{"kind":"StatefulSet","name":"s","controller":true}]},"revision":4}`, []any{"r", "statefulset.apps/s", int64(4)}},
		{"Build", `{"metadata":{"name":"b"},"spec":{"strategy":{"dockerStrategy":{}},"source":{"git":{"ref":"main"}}},"status":{"phase":"Failed","reason":"X","startTimestamp":"2026-01-02T11:55:00Z","completionTimestamp":"2026-01-02T11:56:05Z"}}`, []any{"b", "Docker", "Git@main", "Failed (X)", "5m ago", "1m5s"}},
		{"Route", `{"metadata":{"name":"r"},"spec":{"host":"a","to":{"name":"s"},"tls":{"termination":"edge"}},"status":{"ingress":[{"host":"a","conditions":[{"type":"Admitted","status":"False","reason":"HostAlreadyClaimed"}]}]}}`, []any{"r", "HostAlreadyClaimed", "", "s", "<all>", "edge", "None"}},
		{"Endpoints", `{"metadata":{"name":"e"},"subsets":[{"addresses":[{"ip":"10.0.0.1"},{"ip":"10.0.0.2"}],"ports":[{"port":80},{"port":81}]}]}`, []any{"e", "10.0.0.1:80,10.0.0.1:81,10.0.0.2:80 + 1 more..."}},
		{"NetworkPolicy", `{"metadata":{"name":"n"},"spec":{"podSelector":{"matchLabels":{"app":"web"}}}}`, []any{"n", "app=web"}},
		{"NetNamespace", `{"metadata":{"name":"n"},"netname":"n","netid":15}`, []any{"n", "15", "[]"}},
		{"NetNamespace", `{"metadata":{"name":"n","annotations":{"pod.network.openshift.io/multitenant.change-network":"join:b"}},"netname":"n"}`, []any{"n", "join:b", "[]"}},
		{"EgressNetworkPolicy", `{"metadata":{"name":"e"},"spec":{"egress":[{},{}]}}`, []any{"e", 2}},
		{"Service", `{"metadata":{"name":"s"},"spec":{"type":"LoadBalancer","clusterIP":"10.0.0.1","ports":[{"port":80,"nodePort":30080}]}}`, []any{"s", "LoadBalancer", "10.0.0.1", "<pending>", "80:30080/TCP"}},
		{"Service", `{"metadata":{"name":"s"},"spec":{"type":"LoadBalancer","externalIPs":["192.0.2.2"],"ports":[{"port":80}]},"status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.1"}]}}}`, []any{"s", "LoadBalancer", "<none>", "192.0.2.1,192.0.2.2", "80/TCP"}},
		{"Service", `{"metadata":{"name":"s"},"spec":{"clusterIP":"10.0.0.1","ports":[{"port":80},{"port":53,"protocol":"UDP"}]}}`, []any{"s", "ClusterIP", "10.0.0.1", "<none>", "80/TCP,53/UDP"}},
		{"ImageStream", `{"metadata":{"name":"i"},"spec":{"tags":[{"name":"z"}]},"status":{"dockerImageRepository":"r","tags":[{"tag":"a","items":[{"created":"2026-01-02T11:00:00Z"}]},{"tag":"b"},{"tag":"c"}]}}`, []any{"i", "r", "a,b,c + 1 more...", "60m ago"}},
		{"Application", `{"metadata":{"name":"a"},"status":{"lastAppliedCommit":"0123456789","conditions":[{"type":"Ready","status":"False","message":"one\ntwo"}]}}`, []any{"a", "0123456", "False", "one"}},
		{"LimitRange", `{"metadata":{"name":"l","creationTimestamp":"2026-01-02T11:00:00Z"}}`, []any{"l", "60m"}},
	} {
		k, _ := api.KindNamed(c.kind)
		row, err := Row(k.GroupKind(), decode(t, c.object), "", noon)
		if err != nil {
			t.Errorf("%s: %v", c.kind, err)
			continue
		}
		if got := row.Cells[:min(len(c.want), len(row.Cells))]; !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %#v, want %#v", c.kind, got, c.want)
		}
	}
}

func TestPodTrouble(t *testing.T) {
	t.Parallel()
	for status, want := range map[string]string{
		`{"phase":"Running"}`:   "",
		`{"phase":"Succeeded"}`: "",
		`{"phase":"Failed","reason":"DeadlineExceeded","message":"too long","containerStatuses":[{"state":{"terminated":{"reason":"Completed"}}}]}`:                                                           "DeadlineExceeded: too long",
		`{"phase":"Pending","conditions":[{"type":"PodScheduled","status":"False","message":"0/1 nodes"}]}`:                                                                                                   "Pending: 0/1 nodes",
		`{"phase":"Pending","containerStatuses":[{"state":{"waiting":{"reason":"ContainerCreating"}}}]}`:                                                                                                      "",
		`{"phase":"Pending","containerStatuses":[{"state":{"waiting":{"reason":"ContainerCreating","message":"pulling image a"}}}]}`:                                                                          "",
		`{"phase":"Pending","containerStatuses":[{"state":{"waiting":{"reason":"ContainerCreating","message":"configmap a not found"}}}]}`:                                                                    "ContainerCreating: configmap a not found",
		`{"phase":"Pending","containerStatuses":[{"state":{"terminated":{"reason":"ContainerCannotRun"}}},{"state":{"waiting":{"reason":"ImagePullBackOff","message":"no route"}}}]}`:                         "ImagePullBackOff: no route",
		`{"phase":"Pending","initContainerStatuses":[{"state":{"waiting":{"reason":"CrashLoopBackOff","message":"back-off 10s"}}}],"containerStatuses":[{"state":{"waiting":{"reason":"PodInitializing"}}}]}`: "CrashLoopBackOff: back-off 10s",
	} {
		var p corev1.Pod
		if err := json.Unmarshal([]byte(`{"status":`+status+`}`), &p); err != nil {
			t.Fatal(err)
		}
		if got := PodTrouble(&p); got != want {
			t.Errorf("%s: %q, want %q", status, got, want)
		}
	}
}

// TestEveryKindFillsItsColumns also holds that an empty object does no harm.
func TestEveryKindFillsItsColumns(t *testing.T) {
	t.Parallel()
	known := map[string]bool{"Namespace": true}
	for _, k := range api.Kinds() {
		known[k.Kind] = true
		row, err := Row(k.GroupKind(), &unstructured.Unstructured{Object: map[string]any{}}, "", noon)
		if err != nil {
			t.Errorf("%s: %v", k.Kind, err)
		}
		if have, want := len(row.Cells), len(New(k.GroupKind()).ColumnDefinitions); have != want {
			t.Errorf("%s has %d cells for %d columns", k.Kind, have, want)
		}
		if _, err := Row(k.GroupKind(), &unstructured.Unstructured{Object: map[string]any{"metadata": "x"}}, "", noon); err == nil {
			t.Errorf("%s takes anything for an object", k.Kind)
		}
	}
	for gk := range formats {
		if !known[gk.Kind] {
			t.Errorf("there is no kind %s", gk)
		}
	}
}

func FuzzRow(f *testing.F) {
	f.Add(`{"metadata":{"name":"p"},"spec":{"containers":[{}]},"status":{"containerStatuses":[{"state":{}}]}}`)
	f.Add(`{"spec":{"tls":{},"to":{},"triggers":[{"type":"ImageChange"}],"claimRef":{}},"status":{"tags":[{"items":[]}],"ingress":[{}]}}`)
	kinds := api.Kinds()
	f.Fuzz(func(t *testing.T, text string) {
		var content map[string]any
		if json.Unmarshal([]byte(text), &content) != nil {
			return
		}
		for _, k := range kinds {
			row, err := Row(k.GroupKind(), &unstructured.Unstructured{Object: runtime.DeepCopyJSON(clean(content))}, "", noon)
			if err == nil && len(row.Cells) == 0 {
				t.Fatal(fmt.Sprint(k.Kind, " has no cells"))
			}
		}
	})
}

// clean drops nothing but nil maps, which DeepCopyJSON would keep as nil.
func clean(m map[string]any) map[string]any {
	if m == nil {
		return map[string]any{}
	}
	return m
}
