package runtime

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
)

const (
	// poolCalm is how long nothing may have been started before the pool is filled up.
	poolCalm = 300 * time.Millisecond
	// poolEvery is how often the pool is compared with what there is.
	poolEvery = time.Minute
	// poolRetry is how long it waits after a failure.
	poolRetry = 10 * time.Second
)

// runsNothing says that no program below a directory can be run, as a gate is.
func runsNothing(dir string) bool {
	var s unix.Statfs_t
	return unix.Statfs(dir, &s) == nil && s.Flags&unix.ST_NOEXEC != 0
}

// pooledSpec is a sandbox that is nobody's yet.
func pooledSpec(instance, image string) made {
	m := sandboxSpec(instance, image, &corev1.Pod{}, 0)
	m.Config.Hostname = "pod"
	m.Config.Labels = map[string]string{LabelInstance: instance, LabelKind: string(Pooled)}
	b, _ := json.Marshal([]any{m.Config, m.Host})
	m.Config.Labels[LabelHash] = fmt.Sprintf("%.8x", sha256.Sum256(b))
	return m
}

// keepPool keeps the pool as full as it may be.
func (a *Agent) keepPool() {
	a.work.Go(func() {
		for {
			next := poolEvery
			if err := a.settlePool(a.ctx); err != nil && a.ctx.Err() == nil {
				a.Log.Warn("pool of sandboxes", "error", err)
				next = poolRetry
			}
			select {
			case <-a.ctx.Done():
				return
			case <-a.pool.wake:
			case <-time.After(next):
			}
		}
	})
}

// settlePool removes what is nobody's and of no use, adopts what an earlier agent left ready, and
// makes what is missing while nothing else is being started.
func (a *Agent) settlePool(ctx context.Context) error {
	if err := a.sortPool(ctx); err != nil {
		return err
	}
	for a.pool.size() < a.Sandboxes {
		if err := a.calm(ctx); err != nil {
			return err
		}
		if err := a.fillPool(ctx); err != nil {
			return err
		}
	}
	return a.nameSandboxes(ctx)
}

// sortPool looks through the sandboxes that were made for the pool.
func (a *Agent) sortPool(ctx context.Context) error {
	list, err := a.Docker.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(
		filters.Arg("label", LabelInstance+"="+a.Instance), filters.Arg("label", LabelKind+"="+string(Pooled)),
	)})
	if err != nil {
		return err
	}
	// Read after the list: what is in it and was taken meanwhile is known to be.
	claims, err := a.files.claims()
	if err != nil {
		return err
	}
	var errs []error
	for _, c := range list {
		waits, owned := a.pool.has(c.ID)
		if o, claimed := claims[c.ID]; claimed && !owned {
			a.pool.own(c.ID, o)
			owned = true
		}
		if owned || waits && c.State == container.StateRunning {
			continue
		}
		a.pool.drop(c.ID)
		if adopted, err := a.adopt(ctx, c); err != nil {
			errs = append(errs, err)
		} else if !adopted {
			if err := a.removeContainer(ctx, c.ID); !errdefs.IsConflict(err) { // It is being removed.
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// adopt takes a sandbox into the pool that an earlier agent made and gave to nobody: one
// that runs, is as it would be made today, is connected to nothing and that nothing joined.
func (a *Agent) adopt(ctx context.Context, c container.Summary) (bool, error) {
	image, err := a.pauseImage(ctx)
	if err != nil {
		return false, err
	}
	if c.State != container.StateRunning || c.Labels[LabelHash] != pooledSpec(a.Instance, image).Config.Labels[LabelHash] {
		return false, nil
	}
	joined, err := a.Docker.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", LabelSandbox+"="+c.ID))})
	if err != nil || len(joined) > 0 {
		return false, err
	}
	s, err := a.inspectIdle(ctx, c.ID)
	if errdefs.IsNotFound(err) || errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	links, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/dev", s.pid))
	if err != nil || strings.Contains(string(links), "eth0:") {
		return false, nil // It ends, or it is connected.
	}
	return a.pool.add(s, a.Sandboxes), nil
}

func (a *Agent) inspectIdle(ctx context.Context, id string) (idle, error) {
	c, err := a.Docker.ContainerInspect(ctx, id)
	if err != nil {
		return idle{}, err
	}
	namespace, err := netNamespace(c.State.Pid)
	return idle{id, c.State.Pid, namespace}, err
}

// calm waits until nothing has been started for a while: the pool is filled when pods need
// the machine least.
func (a *Agent) calm(ctx context.Context) error {
	for {
		rest := a.busy.rest()
		if rest <= 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(rest):
		}
	}
}

// fillPool makes one sandbox.
func (a *Agent) fillPool(ctx context.Context) error {
	if err := a.starting.Acquire(ctx, 1); err != nil {
		return err
	}
	defer a.starting.Release(1)
	image, err := a.pauseImage(ctx)
	if err != nil {
		return err
	}
	spec := pooledSpec(a.Instance, image)
	c, err := a.Docker.ContainerCreate(ctx, spec.Config, spec.Host, nil, nil, strings.Join([]string{"slipway", a.Instance, "ready", rand.Text()[:10]}, "_"))
	if err != nil {
		return a.withoutImage(err)
	}
	if err := a.Docker.ContainerStart(ctx, c.ID, container.StartOptions{}); err != nil {
		return errors.Join(err, a.removeContainer(ctx, c.ID))
	}
	s, err := a.inspectIdle(ctx, c.ID)
	if err != nil {
		return err
	}
	if !a.pool.add(s, a.Sandboxes) {
		return a.removeContainer(ctx, c.ID)
	}
	return nil
}

// nameSandboxes calls the sandboxes that were given to pods by their pods' names, as
// those that were made for them are called. Only people look at it.
func (a *Agent) nameSandboxes(ctx context.Context) error {
	a.pool.mu.Lock()
	names := a.pool.names
	a.pool.names = map[string]string{}
	a.pool.mu.Unlock()
	for id, name := range names {
		if err := a.Docker.ContainerRename(ctx, id, name); err != nil && !errdefs.IsNotFound(err) && !errdefs.IsConflict(err) {
			return fmt.Errorf("rename container %.12s: %w", id, err)
		}
	}
	return nil
}

// busy knows when something was being started last.
type busy struct {
	mu   sync.Mutex
	now  int       // guarded by mu
	last time.Time // guarded by mu
}

// begin notes that something is being started; the function that it returns, that it was.
func (b *busy) begin() func() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now++
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.now--
		b.last = time.Now()
	}
}

// rest is how long it is at least until nothing has been started for poolCalm.
func (b *busy) rest() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.now > 0 {
		return poolCalm
	}
	return poolCalm - time.Since(b.last)
}
