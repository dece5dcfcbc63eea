package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/bench/workload"
	"slipway.dev/slipway/state"
)

// watchFanOut measures how long a change takes to each of many watchers.
func watchFanOut(ctx context.Context, e *Env) error {
	watchers, rate, changes := e.size(1000, 20), 500, e.size(5000, 100)
	dir, err := e.folder("watch")
	if err != nil {
		return err
	}
	store, err := state.Open(ctx, state.Options{
		DataDir: filepath.Join(dir, "state"), Log: quiet(),
		Default: api.Default, Validate: api.Validate, ValidateUpdate: api.ValidateUpdate,
	})
	if err != nil {
		return err
	}
	defer store.Close()
	f := fan{client: store.Client(), began: make([]atomic.Int64, changes+1)}
	p99, late, err := f.run(ctx, watchers, rate, changes)
	if err != nil {
		return err
	}
	l := Line{What: fmt.Sprintf("%s watchers, %d changes a second, p99", thousands(watchers), rate), Ours: secs(p99),
		Same: fmt.Sprintf("every watcher saw all %s changes in order, none twice", thousands(changes)),
		Note: fmt.Sprintf("From a write's begin to each watcher. The writer kept its rate to within %.0f %%.", late*100)}
	if !e.Short {
		l.AtMost = secs(0.250)
	}
	e.add(l)
	return nil
}

type fan struct {
	client *state.Client
	// began holds when each change began, in nanoseconds.
	began []atomic.Int64
}

func (f *fan) run(ctx context.Context, watchers, rate, changes int) (p99, late float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	cm := &corev1.ConfigMap{Data: map[string]string{"n": "0", "text": fmt.Sprintf("%0800d", 1)}}
	cm.Namespace, cm.Name = workload.Namespace, "changing"
	if err := f.client.Create(ctx, cm); err != nil {
		return 0, 0, err
	}
	took, errs := make([][]float64, watchers), make([]error, watchers)
	var wg, started sync.WaitGroup
	started.Add(watchers)
	for w := range watchers {
		wg.Go(func() { took[w], errs[w] = f.follow(ctx, changes, started.Done) })
	}
	started.Wait()
	begin := time.Now()
	for n := 1; n <= changes; n++ {
		if wait := time.Until(begin.Add(time.Duration(n) * time.Second / time.Duration(rate))); wait > 0 {
			time.Sleep(wait)
		}
		cm.Data["n"] = strconv.Itoa(n)
		f.began[n].Store(time.Now().UnixNano())
		if err := f.client.Update(ctx, cm); err != nil {
			return 0, 0, err
		}
	}
	planned := float64(changes) / float64(rate)
	late = (time.Since(begin).Seconds() - planned) / planned
	wg.Wait()
	var all []float64
	for _, t := range took {
		all = append(all, t...)
	}
	return percentile(all, 0.99), max(late, 0), errors.Join(errs...)
}

func (f *fan) follow(ctx context.Context, changes int, started func()) ([]float64, error) {
	// A watcher has started when it was told what there is, which is after Watch returns.
	begin := sync.OnceFunc(started)
	defer begin()
	events, err := f.client.Watch(ctx, &corev1.ConfigMapList{}, client.InNamespace(workload.Namespace))
	if err != nil {
		return nil, err
	}
	defer events.Stop()
	took := make([]float64, 0, changes)
	for last := 0; last < changes; {
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("a watcher saw %d of %d changes: %w", last, changes, ctx.Err())
		case ev, ok := <-events.ResultChan():
			if !ok || ev.Type == apiwatch.Error {
				return nil, fmt.Errorf("a watch ended after %d changes", last)
			}
			o, isObject := ev.Object.(*corev1.ConfigMap)
			if ev.Type == apiwatch.Added {
				begin()
			}
			if !isObject || ev.Type != apiwatch.Modified {
				continue
			}
			now := time.Now().UnixNano()
			n, err := strconv.Atoi(o.Data["n"])
			if err != nil || n != last+1 {
				return nil, fmt.Errorf("a watcher saw change %s after %d", o.Data["n"], last)
			}
			last = n
			took = append(took, float64(now-f.began[n].Load())/1e9)
		}
	}
	return took, nil
}
