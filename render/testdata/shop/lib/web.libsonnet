local labels = import 'acme/labels.libsonnet';
local s = import 'slipway.libsonnet';
{
  app(name, replicas): {
    stream: s.imageStream(name),
    deployment: s.deploymentConfig(name, image=name + ':live', replicas=replicas, ports=[8080]) + s.labels(labels),
    service: s.service(name, 8080),
  },
}
