// What the shop's projects have in common. Everything here is plain OpenShift.
{
  // A web component: deployment, service, and an image trigger on `stream:tag`.
  component(name, tag, replicas=1, env=[]):: [
    {
      apiVersion: 'image.openshift.io/v1',
      kind: 'ImageStream',
      metadata: { name: name },
    },
    {
      apiVersion: 'apps.openshift.io/v1',
      kind: 'DeploymentConfig',
      metadata: { name: name, labels: { app: 'shop', component: name } },
      spec: {
        replicas: replicas,
        selector: { component: name },
        strategy: {
          type: 'Rolling',
          rollingParams: { maxSurge: 1, maxUnavailable: 0, updatePeriodSeconds: 1, intervalSeconds: 1, timeoutSeconds: 120 },
        },
        triggers: [
          { type: 'ConfigChange' },
          {
            type: 'ImageChange',
            imageChangeParams: {
              automatic: true,
              containerNames: ['web'],
              from: { kind: 'ImageStreamTag', name: name + ':' + tag },
            },
          },
        ],
        template: {
          metadata: { labels: { app: 'shop', component: name } },
          spec: {
            // busybox's web server does not end by itself when it is asked to.
            terminationGracePeriodSeconds: 2,
            containers: [{
              name: 'web',
              image: ' ',
              ports: [{ name: 'http', containerPort: 8080 }],
              env: env,
              readinessProbe: { httpGet: { path: '/healthz', port: 8080 }, periodSeconds: 1, failureThreshold: 2 },
              resources: { limits: { memory: '64Mi' } },
            }],
          },
        },
      },
    },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: name, labels: { app: 'shop', component: name } },
      spec: { selector: { component: name }, ports: [{ name: 'http', port: 8080, targetPort: 'http' }] },
    },
  ],

  // The token that the frontend shows to the backend; its value is generated.
  token:: [{ name: 'STOCK_TOKEN', valueFrom: { secretKeyRef: { name: 'stock', key: 'token' } } }],

  route(name, host):: {
    apiVersion: 'route.openshift.io/v1',
    kind: 'Route',
    metadata: { name: name },
    spec: { host: host, to: { kind: 'Service', name: name }, port: { targetPort: 'http' } },
  },

  build(name, git, strategy):: {
    apiVersion: 'build.openshift.io/v1',
    kind: 'BuildConfig',
    metadata: { name: name, labels: { app: 'shop' } },
    spec: {
      source: { git: { uri: git + '/shop-app.git', ref: 'main' }, contextDir: name },
      strategy: strategy,
      output: { to: { kind: 'ImageStreamTag', name: name + ':latest' } },
      triggers: [{ type: 'GitHub', github: { secretReference: { name: 'build-hooks' } } }],
    },
  },
}
