package demo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	appsv1 "github.com/openshift/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	node "slipway.dev/slipway/runtime"
	"slipway.dev/slipway/state"
)

const lockFile = "projects/shop-prod/images.lock.json"

// promote tags the shop; Slipway commits the promotion, and production serves it.
func (s *story) promote(ctx context.Context) (string, error) {
	before, err := s.deployment(ctx, "shop-dev", "frontend")
	if err != nil {
		return "", err
	}
	if _, err := s.app.git(ctx, "tag", "v1.0", s.second); err != nil {
		return "", err
	}
	if err := s.app.push(ctx, "v1.0"); err != nil {
		return "", err
	}
	if _, err := s.shows(ctx, s.prodHost, s.second); err != nil {
		return "", err
	}
	if err := s.config.pull(ctx); err != nil {
		return "", err
	}
	log, err := s.config.git(ctx, "log", "-1", "--name-only", "--format=%h %an: %s%n%b")
	if err != nil {
		return "", err
	}
	if files, err := s.config.git(ctx, "show", "--name-only", "--format=", "HEAD"); err != nil || files != lockFile {
		return "", fmt.Errorf("the promotion's commit changes %q, not only %s: %w", files, lockFile, err)
	}
	after, err := s.deployment(ctx, "shop-dev", "frontend")
	if err != nil {
		return "", err
	}
	if before.Status.LatestVersion != after.Status.LatestVersion {
		return "", fmt.Errorf("shop-dev moved from version %d to %d", before.Status.LatestVersion, after.Status.LatestVersion)
	}
	return fmt.Sprintf("http://%s:%d/ serves %s; Slipway's commit to shop-config was\n%s", s.prodHost, s.server.ports.router, short(s.second), log), nil
}

// drift kills a container and changes an object by hand, and waits for both to be put right.
func (s *story) drift(ctx context.Context) (string, error) {
	killed, err := s.killOne(ctx)
	if err != nil {
		return "", err
	}
	altered, err := s.alterByHand(ctx)
	if err != nil {
		return "", err
	}
	return killed + "\n" + altered, nil
}

func (s *story) killOne(ctx context.Context) (string, error) {
	running, err := s.appContainers(ctx, "shop-dev")
	if err != nil {
		return "", err
	}
	if len(running) == 0 {
		return "", errors.New("no container of shop-dev runs")
	}
	victim := slices.Sorted(maps.Keys(running))[0]
	info, err := s.engine.ContainerInspect(ctx, victim)
	if err != nil {
		return "", err
	}
	pod := info.Config.Labels[node.LabelPod]
	began := time.Now()
	if err := s.engine.ContainerKill(ctx, victim, "KILL"); err != nil {
		return "", err
	}
	err = until(ctx, "the container is restarted", func() error {
		var p corev1.Pod
		if err := s.get(ctx, inProject("", "v1", "shop-dev", "pods", pod), &p); err != nil {
			return err
		}
		for _, c := range p.Status.ContainerStatuses {
			if c.RestartCount > 0 && c.Ready {
				return nil
			}
		}
		return fmt.Errorf("pod %s: %+v", pod, p.Status.ContainerStatuses)
	})
	if err != nil {
		return "", err
	}
	if err := until(ctx, "it is said", func() error { return s.eventSays(ctx, "shop-dev", "Drift", "from outside of Slipway") }); err != nil {
		return "", err
	}
	return fmt.Sprintf("a container of pod %s was killed, and serves again after %.1f s", pod, time.Since(began).Seconds()), nil
}

