// slipway.libsonnet: constructors for every kind, and the functions that Slipway adds to
// Jsonnet. Built in: `local s = import 'slipway.libsonnet';` needs no vendoring.
//
// A constructor takes what nearly every object of its kind has; everything else is added
// with `+`:
//
//   local s = import 'slipway.libsonnet';
//   [
//     s.imageStream('frontend'),
//     s.deploymentConfig('frontend', image='frontend:latest', replicas=2, ports=[8080])
//       + s.env({ GREETING: 'hello' }) + s.readiness('/healthz', 8080),
//     s.service('frontend', 8080),
//     s.route('frontend', host='shop.example.com'),
//   ]
local native = std.native;
local object(apiVersion, kind, name) = { apiVersion: apiVersion, kind: kind, metadata: { name: name } };
local some(o) = { [k]: o[k] for k in std.objectFields(o) if o[k] != null && o[k] != '' && o[k] != [] && o[k] != {} };
local asText(v) = if std.isString(v) then v else std.manifestJsonMinified(v);
local envList(env) = [
  { name: k } + (if std.isObject(env[k]) then { valueFrom: env[k] } else { value: asText(env[k]) })
  for k in std.objectFields(env)
];
local portList(ports) = [
  if std.isNumber(p) then { containerPort: p } else p
  for p in ports
];
local servicePorts(ports) = [
  if std.isNumber(p) then { name: '%d-tcp' % p, port: p, protocol: 'TCP', targetPort: p } else p
  for p in (if std.isArray(ports) then ports else [ports])
];
// An image is an image stream's tag unless it names a host, as `registry.example.com/a/b:1` does.
local isStream(image) = std.length(std.findSubstr('/', image)) <= 1 && std.length(std.findSubstr('.', std.split(image, '/')[0])) == 0;
local strategy(name, from, more) = { type: name, [std.asciiLower(name) + 'Strategy']: (if from == null then {} else { from: native('image')(from) }) + more };

