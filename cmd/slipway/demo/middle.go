package demo

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	routev1 "github.com/openshift/api/route/v1"

	platform "slipway.dev/slipway/cmd/slipway/server"
	node "slipway.dev/slipway/runtime"
)

// calling is how many clients keep asking while a new version rolls out.
const calling = 4

// change pushes a new version of the shop while clients keep asking for it.
func (s *story) change(ctx context.Context) (string, error) {
	if err := s.app.edit("frontend/cgi-bin/index.cgi", "Welcome to the shop", "Welcome to the better shop"); err != nil {
		return "", err
	}
	commit, err := s.app.commit(ctx, "Welcome people more warmly")
	if err != nil {
		return "", err
	}
	clients := s.keepCalling(ctx, s.devHost, calling, func(body string) bool { return strings.Contains(body, "teapots") })
	err = s.roll(ctx, commit)
	requests, failures, why := clients.end()
	s.report.Requests, s.report.FailedRequests = requests, failures
	if err != nil {
		return "", err
	}
	if failures > 0 {
		return "", fmt.Errorf("%d of %d requests failed while the new version rolled out; the first: %s", failures, requests, why)
	}
	if requests == 0 {
		return "", errors.New("no request was made while the new version rolled out")
	}
	return fmt.Sprintf("%s is built and rolled out; failed requests meanwhile: %d of %d", short(commit), failures, requests), nil
}

func (s *story) roll(ctx context.Context, commit string) error {
	if err := s.app.push(ctx, "main"); err != nil {
		return err
	}
	s.second = commit
	if err := s.awaitBuilds(ctx, commit); err != nil {
		return err
	}
	if _, err := s.shows(ctx, s.devHost, commit); err != nil {
		return err
	}
	if err := until(ctx, "the rollout", func() error {
		if err := s.rolledOut(ctx, "shop-dev", "frontend", 2); err != nil {
			return err
		}
		return s.rolledOut(ctx, "shop-dev", "backend", 1)
	}); err != nil {
		return err
	}
	return until(ctx, "the old pods end", func() error { return s.containersRun(ctx, "shop-dev", 3) })
}

const (
	branch      = "three-frontends"
	reviewFile  = "projects/shop-dev/shop.jsonnet"
	routeFile   = "projects/shop-dev/route.yaml"
	betterHost  = "better-shop.localhost"
	oldReplicas = "'latest', replicas=2"
	newReplicas = "'latest', replicas=3"
)

// review asks, on a branch, for another replica and another address, and looks at what
// that would do.
func (s *story) review(ctx context.Context) (string, error) {
	before, err := s.live(ctx)
	if err != nil {
		return "", err
	}
	if err := s.config.pull(ctx); err != nil {
		return "", err
	}
	if _, err := s.config.git(ctx, "checkout", "-q", "-b", branch); err != nil {
		return "", err
	}
	if err := errors.Join(s.config.edit(reviewFile, oldReplicas, newReplicas), s.config.edit(routeFile, s.devHost, betterHost)); err != nil {
		return "", err
	}
	if _, err := s.config.commit(ctx, "Three frontends, and a better address"); err != nil {
		return "", err
	}
	if err := s.config.push(ctx, branch); err != nil {
		return "", err
	}
	out, err := s.slipway("diff", "--ref", branch)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		return "", fmt.Errorf("slipway diff: want exit code 1, have %w\n%s", err, out)
	}
	for _, want := range []string{"spec.replicas: 2 → 3", "spec.host", betterHost, "scales frontend from 2 to 3 pods", "moves route frontend from " + s.devHost} {
		if !strings.Contains(out, want) {
			return "", fmt.Errorf("slipway diff does not say %q:\n%s", want, out)
		}
	}
	after, err := s.live(ctx)
	if err != nil {
		return "", err
	}
	if before != after {
		return "", fmt.Errorf("live state moved from %s to %s", before, after)
	}
	return fmt.Sprintf("slipway diff --ref %s exits 1 and says\n%s", branch, out), nil
}

// live identifies the state of what the review is about.
func (s *story) live(ctx context.Context) (string, error) {
	dc, err := s.deployment(ctx, "shop-dev", "frontend")
	if err != nil {
		return "", err
	}
	var route routev1.Route
	if err := s.get(ctx, inProject("route.openshift.io", "v1", "shop-dev", "routes", "frontend"), &route); err != nil {
		return "", err
	}
	return fmt.Sprintf("deployment generation %d, route %s generation %d", dc.Generation, route.Spec.Host, route.Generation), nil
}

// merge merges the branch; the change is live when the new address answers.
func (s *story) merge(ctx context.Context) (string, error) {
	if _, err := s.config.git(ctx, "checkout", "-q", "main"); err != nil {
		return "", err
	}
	if err := s.config.pull(ctx); err != nil {
		return "", err
	}
	if _, err := s.config.git(ctx, "merge", "-q", "--no-ff", "-m", "Merge "+branch, branch); err != nil {
		return "", err
	}
	took, err := s.pushToLive(ctx, betterHost, 3)
	if err != nil {
		return "", err
	}
	s.devHost = betterHost
	if err := until(ctx, "the third pod", func() error { return s.rolledOut(ctx, "shop-dev", "frontend", 3) }); err != nil {
		return "", err
	}
	return fmt.Sprintf("live %.2f s after the push began: http://%s:%d/, three pods", took.Seconds(), s.devHost, s.server.ports.router), nil
}

// pushToLive pushes the configuration and measures until the router serves the new host
// and the deployment is declared with the new number of replicas.
func (s *story) pushToLive(ctx context.Context, host string, replicas int32) (time.Duration, error) {
	began := time.Now()
	if err := s.config.push(ctx, "main"); err != nil {
		return 0, err
	}
	err := until(ctx, "the change is live", func() error {
		if _, err := s.page(ctx, host, "/healthz"); err != nil {
			return err
		}
		dc, err := s.deployment(ctx, "shop-dev", "frontend")
		if err == nil && dc.Spec.Replicas != replicas {
			err = fmt.Errorf("the deployment has %d replicas, not %d", dc.Spec.Replicas, replicas)
		}
		return err
	})
	took := time.Since(began)
	if err == nil {
		s.report.Figures.PushToLiveSeconds = append(s.report.Figures.PushToLiveSeconds, took.Seconds())
	}
	return took, err
}

// appContainers are the containers that run in a project's pods, by id, with the time
// each was started.
func (s *story) appContainers(ctx context.Context, project string) (map[string]string, error) {
	list, err := s.engine.ContainerList(ctx, container.ListOptions{Filters: filters.NewArgs(
		filters.Arg("label", node.LabelInstance+"="+platform.Instance(s.dataDir())),
		filters.Arg("label", node.LabelNamespace+"="+project), filters.Arg("label", node.LabelKind+"="+string(node.App)))})
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, c := range list {
		info, err := s.engine.ContainerInspect(ctx, c.ID)
		if err != nil {
			return nil, err
		}
		out[c.ID] = info.State.StartedAt
	}
	return out, nil
}

func (s *story) containersRun(ctx context.Context, project string, want int) error {
	list, err := s.appContainers(ctx, project)
	if err == nil && len(list) != want {
		err = fmt.Errorf("%d containers of %s run, not %d", len(list), project, want)
	}
	return err
}
