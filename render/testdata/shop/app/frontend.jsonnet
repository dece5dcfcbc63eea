local web = import 'web.libsonnet';
local s = import 'slipway.libsonnet';

function(replicas, host='localhost') {
  frontend: web.app('frontend', std.parseInt(replicas)),
  edge: [s.route('frontend', host=host)],
}
