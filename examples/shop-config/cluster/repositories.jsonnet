// The repositories that Slipway follows besides this one.
function(git='http://127.0.0.1:7080/git') [
  {
    apiVersion: 'slipway.dev/v1alpha1',
    kind: 'GitRepository',
    metadata: { name: 'shop-app', namespace: 'slipway' },
    spec: { url: git + '/shop-app.git', ref: { branch: 'main' }, secretRef: { name: 'hooks' } },
  },
]
