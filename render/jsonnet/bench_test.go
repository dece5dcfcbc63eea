package jsonnet

import "testing"

// BenchmarkService evaluates an ordinary application again and again.
func BenchmarkService(b *testing.B) {
	tree := files{
		"lib/names.libsonnet": `{ labels(name, team):: { 'app.kubernetes.io/name': name, team: team },
			upper(map):: { [std.asciiUpper(k)]: map[k] for k in std.objectFields(map) } }`,
		"lib/service.libsonnet": `local names = import 'names.libsonnet';
			local defaults = { replicas: 0, port: 8080, memory: 128, settings: { log_level: 'info', listen: '0.0.0.0', workers: '4', timeout: '30s' } };
			{ new(name, options):: {
				local c = defaults + options,
				local meta = { name: name, namespace: 'shop', labels: names.labels(name, c.settings.TEAM) },
				config: { apiVersion: 'v1', kind: 'ConfigMap', metadata: meta, data: names.upper(c.settings) + {
					'application.properties': std.join('\n', ['%s=%s' % [std.asciiLower(k), c.settings[k]] for k in std.objectFields(c.settings)]) + '\n',
					'feature-flags': std.manifestJsonEx({ ['flag-%02d' % i]: i % 3 == 0 for i in std.range(1, 12) }, '  ') } },
				service: { apiVersion: 'v1', kind: 'Service', metadata: meta, spec: { type: 'ClusterIP', selector: { 'app.kubernetes.io/name': name },
					ports: [{ name: 'http', port: 80, protocol: 'TCP', targetPort: c.port }] } },
				workload: { apiVersion: 'v1', kind: 'ReplicationController', metadata: meta, spec: { replicas: c.replicas, template: { spec: { containers: [{
					name: 'main', image: c.image, env: [{ name: k, value: c.settings[k] } for k in std.objectFields(c.settings)],
					resources: { requests: { cpu: '50m', memory: '%dMi' % c.memory }, limits: { memory: '%dMi' % (c.memory * 2) } } }] } } } },
			} }`,
	}
	text := []byte(`local service = import 'service.libsonnet';
		service.new('app', { image: 'registry.example.com/app:1', port: 8081, memory: 64, settings+: { EDITION: '1', TEAM: 'team-1' } })`)
	v := New(tree, nil)
	for b.Loop() {
		v.Next(nil)
		if docs, problems := v.EvaluateText("apps/app/main.jsonnet", text); len(problems) > 0 || len(docs) != 3 {
			b.Fatal(problems)
		}
		v.Reads()
		v.Forget("apps/app")
	}
}
