package api

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	data, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(data); err != nil {
		t.Fatal(err)
	}
	return u
}

const goodDC = `
apiVersion: v1
kind: DeploymentConfig
metadata: {name: frontend, namespace: shop}
spec:
  replicas: 2
  strategy:
    rollingParams:
      pre: {failurePolicy: Abort, execNewPod: {command: [migrate], volumes: [data]}}
  template:
    metadata: {labels: {app: frontend}}
    spec:
      volumes: [{name: data}]
      containers:
      - name: web
        image: ' '
        ports: [{name: http, containerPort: 8080}]
        env: [{name: COLOR, value: blue}, {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
        resources: {limits: {cpu: 500m, memory: 64Mi}}
        readinessProbe: {httpGet: {path: /ready, port: http}}
        volumeMounts: [{name: data, mountPath: /data}]
  triggers:
  - type: ConfigChange
  - type: ImageChange
    imageChangeParams: {automatic: true, containerNames: [web], from: {name: 'frontend:live'}}
`

// good has an object of every kind that a repository may hold.
var good = map[string]string{
	"DeploymentConfig":           goodDC,
	"Project":                    `{apiVersion: v1, kind: Namespace, metadata: {name: shop-dev}}`,
	"ServiceAccount":             `{apiVersion: v1, kind: ServiceAccount, metadata: {name: robot, namespace: shop}}`,
	"ResourceQuota":              `{apiVersion: v1, kind: ResourceQuota, metadata: {name: q, namespace: shop}, spec: {hard: {pods: 10, requests.cpu: "2"}}}`,
	"LimitRange":                 `{apiVersion: v1, kind: LimitRange, metadata: {name: l, namespace: shop}, spec: {limits: [{type: Container, max: {cpu: 2}, min: {cpu: 100m}}]}}`,
	"Role":                       `{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: reader, namespace: shop}, rules: [{apiGroups: [""], resources: [pods], verbs: [get]}]}`,
	"RoleBinding":                `{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: 'system:deployers', namespace: shop}, roleRef: {kind: ClusterRole, name: 'system:deployer'}, subjects: [{kind: ServiceAccount, name: deployer}, {kind: Group, name: everyone}]}`,
	"ClusterRole":                `{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: reader}, rules: [{nonResourceURLs: [/healthz], verbs: [get]}]}`,
	"ClusterRoleBinding":         `{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: readers}, roleRef: {kind: ClusterRole, name: reader}, subjects: [{kind: User, name: ann}]}`,
	"GitRepository":              `{apiVersion: slipway.dev/v1alpha1, kind: GitRepository, metadata: {name: app, namespace: shop}, spec: {url: 'https://git.example.com/shop/app.git', ref: {branch: main, semver: '>=1.0.0 <2'}}}`,
	"Application":                `{apiVersion: slipway.dev/v1alpha1, kind: Application, metadata: {name: shop, namespace: shop}, spec: {path: projects/shop, project: shop, parameters: {REPLICAS: "2"}, interval: 30s}}`,
	"Promotion":                  `{apiVersion: slipway.dev/v1alpha1, kind: Promotion, metadata: {name: p, namespace: shop-prod}, spec: {from: shop-dev, 'on': {sourceRef: {name: app, namespace: shop-dev}}, write: {sourceRef: {name: config}}}}`,
	"Secret":                     `{apiVersion: v1, kind: Secret, metadata: {name: s, namespace: shop}, stringData: {token: abc}, data: {other: YWJj}}`,
	"ConfigMap":                  `{apiVersion: v1, kind: ConfigMap, metadata: {name: c, namespace: shop}, data: {app.conf: "a=b"}}`,
	"Template":                   `{apiVersion: v1, kind: Template, metadata: {name: t, namespace: shop}, labels: {app: '${NAME}'}, parameters: [{name: NAME, generate: expression, from: '[a-z]{5}'}], objects: [{apiVersion: v1, kind: ConfigMap, metadata: {name: '${NAME}'}, anything: goes}]}`,
	"TemplateInstance":           `{apiVersion: template.openshift.io/v1, kind: TemplateInstance, metadata: {name: t, namespace: shop}, spec: {template: {metadata: {name: t}, objects: []}}}`,
	"PersistentVolume":           `{apiVersion: v1, kind: PersistentVolume, metadata: {name: v}, spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], hostPath: {path: /srv/v}}}`,
	"PersistentVolumeClaim":      `{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: v, namespace: shop}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}`,
	"Service":                    `{apiVersion: v1, kind: Service, metadata: {name: frontend, namespace: shop}, spec: {selector: {app: frontend}, ports: [{port: 80, targetPort: http}]}}`,
	"NetworkPolicy":              `{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: web, namespace: shop}, spec: {podSelector: {matchLabels: {app: web}}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}, {namespaceSelector: {}}], ports: [{port: http}, {port: 80, endPort: 90}]}], egress: [{}]}}`,
	"SecurityContextConstraints": `{apiVersion: v1, kind: SecurityContextConstraints, metadata: {name: agents}, priority: null, allowHostDirVolumePlugin: true, allowPrivilegedContainer: false, allowHostNetwork: false, allowHostPorts: true, allowHostPID: false, allowHostIPC: false, readOnlyRootFilesystem: false, defaultAddCapabilities: null, requiredDropCapabilities: [MKNOD], allowedCapabilities: null, runAsUser: {type: MustRunAsRange}, seLinuxContext: {type: RunAsAny}, users: ['system:serviceaccount:shop:agent'], groups: []}`,
	"NetNamespace":               `{apiVersion: v1, kind: NetNamespace, metadata: {name: shop}, netname: shop, netid: 15}`,
	"EgressNetworkPolicy":        `{apiVersion: v1, kind: EgressNetworkPolicy, metadata: {name: default, namespace: shop}, spec: {egress: [{type: Allow, to: {dnsName: www.example.com.}}, {type: Deny, to: {cidrSelector: 0.0.0.0/0}}]}}`,
	"ImageStream":                `{apiVersion: v1, kind: ImageStream, metadata: {name: frontend, namespace: shop}, spec: {tags: [{name: live, from: {kind: ImageStreamImage, name: 'frontend@sha256:` + zeros + `'}}, {name: base, from: {kind: DockerImage, name: 'registry.example.com/base:1'}, importPolicy: {scheduled: true}}, {name: alias, from: {name: live}}]}}`,
	"Route":                      `{apiVersion: v1, kind: Route, metadata: {name: frontend, namespace: shop}, spec: {host: shop.example.com, path: /api, to: {name: frontend}, port: {targetPort: http}, tls: {termination: edge, insecureEdgeTerminationPolicy: Redirect}}}`,
	"BuildConfig":                `{apiVersion: build.openshift.io/v1, kind: BuildConfig, metadata: {name: frontend, namespace: shop}, spec: {source: {git: {uri: 'git@example.com:shop/app.git'}, contextDir: frontend}, strategy: {sourceStrategy: {from: {name: 'base:1'}}}, output: {to: {name: 'frontend:latest'}}, triggers: [{type: github, github: {secretReference: {name: hook}}}, {type: ImageChange}, {type: ConfigChange}]}}`,
	"ReplicationController":      `{apiVersion: v1, kind: ReplicationController, metadata: {name: r, namespace: shop}, spec: {template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: busybox}]}}}}`,
	"PriorityClass":              `{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: high}, value: 1000, globalDefault: true}`,
	"NodeConfig":                 `{apiVersion: slipway.dev/v1alpha1, kind: NodeConfig, metadata: {name: n1}, spec: {drain: true, labels: {zone: a}, taints: [{key: only, value: db, effect: NoSchedule}]}}`,
	"PodDisruptionBudget":        `{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: b, namespace: shop}, spec: {minAvailable: 50%, selector: {matchLabels: {app: frontend}}}}`,
	"Deployment":                 `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: shop}, spec: {replicas: 2, selector: {matchLabels: {app: web}}, strategy: {rollingUpdate: {maxSurge: 1}}, template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, image: busybox}]}}}}`,
	"ReplicaSet":                 `{apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: web, namespace: shop}, spec: {selector: {matchExpressions: [{key: app, operator: Exists}]}, template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, image: busybox}]}}}}`,
	"StatefulSet":                `{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: db, namespace: shop}, spec: {serviceName: db, selector: {matchLabels: {app: db}}, template: {metadata: {labels: {app: db}}, spec: {containers: [{name: c, image: busybox, volumeMounts: [{name: data, mountPath: /data}]}]}}, volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}]}}`,
	"DaemonSet":                  `{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: logs, namespace: shop}, spec: {selector: {matchLabels: {app: logs}}, updateStrategy: {rollingUpdate: {maxUnavailable: 10%}}, template: {metadata: {labels: {app: logs}}, spec: {containers: [{name: c, image: busybox}]}}}}`,
	"HorizontalPodAutoscaler":    `{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: web, namespace: shop}, spec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}, maxReplicas: 5, metrics: [{type: Resource, resource: {name: memory, target: {type: AverageValue, averageValue: 100Mi}}}], behavior: {scaleDown: {policies: [{type: Pods, value: 1, periodSeconds: 60}]}}}}`,
	"Pod":                        `{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: shop}, spec: {containers: [{name: c, image: busybox}]}}`,
	"Job":                        `{apiVersion: batch/v1, kind: Job, metadata: {name: j, namespace: shop}, spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: busybox}]}}}}`,
	"CronJob":                    `{apiVersion: batch/v1, kind: CronJob, metadata: {name: j, namespace: shop}, spec: {schedule: '*/5 * * * *', timeZone: Etc/UTC, jobTemplate: {spec: {template: {spec: {restartPolicy: OnFailure, containers: [{name: c, image: busybox}]}}}}}}`,
}