// alterByHand goes around git: it writes to etcd itself, as only the machine's
// administrator can.
func (s *story) alterByHand(ctx context.Context) (string, error) {
	store, err := state.Open(ctx, state.Options{
		Endpoints: []string{state.Socket(filepath.Join(s.dataDir(), "state"))},
		KeyFile:   filepath.Join(s.dataDir(), "state", "seal.key"),
		Log:       s.Log,
	})
	if err != nil {
		return "", err
	}
	defer store.Close()
	dc := &appsv1.DeploymentConfig{}
	if err := store.Client().Get(ctx, types.NamespacedName{Namespace: "shop-dev", Name: "frontend"}, dc); err != nil {
		return "", err
	}
	want := dc.Spec.Replicas
	patch := client.MergeFrom(dc.DeepCopy())
	dc.Spec.Replicas = want + 4
	began := time.Now()
	if err := store.Client().Patch(ctx, dc, patch, client.FieldOwner("by-hand")); err != nil {
		return "", err
	}
	altered := dc.Generation
	err = until(ctx, "the object is put right", func() error {
		now, err := s.deployment(ctx, "shop-dev", "frontend")
		if err == nil && (now.Spec.Replicas != want || now.Generation <= altered) {
			err = fmt.Errorf("it has %d replicas at generation %d", now.Spec.Replicas, now.Generation)
		}
		return err
	})
	took := time.Since(began)
	if err != nil {
		return "", err
	}
	if err := until(ctx, "it is said", func() error { return s.eventSays(ctx, "slipway", "DriftCorrected", "spec.replicas") }); err != nil {
		return "", err
	}
	if err := until(ctx, "the pods are as before", func() error { return s.rolledOut(ctx, "shop-dev", "frontend", want) }); err != nil {
		return "", err
	}
	return fmt.Sprintf("spec.replicas was set to %d in etcd, and was %d again after %.0f ms; see: slipway events -n slipway", want+4, want, float64(took.Milliseconds())), nil
}

// rollBack reverts the promotion's commit.
func (s *story) rollBack(ctx context.Context) (string, error) {
	if _, err := s.config.git(ctx, "revert", "--no-edit", "HEAD"); err != nil {
		return "", err
	}
	if err := s.config.push(ctx, "main"); err != nil {
		return "", err
	}
	if _, err := s.shows(ctx, s.prodHost, s.first); err != nil {
		return "", err
	}
	if _, err := s.shows(ctx, s.devHost, s.second); err != nil {
		return "", err
	}
	return fmt.Sprintf("the promotion is reverted in git: http://%s:%d/ serves %s again", s.prodHost, s.server.ports.router, short(s.first)), nil
}