{
  // What Slipway adds to Jsonnet.

  // param: a parameter of the Application, in the type of its default; without a default it is required.
  param(name, default=null):: native('param')(name, default),
  // template: the objects of a Template, given as an object or as the name of the file that
  // holds it. Generated values are kept under the instance's name for good.
  template(template, params={}, instance=''):: native('template')(template, params, instance),
  // image: a reference to `[project/]stream[:tag]` or `[project/]stream@sha256:…`.
  image(ref):: native('image')(ref),
  // lockedImage: the image that images.lock.json has for `stream[:tag]`, by digest; null if it has none.
  lockedImage(tag):: native('lockedImage')(tag),
  parseYaml(yaml):: native('parseYaml')(yaml),
  parseJson(json):: native('parseJson')(json),
  manifestYaml(value):: native('manifestYaml')(value),
  manifestYamlFromJson(json):: native('manifestYamlFromJson')(json),
  manifestJsonFromJson(json, indent=2):: native('manifestJsonFromJson')(json, indent),
  escapeStringRegex(str):: native('escapeStringRegex')(str),
  sha256(str):: native('sha256')(str),
  regexMatch(regex, str):: native('regexMatch')(regex, str),
  regexSubst(regex, src, repl):: native('regexSubst')(regex, src, repl),

  // Mixins for objects of any kind.

  namespace(name):: { metadata+: { namespace: name } },
  labels(labels):: { metadata+: { labels+: labels } },
  annotations(annotations):: { metadata+: { annotations+: annotations } },

  // Mixins for what has a pod template: DeploymentConfig, Deployment, StatefulSet, Job, and so on.

  // eachContainer: lays an object over every container.
  eachContainer(more):: { spec+: { template+: { spec+: { containers: [c + more for c in super.containers] } } } },
  env(env):: self.eachContainer({ env+: envList(env) }),
  resources(requests={}, limits={}):: self.eachContainer({ resources: some({ requests: requests, limits: limits }) }),
  readiness(path, port):: self.eachContainer({ readinessProbe: { httpGet: { path: path, port: port } } }),
  liveness(path, port):: self.eachContainer({ livenessProbe: { httpGet: { path: path, port: port } } }),
  // mount: a volume for the pod, mounted in every container; source as in a pod's volume, e.g. { configMap: { name: 'x' } }.
  mount(name, path, source, readOnly=false)::
    self.eachContainer({ volumeMounts+: [{ name: name, mountPath: path } + (if readOnly then { readOnly: true } else {})] })
    + { spec+: { template+: { spec+: { volumes+: [{ name: name } + source] } } } },
  serviceAccountName(name):: { spec+: { template+: { spec+: { serviceAccountName: name } } } },

  // Projects and policy.

  project(name, displayName='', description=''):: object('project.openshift.io/v1', 'Project', name) + {
    metadata+: { annotations: some({ 'openshift.io/display-name': displayName, 'openshift.io/description': description }) },
  },
  serviceAccount(name):: object('v1', 'ServiceAccount', name),
  resourceQuota(name, hard):: object('v1', 'ResourceQuota', name) + { spec: { hard: hard } },
  limitRange(name, limits):: object('v1', 'LimitRange', name) + { spec: { limits: limits } },
  rule(resources, verbs, apiGroups=['']):: { apiGroups: apiGroups, resources: resources, verbs: verbs },
  role(name, rules):: object('rbac.authorization.k8s.io/v1', 'Role', name) + { rules: rules },
  clusterRole(name, rules):: object('rbac.authorization.k8s.io/v1', 'ClusterRole', name) + { rules: rules },
  user(name):: { apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: name },
  group(name):: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Group', name: name },
  serviceAccountSubject(name, namespace=null):: { kind: 'ServiceAccount', name: name } + (if namespace == null then {} else { namespace: namespace }),
  roleBinding(name, role, subjects, kind='Role'):: object('rbac.authorization.k8s.io/v1', 'RoleBinding', name) + {
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: kind, name: role },
    subjects: subjects,
  },
  clusterRoleBinding(name, role, subjects):: object('rbac.authorization.k8s.io/v1', 'ClusterRoleBinding', name) + {
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: role },
    subjects: subjects,
  },

  // Configuration.

  configMap(name, data={}):: object('v1', 'ConfigMap', name) + { data: data },
  // secret: data as plain text; it is encoded by the server.
  secret(name, data={}, type='Opaque'):: object('v1', 'Secret', name) + { type: type, stringData: data },
  persistentVolume(name, size, source, accessModes=['ReadWriteOnce']):: object('v1', 'PersistentVolume', name) + {
    spec: { capacity: { storage: size }, accessModes: accessModes } + source,
  },
  persistentVolumeClaim(name, size, accessModes=['ReadWriteOnce']):: object('v1', 'PersistentVolumeClaim', name) + {
    spec: { accessModes: accessModes, resources: { requests: { storage: size } } },
  },
  // parameter: a parameter of a Template; from is the expression of a generated one.
  parameter(name, value=null, from=null, required=false, description=null)::
    { name: name } + some({ value: value, from: from, description: description })
    + (if from != null then { generate: 'expression' } else {}) + (if required then { required: true } else {}),
  templateObject(name, objects, parameters=[], labels={}, message=''):: object('template.openshift.io/v1', 'Template', name) + {
    objects: objects,
    parameters: parameters,
  } + some({ labels: labels, message: message }),
  // templateInstance: of a Template of the same application, by its name.
  templateInstance(name, template, secret=null):: object('template.openshift.io/v1', 'TemplateInstance', name) + {
    spec: { template: { metadata: { name: template }, objects: [] } } + (if secret == null then {} else { secret: { name: secret } }),
  },

  // Images and builds.

  // imageStream: tags maps a tag to where it comes from, `project/stream:tag` or an external image.
  imageStream(name, tags={}):: object('image.openshift.io/v1', 'ImageStream', name) + {
    spec: {
      lookupPolicy: { 'local': false },
      tags: [
        { name: t, from: if isStream(tags[t]) then native('image')(tags[t]) else { kind: 'DockerImage', name: tags[t] } }
        for t in std.objectFields(tags)
      ],
    },
  },
  // The strategies of a build. from is a builder image, `[project/]stream[:tag]`.
  sourceStrategy(from, env={}, incremental=false):: strategy('Source', from, some({ env: envList(env) }) + (if incremental then { incremental: true } else {})),
  dockerStrategy(from=null, env={}, dockerfilePath=null):: strategy('Docker', from, some({ env: envList(env), dockerfilePath: dockerfilePath })),
  customStrategy(from, env={}):: strategy('Custom', from, some({ env: envList(env) })),
  // buildConfig: of a git repository, into `stream:tag`. webhook is the secret of a generic
  // webhook, or a reference to one: { secretReference: { name: 'x' } }.
  buildConfig(name, git, strategy, output=name + ':latest', ref=null, contextDir=null, webhook=null):: object('build.openshift.io/v1', 'BuildConfig', name) + {
    spec: {
      source: { type: 'Git', git: { uri: git } + some({ ref: ref }) } + some({ contextDir: contextDir }),
      strategy: strategy,
      output: { to: native('image')(output) },
      runPolicy: 'Serial',
      triggers: [{ type: 'ConfigChange' }]
                + (if webhook == null then [] else [{ type: 'Generic', generic: if std.isString(webhook) then { secret: webhook } else webhook }])
                + (if std.objectHas(std.get(strategy, 'sourceStrategy', {}), 'from') then [{ type: 'ImageChange', imageChange: {} }] else []),
    },
  },

  // Workloads.

  container(name, image='', ports=[], env={}, command=null, args=null):: { name: name, image: image }
                                                                         + some({ ports: portList(ports), env: envList(env), command: command, args: args }),
  // deploymentConfig: image is `[project/]stream:tag`, rolled out whenever the tag moves, or an external image.
  deploymentConfig(name, image, replicas=1, ports=[], env={}, command=null, args=null):: object('apps.openshift.io/v1', 'DeploymentConfig', name) + {
    local stream = isStream(image),
    metadata+: { labels: { app: name } },
    spec: {
      replicas: replicas,
      selector: { app: name },
      strategy: { type: 'Rolling' },
      template: {
        metadata: { labels: { app: name } },
        spec: { containers: [$.container(name, if stream then '' else image, ports, env, command, args)] },
      },
      triggers: [{ type: 'ConfigChange' }] + (
        if !stream then [] else [{
          type: 'ImageChange',
          imageChangeParams: { automatic: true, containerNames: [name], from: native('image')(image) },
        }]
      ),
    },
  },
  recreate:: { spec+: { strategy: { type: 'Recreate' } } },
  replicationController(name, image, replicas=1, ports=[], env={}):: object('v1', 'ReplicationController', name) + {
    spec: {
      replicas: replicas,
      selector: { app: name },
      template: { metadata: { labels: { app: name } }, spec: { containers: [$.container(name, image, ports, env)] } },
    },
  },
  pod(name, image, ports=[], env={}, command=null, args=null):: object('v1', 'Pod', name) + {
    metadata+: { labels: { app: name } },
    spec: { containers: [$.container(name, image, ports, env, command, args)] },
  },
  local workload(kind, name, image, ports, env, command, args) = object('apps/v1', kind, name) + {
    metadata+: { labels: { app: name } },
    spec: {
      selector: { matchLabels: { app: name } },
      template: { metadata: { labels: { app: name } }, spec: { containers: [$.container(name, image, ports, env, command, args)] } },
    },
  },
  // deployment, replicaSet, statefulSet and daemonSet: of apps/v1; image is an external image, or
  // what lockedImage says.
  deployment(name, image, replicas=1, ports=[], env={}, command=null, args=null)::
    workload('Deployment', name, image, ports, env, command, args) + { spec+: { replicas: replicas } },
  replicaSet(name, image, replicas=1, ports=[], env={}, command=null, args=null)::
    workload('ReplicaSet', name, image, ports, env, command, args) + { spec+: { replicas: replicas } },
  // statefulSet: claims maps the name of a volume to how large it is; mount it with eachContainer.
  statefulSet(name, image, replicas=1, ports=[], env={}, command=null, args=null, service=name, claims={})::
    workload('StatefulSet', name, image, ports, env, command, args) + {
      spec+: { replicas: replicas, serviceName: service } + some({
        volumeClaimTemplates: [{ metadata: { name: c }, spec: $.persistentVolumeClaim(c, claims[c]).spec } for c in std.objectFields(claims)],
      }),
    },
  daemonSet(name, image, ports=[], env={}, command=null, args=null):: workload('DaemonSet', name, image, ports, env, command, args),
  // horizontalPodAutoscaler: of a workload, by the percentage of the CPU that its pods ask for.
  horizontalPodAutoscaler(name, of, max, min=1, cpu=80):: object('autoscaling/v2', 'HorizontalPodAutoscaler', name) + {
    spec: {
      scaleTargetRef: { apiVersion: of.apiVersion, kind: of.kind, name: of.metadata.name },
      minReplicas: min,
      maxReplicas: max,
      metrics: [{ type: 'Resource', resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization: cpu } } }],
    },
  },
  // podDisruptionBudget: minAvailable or maxUnavailable is a number or a percentage.
  podDisruptionBudget(name, minAvailable=null, maxUnavailable=null, selector={ app: name }):: object('policy/v1', 'PodDisruptionBudget', name) + {
    spec: { selector: { matchLabels: selector } } + some({ minAvailable: minAvailable, maxUnavailable: maxUnavailable }),
  },
  priorityClass(name, value):: object('scheduling.k8s.io/v1', 'PriorityClass', name) + { value: value },
  job(name, image, command=null, args=null, env={}):: object('batch/v1', 'Job', name) + {
    spec: { template: { spec: { restartPolicy: 'Never', containers: [$.container(name, image, [], env, command, args)] } } },
  },
  cronJob(name, schedule, image, command=null, args=null, env={}):: object('batch/v1', 'CronJob', name) + {
    spec: { schedule: schedule, jobTemplate: { spec: $.job(name, image, command, args, env).spec } },
  },

  // The network.

  // networkPolicy: of the pods with these labels; ingress and egress are lists of rules, and
  // null leaves that direction open.
  networkPolicy(name, selector={}, ingress=null, egress=null):: object('networking.k8s.io/v1', 'NetworkPolicy', name) + {
    spec: {
      podSelector: some({ matchLabels: selector }),
      policyTypes: (if ingress == null then [] else ['Ingress']) + (if egress == null then [] else ['Egress']),
    } + (if ingress == null then {} else { ingress: ingress }) + (if egress == null then {} else { egress: egress }),
  },
  // egressNetworkPolicy: rules are [allow|deny, network or DNS name] in their order.
  egressNetworkPolicy(name, rules):: object('network.openshift.io/v1', 'EgressNetworkPolicy', name) + {
    spec: { egress: [
      { type: if r[0] == 'allow' then 'Allow' else 'Deny', to: if std.member(r[1], '/') then { cidrSelector: r[1] } else { dnsName: r[1] } }
      for r in rules
    ] },
  },
  // securityContextConstraints: what pods of those accounts may have beyond 'restricted', such as { allowHostPorts: true };
  // users as of serviceAccountUser.
  securityContextConstraints(name, allow={}, users=[], groups=[]):: object('security.openshift.io/v1', 'SecurityContextConstraints', name) + {
    priority: null,
    allowPrivilegedContainer: false,
    allowHostDirVolumePlugin: false,
    allowHostNetwork: false,
    allowHostPorts: false,
    allowHostPID: false,
    allowHostIPC: false,
    readOnlyRootFilesystem: false,
    allowPrivilegeEscalation: false,
    defaultAddCapabilities: [],
    requiredDropCapabilities: ['KILL', 'MKNOD', 'SETUID', 'SETGID'],
    allowedCapabilities: ['NET_BIND_SERVICE'],
    volumes: ['configMap', 'downwardAPI', 'emptyDir', 'persistentVolumeClaim', 'projected', 'secret'],
    runAsUser: { type: 'MustRunAsRange' },
    seLinuxContext: { type: 'MustRunAs' },
    fsGroup: { type: 'MustRunAs' },
    supplementalGroups: { type: 'RunAsAny' },
    users: users,
    groups: groups,
  } + allow,
  // serviceAccountUser: a service account by its name as a user.
  serviceAccountUser(project, name):: 'system:serviceaccount:' + project + ':' + name,
  // netNamespace: change is 'global', 'join:PROJECT' or 'isolate', for the project of that name.
  netNamespace(name, change):: object('network.openshift.io/v1', 'NetNamespace', name) + {
    metadata+: { annotations: { 'pod.network.openshift.io/multitenant.change-network': change } },
  },

  // The edge.

  // service: ports are numbers, or service ports; they select the pods of the workload of the same name.
  service(name, ports, selector={ app: name }):: object('v1', 'Service', name) + {
    metadata+: { labels: { app: name } },
    spec: { selector: selector, ports: servicePorts(ports) },
  },
  headless:: { spec+: { clusterIP: 'None' } },
  // route: tls is 'edge', 'passthrough', 'reencrypt', or an object as in a Route.
  route(name, host='', service=name, port=null, path='', tls=null):: object('route.openshift.io/v1', 'Route', name) + {
    metadata+: { labels: { app: name } },
    spec: some({ host: host, path: path }) + { to: { kind: 'Service', name: service, weight: 100 } }
          + (if port == null then {} else { port: { targetPort: port } })
          + (if tls == null then {} else { tls: if std.isString(tls) then { termination: tls } else tls }),
  },

  // Slipway's own kinds.

  // nodeConfig: of the node of that name.
  nodeConfig(name, labels={}, taints=[], unschedulable=false, drain=false):: object('slipway.dev/v1alpha1', 'NodeConfig', name) + {
    spec: some({ labels: labels, taints: taints }) + (if unschedulable then { unschedulable: true } else {}) + (if drain then { drain: true } else {}),
  },
  gitRepository(name, url, branch='main', interval=null, secret=null):: object('slipway.dev/v1alpha1', 'GitRepository', name) + {
    spec: { url: url, ref: { branch: branch } } + some({ interval: interval }) + (if secret == null then {} else { secretRef: { name: secret } }),
  },
  application(name, path, project='', parameters={}, source=null, dependsOn=[]):: object('slipway.dev/v1alpha1', 'Application', name) + {
    spec: { path: path } + some({ project: project, parameters: parameters, dependsOn: [{ name: d } for d in dependsOn] })
          + (if source == null then {} else { sourceRef: { name: source } }),
  },
  // promotion: the streams of project `from` go to this project's tag when repository `on` gets a git tag in the range.
  promotion(name, from, on, write, streams=[], tag='live', semver=null):: object('slipway.dev/v1alpha1', 'Promotion', name) + {
    spec: { from: from, tag: tag, on: { sourceRef: { name: on } } + some({ semver: semver }), write: { sourceRef: { name: write } } }
          + some({ streams: streams }),
  },
}
