package main

import (
	"context"
	"fmt"
	"maps"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/bench/workload"
)

// fluxPublished is what Flux 2.9 publishes for 1,000 applications, on 16 cores.
const fluxPublished = 253

// applicationsReady measures from the push of everything to the last application ready.
func applicationsReady(ctx context.Context, e *Env) error {
	n := e.size(1000, 10)
	var times []float64
	for range e.runs(1) {
		took, err := e.fromNothing(ctx, n)
		if err != nil {
			return err
		}
		times = append(times, took)
	}
	l := Line{What: fmt.Sprintf("%s applications of 4 objects, commit to ready", thousands(n)), Ours: secs(median(times)),
		Same: "every application is ready at the commit",
		Note: "One push declares the applications and what they hold; Flux's figure is the one that it publishes for 16 processors."}
	if !e.Short {
		l.AtMost, l.PeerName, l.Peer, l.Stated = secs(10), "Flux 2.9", secs(fluxPublished), true
	}
	e.add(l)
	return nil
}

func (e *Env) fromNothing(ctx context.Context, n int) (float64, error) {
	dir, err := e.folder("applications")
	if err != nil {
		return 0, err
	}
	s, err := openSystem(ctx, dir, map[string]string{"cluster/README.md": "Nothing yet.\n"}, workloads)
	if err != nil {
		return 0, err
	}
	defer s.close()
	root := &v1alpha1.Application{
		ObjectMeta: metav1.ObjectMeta{Namespace: home, Name: "root"},
		Spec:       v1alpha1.ApplicationSpec{SourceRef: v1alpha1.SourceReference{Name: repository.Name}, Interval: &metav1.Duration{Duration: time.Hour}},
	}
	if err := s.client.Create(ctx, root); err != nil {
		return 0, err
	}
	files := maps.Clone(workload.Jsonnet(n))
	files["cluster/applications.jsonnet"] = fmt.Sprintf(`[{
  apiVersion: 'slipway.dev/v1alpha1',
  kind: 'Application',
  metadata: { name: 'app-%%05d' %% i, namespace: '%s' },
  spec: { path: 'apps/' + self.name, project: '%s', interval: '1h', name:: 'app-%%05d' %% i },
} for i in std.range(0, %d)]
`, home, workload.Namespace, n-1)
	if err := s.git.push("everything", files); err != nil {
		return 0, err
	}
	began := time.Now()
	s.sources.Refresh(repository)
	if err := s.ready(ctx, s.git.head, n+1); err != nil {
		return 0, err
	}
	return time.Since(began).Seconds(), nil
}