const zeros = "0000000000000000000000000000000000000000000000000000000000000000"

func TestGoodObjectsPassAndStayAsTheyAreWhenDefaultedTwice(t *testing.T) {
	t.Parallel()
	for _, k := range Kinds() {
		text, ok := good[k.Kind]
		if !ok {
			if !k.Runtime {
				t.Errorf("%s: no example", k.Kind)
			}
			continue
		}
		data, err := json.Marshal(object(t, text))
		if err != nil {
			t.Fatal(err)
		}
		obj, errs := Decode(data)
		if len(errs) > 0 {
			t.Errorf("%s: %v", k.Kind, errs.ToAggregate())
			continue
		}
		again := obj.DeepCopyObject()
		Default(again)
		if !equality.Semantic.DeepEqual(obj, again) {
			t.Errorf("%s: defaulting twice changes it", k.Kind)
		}
		if errs := Validate(again); len(errs) > 0 {
			t.Errorf("%s: what passed Check does not pass Validate: %v", k.Kind, errs.ToAggregate())
		}
		if errs := ValidateUpdate(again, obj); len(errs) > 0 {
			t.Errorf("%s: no change is refused: %v", k.Kind, errs.ToAggregate())
		}
	}
}

func TestEveryKindHasItsRule(t *testing.T) {
	t.Parallel()
	for _, k := range Kinds() {
		obj, err := Scheme().New(k.GroupVersionKind)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range Validate(obj) {
			if e.Field == "kind" {
				t.Errorf("%s has no rule", k.Kind)
			}
			if !k.Namespaced && e.Field == "metadata.namespace" {
				t.Errorf("%s is cluster-wide and yet wants a namespace", k.Kind)
			}
		}
		if r := rules[reflect.TypeOf(obj)]; r.namespaced(obj) != k.Namespaced {
			t.Errorf("%s: the rule's group is wrong", k.Kind)
		}
	}
}

