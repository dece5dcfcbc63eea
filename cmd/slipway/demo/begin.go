package demo

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	imagev1 "github.com/openshift/api/image/v1"

	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/sources/gitserver"
)

// create makes the two repositories and starts the server that follows one of them.
func (s *story) create(ctx context.Context) (string, error) {
	p, err := freePorts(firstPort(s.FirstPort))
	if err != nil {
		return "", err
	}
	s.server = &server{exe: s.Executable, env: s.environment(), log: filepath.Join(s.Dir, "server.log"), ports: p}
	gitRoot := filepath.Join(s.Dir, "git")
	gitURL := s.server.url() + "/git"
	for _, name := range []string{"shop-config", "shop-app"} {
		if _, err := gitserver.Init(gitserver.Repository{
			Root: gitRoot, Name: name, CloneURL: gitURL + "/" + name + ".git", Executable: s.Executable,
		}); err != nil {
			return "", err
		}
	}
	s.server.args = []string{
		"up", "--repo", gitURL + "/shop-config.git", "--data-dir", s.dataDir(), "--git-root", gitRoot,
		"--listen", loopback(p.api), "--registry", loopback(p.registry),
		"--router", loopback(p.router), "--router-tls", loopback(p.routerTLS),
		"--name", s.place.name, "--cluster-network", s.place.cluster.String(), "--service-network", s.place.service.String(),
		"--parameter", "git=" + gitURL,
	}
	ready, err := s.server.start(ctx)
	if err != nil {
		return "", err
	}
	s.report.Figures.ReadySeconds = append(s.report.Figures.ReadySeconds, ready.Seconds())
	if s.config, err = s.clone(ctx, "shop-config", gitURL); err != nil {
		return "", err
	}
	if s.app, err = s.clone(ctx, "shop-app", gitURL); err != nil {
		return "", err
	}
	if err := s.hookConfig(); err != nil {
		return "", err
	}
	return fmt.Sprintf("repositories %s and %s; the server was ready after %.2f s, its log is %s\n%s",
		s.config.url, s.app.url, ready.Seconds(), s.server.log, s.place), nil
}

func firstPort(p int) int {
	if p == 0 {
		return 7080
	}
	return p
}

func (s *story) clone(ctx context.Context, name, gitURL string) (*clone, error) {
	files, err := fs.Sub(s.Examples, name)
	if err != nil {
		return nil, err
	}
	return newClone(ctx, filepath.Join(s.Dir, "work", name), gitURL+"/"+name+".git", files)
}

func (s *story) bare(name string) string { return filepath.Join(s.Dir, "git", name+".git") }

// hookConfig makes pushes of the configuration wake its repository.
func (s *story) hookConfig() error {
	hooks, err := s.hooks()
	if err != nil {
		return err
	}
	return gitserver.SetHooks(s.bare("shop-config"), hooks("gitrepository/root"))
}

// hooks reads the webhooks that `slipway webhooks` prints for whoever may read the data
// directory: a kind and name, a URL and a secret on each line.
func (s *story) hooks() (func(names ...string) []gitserver.Hook, error) {
	out, err := s.slipway("webhooks", "--data-dir", s.dataDir())
	if err != nil {
		return nil, err
	}
	return func(names ...string) []gitserver.Hook {
		var list []gitserver.Hook
		for line := range strings.Lines(out) {
			f := strings.Fields(line)
			for _, n := range names {
				if len(f) == 3 && f[0] == n {
					list = append(list, gitserver.Hook{URL: f[1], Secret: f[2]})
				}
			}
		}
		return list
	}, nil
}

// converge pushes the configuration and waits until live state follows it.
func (s *story) converge(ctx context.Context) (string, error) {
	commit, err := s.config.commit(ctx, "The shop, on Slipway")
	if err != nil {
		return "", err
	}
	if err := s.config.push(ctx, "main"); err != nil {
		return "", err
	}
	if err := until(ctx, "the configuration is applied", func() error { return s.applied(ctx, commit) }); err != nil {
		return "", err
	}
	plans, err := s.plans(ctx, commit)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s is applied; this was the plan\n%s", short(commit), plans), nil
}

