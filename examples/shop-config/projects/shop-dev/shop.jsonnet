local shop = import 'shop.libsonnet';

function(git='http://127.0.0.1:7080/git', domain='localhost') {
  frontend: shop.component('frontend', 'latest', replicas=2, env=shop.token),
  backend: shop.component('backend', 'latest', env=shop.token),

  builds: [
    shop.build('frontend', git, {
      type: 'Source',
      sourceStrategy: { from: { kind: 'ImageStreamTag', namespace: 'images', name: 'shell-web:latest' } },
    }),
    shop.build('backend', git, {
      type: 'Docker',
      dockerStrategy: { from: { kind: 'ImageStreamTag', namespace: 'images', name: 'busybox:latest' } },
    }),
  ],
}