// bad cases change a good object at one place; each names the fields to be reported.
var bad = []struct {
	kind, old, new string
	fields         []string
}{
	{"DeploymentConfig", "replicas: 2", "replcas: 2", []string{"spec.replcas"}},
	{"DeploymentConfig", "replicas: 2", "replicas: two", []string{"spec.replicas"}},
	{"DeploymentConfig", "replicas: 2", "replicas: -1", []string{"spec.replicas"}},
	{"DeploymentConfig", "replicas: 2", "replicas: 3000000000", []string{"spec.replicas"}},
	{"DeploymentConfig", "containerPort: 8080", "containerPort: 65536", []string{"spec.template.spec.containers[0].ports[0].containerPort"}},
	{"DeploymentConfig", "containerPort: 8080", "containerPort: 0", []string{"spec.template.spec.containers[0].ports[0].containerPort"}},
	{"DeploymentConfig", "name: web\n", "name: Web\n", []string{
		"spec.template.spec.containers[0].image", "spec.template.spec.containers[0].name", "spec.triggers[1].imageChangeParams.containerNames[0]"}},
	{"DeploymentConfig", "containerNames: [web]", "containerNames: [other]", []string{
		"spec.template.spec.containers[0].image", "spec.triggers[1].imageChangeParams.containerNames[0]"}},
	{"DeploymentConfig", "image: ' '", "image: UPPER/case", []string{"spec.template.spec.containers[0].image"}},
	{"DeploymentConfig", "name: 'frontend:live'", "name: frontend", []string{"spec.triggers[1].imageChangeParams.from.name"}},
	{"DeploymentConfig", "value: blue", "value: 3", []string{"spec.template.spec.containers[0].env[0].value"}},
	{"DeploymentConfig", "name: COLOR", "name: 1COLOR", []string{"spec.template.spec.containers[0].env[0].name"}},
	{"DeploymentConfig", "fieldPath: metadata.name", "fieldPath: metadata.nom", []string{"spec.template.spec.containers[0].env[1].valueFrom.fieldRef.fieldPath"}},
	{"DeploymentConfig", "cpu: 500m", "cpu: lots", []string{"spec.template.spec.containers[0].resources.limits[cpu]"}},
	{"DeploymentConfig", "cpu: 500m", "cpu: -1", []string{"spec.template.spec.containers[0].resources.limits[cpu]", "spec.template.spec.containers[0].resources.requests[cpu]"}},
	{"DeploymentConfig", "name: data, mountPath", "name: date, mountPath", []string{"spec.template.spec.containers[0].volumeMounts[0].name"}},
	{"DeploymentConfig", "volumes: [{name: data}]", "volumes: [{name: data, hostPath: {path: /srv/../etc, type: Disk}}]", []string{
		"spec.template.spec.volumes[0].hostPath.path", "spec.template.spec.volumes[0].hostPath.type"}},
	{"DeploymentConfig", "ports: [{name: http, containerPort: 8080}]", "ports: [{name: http, containerPort: 8080, hostPort: 30000}, {containerPort: 1, hostPort: 1, hostIP: 127.0.0.1}, {containerPort: 2, hostPort: 2, hostIP: '::1'}, " +
		"{containerPort: 3, hostPort: 3, hostIP: 224.0.0.1}, {containerPort: 4, hostPort: 4, hostIP: 192.0.2.1}, {containerPort: 4, hostPort: 4, hostIP: 192.0.2.2}, {containerPort: 5, hostPort: 4, hostIP: 192.0.2.2}]", []string{
		"spec.template.spec.containers[0].ports[0].hostPort", "spec.template.spec.containers[0].ports[1].hostIP", "spec.template.spec.containers[0].ports[2].hostIP",
		"spec.template.spec.containers[0].ports[3].hostIP", "spec.template.spec.containers[0].ports[6].hostPort"}},
	{"DeploymentConfig", "volumes: [{name: data}]", "volumes: [{name: data, hostPath: {path: srv}}]", []string{"spec.template.spec.volumes[0].hostPath.path"}},
	{"SecurityContextConstraints", "runAsUser: {type: MustRunAsRange}", "runAsUser: {type: MustRunAs}, priority: -1, requiredDropCapabilities: [KILL], allowedCapabilities: [KILL], userNamespaceLevel: RequirePodLevel", []string{
		"allowedCapabilities[0]", "priority", "runAsUser.uid", "userNamespaceLevel"}},
	{"SecurityContextConstraints", "seLinuxContext: {type: RunAsAny}", "fsGroup: {type: MustRunAs, ranges: [{min: 7, max: 6}]}, seccompProfiles: [localhost/x], allowedUnsafeSysctls: [net.*], allowedFlexVolumes: [{driver: x}]", []string{
		"allowedFlexVolumes", "allowedUnsafeSysctls", "fsGroup.ranges[0].max", "seLinuxContext.type", "seccompProfiles"}},
	{"SecurityContextConstraints", "allowHostDirVolumePlugin: true", "allowHostDirVolumePlugin: false, volumes: [none, secret]", []string{"volumes"}},
	{"DeploymentConfig", "volumes: [{name: data}]", "volumes: [{name: data}, {name: data}]", []string{"spec.template.spec.volumes[1].name"}},
	{"DeploymentConfig", "volumes: [{name: data}]", "volumes: [{name: data, secret: {secretName: s, items: [{key: k, path: ../../x}]}}]", []string{"spec.template.spec.volumes[0].secret.items[0].path"}},
	{"DeploymentConfig", "volumes: [data]", "volumes: [other]", []string{"spec.strategy.rollingParams.pre.execNewPod.volumes[0]"}},
	{"DeploymentConfig", "failurePolicy: Abort", "failurePolicy: ''", []string{"spec.strategy.rollingParams.pre.failurePolicy"}},
	{"DeploymentConfig", "failurePolicy: Abort", "failurePolicy: Hope", []string{"spec.strategy.rollingParams.pre.failurePolicy"}},
	{"DeploymentConfig", "volumes: [data]}}", "volumes: [data]}, tagImages: [{to: {name: 'frontend:deployed'}}]}", []string{"spec.strategy.rollingParams.pre"}},
	{"DeploymentConfig", ", execNewPod: {command: [migrate], volumes: [data]}", "", []string{"spec.strategy.rollingParams.pre"}},
	{"DeploymentConfig", "execNewPod: {command: [migrate], volumes: [data]}", "tagImages: [{to: {name: deployed}}]", []string{"spec.strategy.rollingParams.pre.tagImages[0].to.name"}},
	{"DeploymentConfig", "command: [migrate]", "command: []", []string{"spec.strategy.rollingParams.pre.execNewPod.command"}},
	{"DeploymentConfig", "command: [migrate]", "containerName: other, command: [migrate]", []string{"spec.strategy.rollingParams.pre.execNewPod.containerName"}},
	{"DeploymentConfig", "from: {name: 'frontend:live'}", "from: {kind: DockerImage, name: 'frontend:live'}", []string{"spec.triggers[1].imageChangeParams.from.kind"}},
	{"DeploymentConfig", "rollingParams:", "type: Custom\n    rollingParams:", []string{"spec.strategy.customParams.image"}},
	{"DeploymentConfig", "name: frontend, namespace", "name: " + strings.Repeat("a", 58) + ", namespace", []string{"metadata.name"}},
	{"DeploymentConfig", "cpu: 500m", "cpuu: 500m", []string{"spec.template.spec.containers[0].resources.limits[cpuu]"}},
	{"DeploymentConfig", "port: http}}", "port: http}, terminationGracePeriodSeconds: 3}", []string{"spec.template.spec.containers[0].readinessProbe.terminationGracePeriodSeconds"}},
	{"DeploymentConfig", "readinessProbe: {httpGet: {path: /ready, port: http}}", "lifecycle: {preStop: {sleep: {seconds: 1}, exec: {command: [a]}}}", []string{"spec.template.spec.containers[0].lifecycle.preStop"}},
	{"DeploymentConfig", "port: http}}", "port: https}}", []string{"spec.template.spec.containers[0].readinessProbe.httpGet.port"}},
	{"DeploymentConfig", "rollingParams:", "rollingParams:\n      maxSurge: 0\n      maxUnavailable: 0", []string{"spec.strategy.rollingParams.maxUnavailable"}},
	{"DeploymentConfig", "rollingParams:", "rollingParams:\n      maxUnavailable: 101%", []string{"spec.strategy.rollingParams.maxUnavailable"}},
	{"DeploymentConfig", "rollingParams:", "activeDeadlineSeconds: 600\n    rollingParams:", []string{"spec.strategy.activeDeadlineSeconds"}},
	{"DeploymentConfig", "replicas: 2", "selector: {app: other}", []string{"spec.template.metadata.labels"}},
	{"DeploymentConfig", "volumes: [{name: data}]", "hostPID: true\n      shareProcessNamespace: true\n      volumes: [{name: data}]", []string{"spec.template.spec.shareProcessNamespace"}},
	{"Pod", "containers: [{name: c, image: busybox}]", "hostNetwork: true, containers: [{name: c, image: busybox, ports: [{containerPort: 1}, {containerPort: 2, hostPort: 3}]}]", []string{"spec.containers[0].ports[1].containerPort"}},
	{"DeploymentConfig", "image: ' '", "image: ' '\n        securityContext: {privileged: true, allowPrivilegeEscalation: false, procMount: Unmasked}", []string{
		"spec.template.spec.containers[0].securityContext.allowPrivilegeEscalation", "spec.template.spec.containers[0].securityContext.procMount"}},
	{"Pod", "name: p, namespace: shop}, spec: {", "name: p, namespace: shop, annotations: {slipway.dev/links: db}}, spec: {hostNetwork: true, ", []string{"metadata.annotations[slipway.dev/links]"}},
	{"Pod", "name: p,", "name: p, annotations: {openshift.io/scc: privileged},", []string{"metadata.annotations[openshift.io/scc]"}},
	{"DeploymentConfig", "apiVersion: v1", "apiVersion: apps.openshift.io/v2", []string{"apiVersion"}},
	{"DeploymentConfig", "kind: DeploymentConfig", "kind: Deployment", []string{"kind"}},
	{"DeploymentConfig", "name: frontend, namespace", "name: Front_end, namespace", []string{"metadata.name"}},
	{"DeploymentConfig", "name: frontend, namespace", "generateName: frontend-, namespace", []string{"metadata.name", "metadata.name"}},
	{"Project", "name: shop-dev", "name: openshift-infra", []string{"metadata.name"}},
	{"Project", "name: shop-dev", "name: kube", []string{"metadata.name"}},
	{"Project", "name: shop-dev", "name: shop-dev, annotations: {slipway.dev/netid: '0'}", []string{"metadata.annotations[slipway.dev/netid]"}},
	{"Pod", "name: p,", "name: p, annotations: {slipway.dev/links: '3306=db'},", []string{"metadata.annotations[slipway.dev/links]"}},
	{"NetworkPolicy", "except: [10.1.0.0/16]", "except: [11.0.0.0/8]", []string{"spec.ingress[0].from[0].ipBlock.except[0]"}},
	{"NetworkPolicy", "cidr: 10.0.0.0/8", "cidr: 10.0.0.0", []string{"spec.ingress[0].from[0].ipBlock.cidr"}},
	{"NetworkPolicy", "{ipBlock:", "{podSelector: {}, ipBlock:", []string{"spec.ingress[0].from[0]"}},
	{"NetworkPolicy", "{namespaceSelector: {}}", "{}", []string{"spec.ingress[0].from[1]"}},
	{"NetworkPolicy", "port: 80, endPort: 90", "port: 80, endPort: 70", []string{"spec.ingress[0].ports[1].endPort"}},
	{"NetworkPolicy", "port: http", "port: http, endPort: 80, protocol: SCTP", []string{"spec.ingress[0].ports[0].endPort", "spec.ingress[0].ports[0].protocol"}},
	{"NetworkPolicy", "egress:", "policyTypes: [Sideways], egress:", []string{"spec.policyTypes[0]"}},
	{"EgressNetworkPolicy", "type: Deny", "type: Forbid", []string{"spec.egress[1].type"}},
	{"EgressNetworkPolicy", "cidrSelector: 0.0.0.0/0", "cidrSelector: 'fd00::/8'", []string{"spec.egress[1].to.cidrSelector"}},
	{"EgressNetworkPolicy", "cidrSelector: 0.0.0.0/0", "cidrSelector: 0.0.0.0/0, dnsName: a", []string{"spec.egress[1].to"}},
	{"EgressNetworkPolicy", "dnsName: www.example.com.", "dnsName: '*.example.com'", []string{"spec.egress[0].to.dnsName"}},
	{"EgressNetworkPolicy", "egress: [", "egress: [" + strings.Repeat("{type: Allow, to: {cidrSelector: 10.0.0.0/8}}, ", 50), []string{"spec.egress"}},
	{"Service", "port: 80", "port: 0", []string{"spec.ports[0].port"}},
	{"Service", "targetPort: http", "targetPort: not_a_port", []string{"spec.ports[0].targetPort"}},
	{"Service", "[{port: 80, targetPort: http}]", "[{port: 80}, {port: 80}]", []string{"spec.ports[0].name", "spec.ports[1].name", "spec.ports[1].port"}},
	{"Service", "name: frontend,", "name: 1frontend,", []string{"metadata.name"}},
	{"Service", "selector:", "type: Cluster, selector:", []string{"spec.type"}},
	{"Service", "selector:", "externalIPs: [127.0.0.1, 'fd00::1'], selector:", []string{"spec.externalIPs[0]", "spec.externalIPs[1]"}},
	{"Service", "port: 80,", "port: 80, nodePort: 30080,", []string{"spec.ports[0].nodePort"}},
	{"Service", "selector: {app: frontend}, ports: [{port: 80,", "type: NodePort, selector: {app: frontend}, ports: [{port: 80, nodePort: 80,", []string{"spec.ports[0].nodePort"}},
	{"Service", "selector:", "type: NodePort, clusterIP: None, selector:", []string{"spec.clusterIP"}},
	{"Service", "selector:", "externalTrafficPolicy: Local, selector:", []string{"spec.externalTrafficPolicy"}},
	{"Service", "selector:", "type: LoadBalancer, loadBalancerSourceRanges: [10.0.0.0/8], healthCheckNodePort: 30001, selector:", []string{"spec.healthCheckNodePort", "spec.loadBalancerSourceRanges"}},
	{"Service", "selector:", "clusterIP: nowhere, selector:", []string{"spec.clusterIP"}},
	{"ConfigMap", "app.conf", "app/conf", []string{"data[app/conf]"}},
	{"Secret", "other: YWJj", "other: '%%%'", []string{"data[other]"}},
	{"Secret", "data: {other: YWJj}", "type: kubernetes.io/tls", []string{"data[tls.crt]", "data[tls.key]"}},
	{"Role", "verbs: [get]", "verbs: []", []string{"rules[0].verbs"}},
	{"RoleBinding", "roleRef: {kind: ClusterRole", "roleRef: {kind: Group", []string{"roleRef.kind"}},
	{"RoleBinding", "kind: Group", "kind: Everyone", []string{"subjects[1].kind"}},
	{"GitRepository", "https://git.example.com/shop/app.git", "ext::sh -c id", []string{"spec.url"}},
	{"GitRepository", "https://git.example.com/shop/app.git", "ftp://git.example.com/shop", []string{"spec.url"}},
	{"GitRepository", "https://git.example.com/shop/app.git", "https://ann:secret@git.example.com/shop", []string{"spec.url"}},
	{"GitRepository", "https://git.example.com/shop/app.git", "ssh://-oProxyCommand=x/y", []string{"spec.url"}},
	{"GitRepository", "branch: main", "branch: --upload-pack=x", []string{"spec.ref.branch"}},
	{"GitRepository", "branch: main", "commit: abc", []string{"spec.ref.commit"}},
	{"GitRepository", ">=1.0.0 <2", "about one", []string{"spec.ref.semver"}},
	{"Application", "interval: 30s", "interval: 0s", []string{"spec.interval"}},
	{"Application", "interval: 30s", "interval: soon", []string{"spec.interval"}},
	{"Application", "interval: 30s", "drift: Ignore", []string{"spec.drift"}},
	{"Application", "path: projects/shop", "path: ../shop", []string{"spec.path"}},
	{"Application", "path: projects/shop", "path: /etc", []string{"spec.path"}},
	{"Application", "interval: 30s", "dependsOn: [{name: shop}]", []string{"spec.dependsOn[0].name"}},
	{"Promotion", "from: shop-dev", "from: shop-prod", []string{"spec.from"}},
	{"Promotion", "write: {", "write: {path: /images.lock.json, ", []string{"spec.write.path"}},
	{"Template", "name: NAME,", "name: NA-ME,", []string{"parameters[0].name"}},
	{"Template", "generate: expression", "generate: dice", []string{"parameters[0].generate"}},
	{"ImageStream", "name: live, from: {kind", "name: 'li ve', from: {kind", []string{"spec.tags[0].name"}},
	{"ImageStream", "name: frontend, namespace", "name: front:end, namespace", []string{"metadata.name"}},
	{"ImageStream", "name: base,", "name: live,", []string{"spec.tags[1].name"}},
	{"Route", "to: {name: frontend}", "to: {name: frontend, weight: 257}", []string{"spec.to.weight"}},
	{"Route", "path: /api", "path: api", []string{"spec.path"}},
	{"Route", "termination: edge", "termination: passthrough", []string{"spec.path"}},
	{"Route", "path: /api, to", "alternateBackends: [{name: a}, {name: b}, {name: c}, {name: d}], to", []string{"spec.alternateBackends"}},
	{"Route", "host: shop.example.com", "host: shop..example.com", []string{"spec.host"}},
	{"Route", "host: shop.example.com", `host: "shop\n"`, []string{"spec.host"}},
	{"BuildConfig", "contextDir: frontend", "contextDir: ../frontend", []string{"spec.source.contextDir"}},
	{"BuildConfig", "strategy: {", "strategy: {dockerStrategy: {}, ", []string{"spec.strategy", "spec.triggers[1].imageChange"}},
	{"BuildConfig", "{type: ConfigChange}", "{type: ImageChange, imageChange: {from: {kind: ImageStreamTag, name: 'base:1'}}}", []string{"spec.triggers[2].imageChange.from"}},
	{"BuildConfig", "github: {secretReference: {name: hook}}", "github: {}", []string{"spec.triggers[0].github.secretReference"}},
	{"BuildConfig", "github: {secretReference: {name: hook}}", "github: {secret: x, allowEnv: true}", []string{"spec.triggers[0].github.allowEnv"}},
	{"BuildConfig", "output:", "postCommit: {script: x, command: [make]}, output:", []string{"spec.postCommit"}},
	{"BuildConfig", "name: 'base:1'", "kind: Image, name: 'base:1'", []string{"spec.strategy.sourceStrategy.from.kind", "spec.triggers[1].imageChange"}},
	{"Job", "restartPolicy: Never, ", "", []string{"spec.template.spec.restartPolicy"}},
	{"CronJob", "*/5 * * * *", "*/5 * * *", []string{"spec.schedule"}},
	{"CronJob", "*/5 * * * *", "TZ=UTC * * * * *", []string{"spec.schedule"}},
	{"CronJob", "Etc/UTC", "Mars/Olympus", []string{"spec.timeZone"}},
	{"PersistentVolumeClaim", "storage: 1Gi", "storage: 0", []string{"spec.resources.requests[storage]"}},
	{"PersistentVolume", "path: /srv/v", "path: /srv/../etc", []string{"spec.hostPath.path"}},
	{"Deployment", "selector: {matchLabels: {app: web}}, ", "", []string{"spec.selector"}},
	{"Deployment", "matchLabels: {app: web}", "matchLabels: {}", []string{"spec.selector"}},
	{"Deployment", "matchLabels: {app: web}", "matchLabels: {app: other}", []string{"spec.template.metadata.labels"}},
	{"Deployment", "maxSurge: 1", "maxSurge: 0, maxUnavailable: 0%", []string{"spec.strategy.rollingUpdate.maxUnavailable"}},
	{"Deployment", "maxSurge: 1", "maxSurge: one", []string{"spec.strategy.rollingUpdate.maxSurge"}},
	{"Deployment", "strategy: {", "strategy: {type: Recreate, ", []string{"spec.strategy.rollingUpdate"}},
	{"Deployment", "replicas: 2", "progressDeadlineSeconds: 30, minReadySeconds: 30", []string{"spec.progressDeadlineSeconds"}},
	{"Deployment", "spec: {containers", "spec: {restartPolicy: Never, containers", []string{"spec.template.spec.restartPolicy"}},
	{"Deployment", "apps/v1", "apps/v1beta1", []string{"apiVersion"}},
	{"StatefulSet", "name: db,", "name: d.b,", []string{"metadata.name"}},
	{"StatefulSet", "serviceName: db", "podManagementPolicy: Any, serviceName: db", []string{"spec.podManagementPolicy"}},
	{"StatefulSet", "serviceName: db", "updateStrategy: {type: OnDelete, rollingUpdate: {partition: 1}}, serviceName: db", []string{"spec.updateStrategy.rollingUpdate"}},
	{"StatefulSet", "serviceName: db", "ordinals: {start: -1}, serviceName: db", []string{"spec.ordinals.start"}},
	{"StatefulSet", "storage: 1Gi", "storage: 0", []string{"spec.volumeClaimTemplates[0].spec.resources.requests[storage]"}},
	{"StatefulSet", "name: data, mountPath", "name: date, mountPath", []string{"spec.template.spec.containers[0].volumeMounts[0].name"}},
	{"DaemonSet", "maxUnavailable: 10%", "maxUnavailable: 0", []string{"spec.updateStrategy.rollingUpdate.maxUnavailable"}},
	{"DaemonSet", "maxUnavailable: 10%", "maxSurge: 1", []string{"spec.updateStrategy.rollingUpdate.maxSurge"}},
	{"HorizontalPodAutoscaler", "maxReplicas: 5", "minReplicas: 6, maxReplicas: 5", []string{"spec.maxReplicas"}},
	{"HorizontalPodAutoscaler", "kind: Deployment, name", "kind: DaemonSet, name", []string{"spec.scaleTargetRef.kind"}},
	{"HorizontalPodAutoscaler", "type: Resource, resource", "type: Pods, resource", []string{"spec.metrics[0].type"}},
	{"HorizontalPodAutoscaler", "type: AverageValue", "type: Utilization", []string{"spec.metrics[0].resource.target.averageUtilization"}},
	{"HorizontalPodAutoscaler", "name: memory", "name: disk", []string{"spec.metrics[0].resource.name"}},
	{"HorizontalPodAutoscaler", "value: 1", "value: 0", []string{"spec.behavior.scaleDown.policies[0].value"}},
	{"Pod", "name: p,", "name: p, ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: a, uid: b}], finalizers: [a.b/c],", []string{"metadata.ownerReferences", "metadata.finalizers"}},
	{"Pod", "name: c, image: busybox", "name: c", []string{"spec.containers[0].image"}},
	{"Pod", "containers: [", "containers: [{name: c, image: busybox}, ", []string{"spec.containers[1].name"}},
	{"Pod", "name: p,", "name: " + strings.Repeat("p", 254) + ",", []string{"metadata.name"}},
	{"LimitRange", "min: {cpu: 100m}", "min: {cpu: 3}", []string{"spec.limits[0].min[cpu]", "spec.limits[0].min[cpu]", "spec.limits[0].min[cpu]"}},
}

