package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/types"
)

// shortest is how far apart two readings of a counter are at least: a rate over less
// says more about the scheduler than about the process.
const shortest = time.Second

// ContainerMetrics is what a container used lately.
type ContainerMetrics struct {
	// Name is the container's name in its pod.
	Name string
	// CPU is in nanocores: a billion is one core.
	CPU int64
	// Memory is the working set in bytes: what is used without the file cache that the
	// kernel could give up at once.
	Memory int64
}

// usage is one reading of a container's or the machine's counters.
type usage struct {
	at  time.Time
	cpu uint64 // nanoseconds since it began
	// rate is in nanocores, since the reading before.
	rate   int64
	memory int64
}

// meter keeps the last reading of every container, by id, and of the machine ("").
type meter struct {
	mu   sync.Mutex
	last map[string]usage // guarded by mu
}

// PodMetrics is what the containers of the node's pods use, by pod. Where it was asked
// within the last minute, the rates are since then; a container that nobody asked for
// before is looked at for a second. Pods of which nothing runs are not among it.
func (a *Agent) PodMetrics(ctx context.Context) (map[types.NamespacedName][]ContainerMetrics, error) {
	list, err := a.Docker.ContainerList(ctx, container.ListOptions{Filters: filters.NewArgs(filters.Arg("label", LabelInstance+"="+a.Instance))})
	if err != nil {
		return nil, fmt.Errorf("metrics of the pods on node %s: %w", a.Node, err)
	}
	var ids []string
	for _, c := range list {
		if k := Kind(c.Labels[LabelKind]); k == Init || k == App {
			ids = append(ids, c.ID)
		}
	}
	found, err := a.meter.measure(ctx, ids, a.usage)
	if err != nil {
		return nil, fmt.Errorf("metrics of the pods on node %s: %w", a.Node, err)
	}
	all := map[types.NamespacedName][]ContainerMetrics{}
	for _, c := range list {
		if u, ok := found[c.ID]; ok {
			key := keyOf(c.Labels)
			all[key] = append(all[key], ContainerMetrics{Name: c.Labels[LabelContainer], CPU: u.rate, Memory: u.memory})
		}
	}
	return all, nil
}

// measure reads counters and turns them into rates. One that has never been read, or
// not within a minute, is read twice. One that is no more is left out.
func (m *meter) measure(ctx context.Context, ids []string, read func(context.Context, string) (usage, error)) (map[string]usage, error) {
	now, err := readAll(ctx, ids, read)
	if err != nil {
		return nil, err
	}
	var again []string
	m.mu.Lock()
	before := maps.Clone(m.last)
	m.mu.Unlock()
	for id, u := range now {
		old, known := before[id]
		switch since := u.at.Sub(old.at); {
		case known && since < shortest:
			u.at, u.cpu, u.rate = old.at, old.cpu, old.rate
		case known && since < time.Minute && u.cpu >= old.cpu:
			u.rate = rate(old, u)
		default:
			again = append(again, id)
		}
		now[id] = u
	}
	if len(again) > 0 {
		if err := m.secondLook(ctx, again, now, read); err != nil {
			return nil, err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.last == nil {
		m.last = map[string]usage{}
	}
	maps.Copy(m.last, now)
	for id, u := range m.last {
		if time.Since(u.at) > time.Hour {
			delete(m.last, id)
		}
	}
	return now, nil
}

func (m *meter) secondLook(ctx context.Context, ids []string, first map[string]usage, read func(context.Context, string) (usage, error)) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(shortest):
	}
	second, err := readAll(ctx, ids, read)
	if err != nil {
		return err
	}
	for _, id := range ids {
		u, there := second[id]
		if !there {
			delete(first, id)
			continue
		}
		u.rate = rate(first[id], u)
		first[id] = u
	}
	return nil
}

func rate(from, to usage) int64 {
	if elapsed := to.at.Sub(from.at).Seconds(); elapsed > 0 && to.cpu > from.cpu {
		return int64(float64(to.cpu-from.cpu) / elapsed)
	}
	return 0
}

var errGone = errors.New("it is no more")

func readAll(ctx context.Context, ids []string, read func(context.Context, string) (usage, error)) (map[string]usage, error) {
	found := make([]*usage, len(ids))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for i, id := range ids {
		g.Go(func() error {
			u, err := read(ctx, id)
			if errors.Is(err, errGone) {
				return nil
			}
			found[i] = &u
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	all := map[string]usage{}
	for i, u := range found {
		if u != nil {
			all[ids[i]] = *u
		}
	}
	return all, nil
}

// usage reads the counters of a container.
func (a *Agent) usage(ctx context.Context, id string) (usage, error) {
	r, err := a.Docker.ContainerStatsOneShot(ctx, id)
	if errdefs.IsNotFound(err) || errdefs.IsConflict(err) {
		return usage{}, errGone
	}
	if err != nil {
		return usage{}, err
	}
	defer r.Body.Close()
	var s container.StatsResponse
	if err := json.NewDecoder(r.Body).Decode(&s); err != nil {
		return usage{}, fmt.Errorf("container %.12s: %w", id, err)
	}
	if s.Read.Year() <= 1 { // Docker's answer for a container that has just ended.
		return usage{}, errGone
	}
	return usage{at: s.Read, cpu: s.CPUStats.CPUUsage.TotalUsage, memory: workingSet(s.MemoryStats)}, nil
}

// workingSet is what cAdvisor, and so the kubelet, takes for it. The name of the
// counter is cgroup v1's or v2's.
func workingSet(m container.MemoryStats) int64 {
	cache, v1 := m.Stats["total_inactive_file"]
	if !v1 {
		cache = m.Stats["inactive_file"]
	}
	if cache > m.Usage {
		return 0
	}
	return int64(m.Usage - cache)
}