// plans are the plans that were carried out for a commit, as their records keep them.
func (s *story) plans(ctx context.Context, commit string) (string, error) {
	var list v1alpha1.RecordList
	if err := s.get(ctx, inProject("slipway.dev", "v1alpha1", "slipway", "records", ""), &list); err != nil {
		return "", err
	}
	var parts []string
	for _, r := range list.Items {
		if r.Spec.Commit == commit && r.Spec.Outcome == "Applied" && r.Spec.Reason == "Commit" {
			parts = append(parts, strings.TrimRight(r.Spec.Plan, "\n"))
		}
	}
	if len(parts) == 0 {
		return "", fmt.Errorf("no record of %s", short(commit))
	}
	return strings.Join(parts, "\n"), nil
}

// build pushes the shop's source; its webhooks start a build of each half.
func (s *story) build(ctx context.Context) (string, error) {
	if err := s.pushBase(ctx); err != nil {
		return "", err
	}
	if err := s.hookApp(); err != nil {
		return "", err
	}
	commit, err := s.app.commit(ctx, "A shop with teapots")
	if err != nil {
		return "", err
	}
	if _, err := s.app.git(ctx, "tag", "v0.1"); err != nil {
		return "", err
	}
	if err := s.app.push(ctx, "main", "v0.1"); err != nil {
		return "", err
	}
	s.first = commit
	if err := s.awaitBuilds(ctx, commit); err != nil {
		return "", err
	}
	return fmt.Sprintf("webhooks of %s started frontend (S2I) and backend (Dockerfile); both images are in the registry\n"+
		"see: slipway get builds,imagestreams -n shop-dev", short(commit)), nil
}

// hookApp makes pushes of the source start builds and wake its repository.
func (s *story) hookApp() error {
	hooks, err := s.hooks()
	if err != nil {
		return err
	}
	list := hooks("shop-dev/frontend", "shop-dev/backend", "gitrepository/shop-app")
	if len(list) != 3 {
		return fmt.Errorf("want webhooks of two builds and a repository, have %d", len(list))
	}
	return gitserver.SetHooks(s.bare("shop-app"), list)
}

// awaitBuilds waits until both halves are built of a commit, and their streams have it.
func (s *story) awaitBuilds(ctx context.Context, commit string) error {
	for _, name := range []string{"frontend", "backend"} {
		if err := until(ctx, "the build", func() error { return s.built(ctx, "shop-dev", name, commit) }); err != nil {
			return err
		}
		if err := until(ctx, "the image stream", func() error { return s.streamHas(ctx, name) }); err != nil {
			return err
		}
	}
	return nil
}

func (s *story) streamHas(ctx context.Context, name string) error {
	var is imagev1.ImageStream
	if err := s.get(ctx, inProject("image.openshift.io", "v1", "shop-dev", "imagestreams", name), &is); err != nil {
		return err
	}
	for _, t := range is.Status.Tags {
		if t.Tag == "latest" && len(t.Items) > 0 {
			return nil
		}
	}
	return fmt.Errorf("image stream %s has no tag latest", name)
}

// rollOut waits for the pods and asks for the page through the router.
func (s *story) rollOut(ctx context.Context) (string, error) {
	if err := until(ctx, "the rollout", func() error {
		if err := s.rolledOut(ctx, "shop-dev", "frontend", 2); err != nil {
			return err
		}
		return s.rolledOut(ctx, "shop-dev", "backend", 1)
	}); err != nil {
		return "", err
	}
	body, err := s.shows(ctx, s.devHost, s.first)
	if err != nil {
		return "", err
	}
	if err := s.containersRun(ctx, "shop-dev", 3); err != nil {
		return "", err
	}
	// The first tag was promoted as soon as its images existed: there is something to
	// come back to later.
	if _, err := s.shows(ctx, s.prodHost, s.first); err != nil {
		return "", err
	}
	return fmt.Sprintf("2 frontends and 1 backend run; http://%s:%d/ says\n%s", s.devHost, s.server.ports.router, body), nil
}

// shows waits until a host serves the frontend of a commit, and the frontend has the
// backend's answer.
func (s *story) shows(ctx context.Context, host, commit string) (string, error) {
	var body string
	err := until(ctx, host+" shows "+short(commit), func() (err error) {
		if body, err = s.page(ctx, host, "/"); err != nil {
			return err
		}
		if !strings.Contains(body, "commit:  "+commit) || !strings.Contains(body, "teapots") {
			return fmt.Errorf("it says %q", body)
		}
		return nil
	})
	return strings.TrimSpace(body), err
}
