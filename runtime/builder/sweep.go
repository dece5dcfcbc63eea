package builder

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	buildv1 "github.com/openshift/api/build/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"slipway.dev/slipway/state/loop"
)

// Below Dir are logs/<project>/<build>.log, and running/<uid> for each build that has,
// or may have, containers.

func (b *Builder) runningDir() string { return filepath.Join(b.Dir, "running") }

// claim notes that the build may have containers from now on, removes those of an
// earlier run, and keeps others from tidying up what this run makes.
func (j *job) claim(ctx context.Context) error {
	uid := string(j.build.UID)
	if err := os.MkdirAll(j.runningDir(), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(j.runningDir(), uid), nil, 0o600); err != nil {
		return err
	}
	if err := j.removeContainers(ctx, uid); err != nil {
		return err
	}
	j.caches.of(j.config()).RLock()
	return nil
}

// release undoes claim. The mark stays if the containers cannot be looked for: the next
// process will.
func (j *job) release() {
	j.caches.of(j.config()).RUnlock()
	j.tidy()
	ctx, cancel := context.WithTimeout(context.Background(), cleanupTime)
	defer cancel()
	if err := j.removeContainers(ctx, string(j.build.UID)); err != nil {
		j.Log.Warn("a build's containers could not be looked for", "build", j.build.Name, "error", err)
		return
	}
	if err := os.Remove(filepath.Join(j.runningDir(), string(j.build.UID))); err != nil {
		j.Log.Warn("a build's mark could not be removed", "error", err)
	}
}

// sweepUp removes what an earlier process left: the containers of builds that do not
// run now, and the logs of builds that are gone.
func (b *Builder) sweepUp(ctx context.Context, _ loop.Key) (loop.Result, error) {
	marks, err := os.ReadDir(b.runningDir())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return loop.Result{}, err
	}
	for _, m := range marks {
		if b.runs(types.UID(m.Name())) {
			continue
		}
		if err := b.removeContainers(ctx, m.Name()); err != nil {
			return loop.Result{}, err
		}
		if err := os.Remove(filepath.Join(b.runningDir(), m.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return loop.Result{}, err
		}
	}
	logs, err := filepath.Glob(filepath.Join(b.Dir, "logs", "*", "*.log"))
	if err != nil {
		return loop.Result{}, err
	}
	for _, p := range logs {
		key := types.NamespacedName{Namespace: filepath.Base(filepath.Dir(p)), Name: strings.TrimSuffix(filepath.Base(p), ".log")}
		err := b.Client.Get(ctx, key, &buildv1.Build{})
		switch {
		case apierrors.IsNotFound(err):
			if err := b.forget(ctx, key); err != nil {
				return loop.Result{}, err
			}
		case err != nil:
			return loop.Result{}, err
		}
	}
	return loop.Result{}, nil
}

func (b *Builder) runs(uid types.UID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.running {
		if r.uid == uid {
			return true
		}
	}
	return false
}

// forget removes what is kept of a build that is gone: its log, and with its
// configuration gone too, the images that were kept for the next one.
func (b *Builder) forget(ctx context.Context, key types.NamespacedName) error {
	if err := os.Remove(b.logPath(key.Namespace, key.Name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	config := configOf(key.Name)
	err := b.Client.Get(ctx, types.NamespacedName{Namespace: key.Namespace, Name: config}, &buildv1.BuildConfig{})
	if apierrors.IsNotFound(err) {
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		b.prune(ctx, key.Namespace+"/"+config, func(string) bool { return false })
		return nil
	}
	if err != nil {
		return fmt.Errorf("build config %s/%s: %w", key.Namespace, config, err)
	}
	return nil
}
