local shop = import 'shop.libsonnet';

function(domain='localhost') {
  frontend: shop.component('frontend', 'live', replicas=2, env=shop.token),
  backend: shop.component('backend', 'live', env=shop.token),
  route: shop.route('frontend', 'shop.' + domain),
}
