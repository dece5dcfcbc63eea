function(replicas, color)
  { kind: 'Service' }