func TestMistakesAreReportedAtTheirFields(t *testing.T) {
	t.Parallel()
	for _, c := range bad {
		if !strings.Contains(good[c.kind], c.old) {
			t.Errorf("%s: no %q in the good object", c.kind, c.old)
			continue
		}
		errs := Check(object(t, strings.Replace(good[c.kind], c.old, c.new, 1)))
		var fields []string
		for _, e := range errs {
			fields = append(fields, e.Field)
		}
		if !slices.Equal(fields, c.fields) {
			t.Errorf("%s with %q:\n got %v\nwant %v", c.kind, c.new, errs.ToAggregate(), c.fields)
		}
	}
}

func TestUnknownFieldIsNamedWithTheOneThatWasMeant(t *testing.T) {
	t.Parallel()
	errs := Check(object(t, strings.Replace(goodDC, "replicas", "replcas", 1)))
	if len(errs) != 1 || errs[0].Detail != `unknown field "spec.replcas", did you mean replicas?` {
		t.Fatalf("got %v", errs)
	}
}

func TestRepositoriesCannotHoldWhatControllersMake(t *testing.T) {
	t.Parallel()
	for _, k := range Kinds() {
		u := &unstructured.Unstructured{Object: map[string]any{}}
		u.SetGroupVersionKind(k.GroupVersionKind)
		u.SetName("x")
		errs := Check(u)
		if k.Runtime != (len(errs) == 1 && errs[0].Field == "kind") {
			t.Errorf("%s: %v", k.Kind, errs)
		}
	}
}

