local s = import 'slipway.libsonnet';
{
  policy: [
    s.project('shop', displayName='The shop'),
    s.serviceAccount('robot'),
    s.resourceQuota('quota', { pods: '10' }),
    s.limitRange('limits', [{ type: 'Container', default: { memory: '64Mi' } }]),
    s.role('reader', [s.rule(['pods'], ['get', 'list'])]),
    s.roleBinding('readers', 'reader', [s.user('ann'), s.group('devs'), s.serviceAccountSubject('robot')]),
    s.clusterRole('auditor', [s.rule(['*'], ['get'], ['*'])]),
    s.clusterRoleBinding('auditors', 'auditor', [s.serviceAccountSubject('robot', 'shop')]),
  ],
  config: {
    map: s.configMap('settings', { a: 'b' }) + s.labels({ tier: 'web' }),
    secret: s.secret('hook', { WebHookSecretKey: 'abc' }),
    volume: s.persistentVolume('disk', '1Gi', { hostPath: { path: '/srv' } }),
    claim: s.persistentVolumeClaim('data', '1Gi'),
    template: s.templateObject('backend', [s.service('${NAME}', 80)], [s.parameter('NAME', 'backend'), s.parameter('PASSWORD', from='[a-z]{8}')]),
    instance: s.templateInstance('backend', 'backend', secret='hook'),
  },
  images: [
    s.imageStream('frontend', { base: 'shared/node:20', ext: 'registry.example.com/a/b:1' }),
    s.buildConfig('frontend', 'http://git.example.com/shop.git', s.sourceStrategy('shared/node:20', { A: 'b' }), contextDir='frontend', webhook='x'),
    s.buildConfig('backend', 'http://git.example.com/shop.git', s.dockerStrategy(), ref='main', webhook={ secretReference: { name: 'hook' } }),
  ],
  workloads: [
    s.deploymentConfig('frontend', image='frontend:latest', replicas=2, ports=[8080], env={ A: 'b', N: 3 })
    + s.env({ SECRET: { secretKeyRef: { name: 'hook', key: 'WebHookSecretKey' } } }) + s.readiness('/healthz', 8080) + s.liveness('/', 8080)
    + s.resources({ cpu: '100m' }, { memory: '64Mi' }) + s.mount('settings', '/etc/settings', { configMap: { name: 'settings' } }, readOnly=true)
    + s.serviceAccountName('robot'),
    s.deploymentConfig('external', image='registry.example.com/team/app:1') + s.recreate,
    s.replicationController('old', 'registry.example.com/team/app:1', ports=[80]),
    s.pod('one', 'registry.example.com/team/app:1', command=['sh']),
    s.deployment('api', 'registry.example.com/team/api:1', replicas=2, ports=[8080]) + s.readiness('/', 8080),
    s.replicaSet('few', 'registry.example.com/team/app:1'),
    s.statefulSet('database', 'registry.example.com/team/db:1', ports=[5432], claims={ data: '1Gi' }),
    s.daemonSet('agent', 'registry.example.com/team/agent:1'),
    s.horizontalPodAutoscaler('api', s.deployment('api', ''), 5, min=2),
    s.podDisruptionBudget('api', minAvailable=1),
    s.priorityClass('urgent', 1000),
    s.job('migrate', 'registry.example.com/team/app:1', args=['migrate']),
    s.cronJob('nightly', '0 3 * * *', 'registry.example.com/team/app:1'),
  ],
  network: [
    s.networkPolicy('only-frontend', { app: 'backend' }, ingress=[{ from: [{ podSelector: { matchLabels: { app: 'frontend' } } }] }]),
    s.egressNetworkPolicy('outside', [['allow', 'git.example.com'], ['deny', '0.0.0.0/0']]),
    s.netNamespace('shop', 'join:bank'),
    s.securityContextConstraints('agents', { allowHostPorts: true }, [s.serviceAccountUser('shop', 'agent')]),
  ],
  edge: [
    s.service('frontend', 8080),
    s.service('peers', [{ name: 'gossip', port: 7000 }]) + s.headless,
    s.route('frontend', host='shop.example.com', tls='edge'),
  ],
  own: [
    s.nodeConfig('node-1', labels={ disk: 'fast' }, drain=true),
    s.gitRepository('config', 'http://git.example.com/config.git', interval='30s', secret='git'),
    s.application('shop', 'projects/shop', project='shop', parameters={ replicas: '2' }, source='config', dependsOn=['base']),
    s.promotion('live', from='shop-dev', on='app', write='config', semver='>=1.0.0'),
  ],
}