// bad pushes a commit with three mistakes in two files, then its mend.
func (s *story) bad(ctx context.Context) (string, error) {
	before, err := s.application(ctx, "shop-dev")
	if err != nil {
		return "", err
	}
	// The newest commit that concerned it; what other projects got since is not its.
	good := before.Status.LastAppliedCommit
	err = errors.Join(
		s.config.edit(routeFile, "host: "+s.devHost, "host: No_Such!Host"),
		s.config.edit(routeFile, "    kind: Service", "    kind: Service\n    weight: 999"),
		s.config.edit("projects/shop-dev/settings.yaml", "stringData:", "stringDta:"),
	)
	if err != nil {
		return "", err
	}
	commit, err := s.config.commit(ctx, "Three mistakes")
	if err != nil {
		return "", err
	}
	if err := s.config.push(ctx, "main"); err != nil {
		return "", err
	}
	var said []string
	err = until(ctx, "the mistakes are reported", func() error {
		app, err := s.application(ctx, "shop-dev")
		if err != nil {
			return err
		}
		if app.Status.LastAttemptedCommit != commit || len(app.Status.Problems) != 3 {
			return fmt.Errorf("application shop-dev reports %d problems at %s: %v", len(app.Status.Problems), short(app.Status.LastAttemptedCommit), app.Status.Problems)
		}
		if app.Status.LastAppliedCommit != good {
			return fmt.Errorf("live state moved to %s", short(app.Status.LastAppliedCommit))
		}
		said = nil
		for _, p := range app.Status.Problems {
			if p.File == "" || p.Line == 0 {
				return fmt.Errorf("a problem without file or line: %+v", p)
			}
			said = append(said, fmt.Sprintf("%s:%d: %s %s", p.File, p.Line, p.Field, p.Message))
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	if _, err := s.shows(ctx, s.devHost, s.second); err != nil {
		return "", err
	}
	return s.mend(ctx, said)
}

func (s *story) mend(ctx context.Context, said []string) (string, error) {
	if _, err := s.config.git(ctx, "revert", "--no-edit", "HEAD"); err != nil {
		return "", err
	}
	host := "best-shop.localhost"
	if err := s.config.edit(routeFile, s.devHost, host); err != nil {
		return "", err
	}
	commit, err := s.config.commit(ctx, "Mend the route, and give it the best address")
	if err != nil {
		return "", err
	}
	if err := s.config.push(ctx, "main"); err != nil {
		return "", err
	}
	if _, err := s.shows(ctx, host, s.second); err != nil {
		return "", err
	}
	s.devHost = host
	return fmt.Sprintf("nothing changed, and all three were reported; the mend %s is live\n%s", short(commit), strings.Join(said, "\n")), nil
}

// restart stops the server's process and starts it again.
func (s *story) restart(ctx context.Context) (string, error) {
	if err := until(ctx, "everything is at rest", func() error { return s.atRest(ctx) }); err != nil {
		return "", err
	}
	before, err := s.snapshot(ctx)
	if err != nil {
		return "", err
	}
	if err := s.server.stop(); err != nil {
		return "", err
	}
	for _, project := range []string{"shop-dev", "shop-prod"} {
		now, err := s.appContainers(ctx, project)
		if err != nil {
			return "", err
		}
		if !maps.Equal(now, before.containers[project]) {
			return "", fmt.Errorf("containers of %s changed when the server stopped: %v, now %v", project, before.containers[project], now)
		}
	}
	ready, err := s.server.start(ctx)
	if err != nil {
		return "", err
	}
	s.report.Figures.ReadySeconds = append(s.report.Figures.ReadySeconds, ready.Seconds())
	if _, err := s.shows(ctx, s.devHost, s.second); err != nil {
		return "", err
	}
	// Time for a controller that wrongly thinks that something is to be done.
	time.Sleep(2 * time.Second)
	after, err := s.snapshot(ctx)
	if err != nil {
		return "", err
	}
	if d := before.difference(after); d != "" {
		return "", fmt.Errorf("the restart changed %s", d)
	}
	return fmt.Sprintf("ready %.2f s after its start; no container restarted, no object changed", ready.Seconds()), nil
}

// atRest says that no rollout is under way and that no old container is left.
func (s *story) atRest(ctx context.Context) error {
	for _, d := range []struct {
		project   string
		frontends int32
	}{{"shop-dev", 3}, {"shop-prod", 2}} {
		if err := s.rolledOut(ctx, d.project, "frontend", d.frontends); err != nil {
			return err
		}
		if err := s.rolledOut(ctx, d.project, "backend", 1); err != nil {
			return err
		}
		if err := s.containersRun(ctx, d.project, int(d.frontends)+1); err != nil {
			return err
		}
		var pods corev1.PodList
		if err := s.get(ctx, inProject("", "v1", d.project, "pods", ""), &pods); err != nil {
			return err
		}
		if len(pods.Items) != int(d.frontends)+1 {
			return fmt.Errorf("%s has %d pods, some of them ending", d.project, len(pods.Items))
		}
	}
	return nil
}

// measureMore is how many pushes are measured after the one of step 7.
const measureMore = 4

// measure takes the figures of the report.
func (s *story) measure(ctx context.Context) error {
	for i := range measureMore {
		host := fmt.Sprintf("shop-%d.localhost", i+1)
		if err := s.config.edit(routeFile, s.devHost, host); err != nil {
			return err
		}
		if _, err := s.config.commit(ctx, "Move to "+host); err != nil {
			return err
		}
		if _, err := s.pushToLive(ctx, host, 3); err != nil {
			return err
		}
		s.devHost = host
	}
	s.report.Figures.PushToLiveMedian = median(s.report.Figures.PushToLiveSeconds)
	time.Sleep(2 * time.Second)
	var err error
	s.report.Figures.ResidentMB, s.report.Figures.ProportionalMB, err = s.server.memoryMB()
	return err
}