func TestNamespaceMayBeMissingButNotWrong(t *testing.T) {
	t.Parallel()
	if errs := Check(object(t, `{apiVersion: v1, kind: ConfigMap, metadata: {name: c}}`)); len(errs) > 0 {
		t.Error(errs)
	}
	if errs := Check(object(t, `{apiVersion: v1, kind: Project, metadata: {name: cc, namespace: d}}`)); len(errs) != 1 {
		t.Error(errs)
	}
}

func TestSecretsNeverShowInErrors(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		`{apiVersion: v1, kind: Secret, metadata: {name: s, namespace: n}, data: {k: canary!}}`,
		`{apiVersion: v1, kind: Secret, metadata: {name: s, namespace: n}, stringData: {k: [canary]}}`,
		`{apiVersion: v1, kind: Secret, metadata: {name: s, namespace: n}, type: kubernetes.io/dockerconfigjson, stringData: {.dockerconfigjson: canary}}`,
		`{apiVersion: slipway.dev/v1alpha1, kind: GitRepository, metadata: {name: s, namespace: n}, spec: {url: 'https://a:canary@h/p'}}`,
		`{apiVersion: route.openshift.io/v1, kind: Route, metadata: {name: s, namespace: n}, spec: {to: {name: x}, tls: {termination: passthrough, key: canary, certificate: canary}}}`,
	} {
		errs := Check(object(t, text))
		if len(errs) == 0 {
			t.Errorf("%s passed", text)
		}
		if strings.Contains(errs.ToAggregate().Error(), "canary") {
			t.Errorf("the value shows: %v", errs)
		}
	}
}

func TestDecodeReportsKeysGivenTwice(t *testing.T) {
	t.Parallel()
	_, errs := Decode([]byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"k":"1","k":"2"}}`))
	if len(errs) != 1 || errs[0].Field != "data.k" {
		t.Fatalf("got %v", errs)
	}
}

func FuzzDecode(f *testing.F) {
	for _, text := range good {
		data, err := yaml.YAMLToJSON([]byte(text))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		obj, errs := Decode(data)
		if len(errs) > 0 {
			return
		}
		again := obj.DeepCopyObject()
		Default(again)
		if !equality.Semantic.DeepEqual(obj, again) {
			t.Errorf("defaulting twice changes %s", data)
		}
	})
}
