package sources

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/state/loop"
)

// Recorder makes events for people.
type Recorder interface {
	Event(obj client.Object, eventtype, reason, format string, args ...any)
}

// Deps is what Sources is made of.
type Deps struct {
	Client  client.WithWatch
	Mirrors *Mirrors
	// Events may be nil.
	Events Recorder
	Log    *slog.Logger
	// Now defaults to time.Now.
	Now func() time.Time
	// Workers is how many repositories are looked at side by side; default 128, so that
	// slow ones delay no other. One project gets at most a quarter of them.
	Workers int
}

// Sources follows the GitRepositories of live state and answers for their revisions.
type Sources struct {
	Deps
	wake chan loop.Key

	// mu guards what follows.
	mu sync.Mutex
	// looks holds what is known of each repository beyond live state.
	looks map[loop.Key]*look
	// asked are the keys that a hook wants looked at.
	asked map[loop.Key]bool
	// busy counts the looks that are under way in each project.
	busy map[string]int
	// swept is when mirrors that nobody uses were looked for.
	swept time.Time
}

// New is not running yet: see Controllers.
func New(d Deps) *Sources {
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.Workers <= 0 {
		d.Workers = 128
	}
	return &Sources{Deps: d, wake: make(chan loop.Key, 4096), looks: map[loop.Key]*look{}, asked: map[loop.Key]bool{}, busy: map[string]int{}}
}

// Refresh looks at a repository now.
func (s *Sources) Refresh(key types.NamespacedName) {
	s.mu.Lock()
	s.asked[key] = true
	s.mu.Unlock()
	select {
	case s.wake <- key:
	default:
		// The loop is not running; when it starts it looks at every repository.
	}
}

// RefreshURL looks at every repository with this URL now, in whatever spelling.
func (s *Sources) RefreshURL(url string) {
	s.mu.Lock()
	var keys []loop.Key
	for key, l := range s.looks {
		if SameRepository(l.url, url) {
			keys = append(keys, key)
		}
	}
	s.mu.Unlock()
	for _, key := range keys {
		s.Refresh(key)
	}
}

// place is a repository and what opens it.
type place struct {
	location Location
	creds    Credentials
	mirror   *Mirror
	repo     *v1alpha1.GitRepository
	// secret is the resourceVersion of the Secret, empty without one.
	secret string
	// policy is what is asked of revisions; keys is the resourceVersion of its Secret.
	policy *policy
	keys   string
	// policyErr is why the policy is not known: nothing can be verified.
	policyErr error
}

// secrets identifies what a look is made with.
func (p place) secrets() string { return p.secret + " " + p.keys }

// place reads a GitRepository's Secret and opens its mirror.
func (s *Sources) place(ctx context.Context, repo *v1alpha1.GitRepository) (place, error) {
	p := place{repo: repo}
	var err error
	if p.location, err = ParseURL(repo.Spec.URL); err != nil {
		return p, err
	}
	p.creds = p.creds.administrators(repo.Namespace)
	if ref := repo.Spec.SecretRef; ref != nil {
		var secret corev1.Secret
		key := client.ObjectKey{Namespace: repo.Namespace, Name: ref.Name}
		if err := s.Client.Get(ctx, key, &secret); err != nil {
			if client.IgnoreNotFound(err) == nil {
				return p, fmt.Errorf("%w: secret %s does not exist", ErrCredentials, key)
			}
			return p, fmt.Errorf("%w: secret %s: %w", errRead, key, err)
		}
		p.creds, p.secret = CredentialsFrom(&secret).administrators(repo.Namespace), secret.ResourceVersion
	}
	// Where the keys are missing, what was verified before still can be read.
	if p.policy, p.keys, p.policyErr = s.policy(ctx, repo); errors.Is(p.policyErr, errRead) {
		return p, p.policyErr
	}
	p.mirror, err = s.Mirrors.OpenShallow(p.location, p.creds.Scope, repo.Spec.Depth)
	return p, err
}

// errRead says that live state could not be read: nothing is known, so nothing may
// be concluded.
var errRead = errors.New("live state cannot be read")

func (s *Sources) find(ctx context.Context, key types.NamespacedName) (place, error) {
	var repo v1alpha1.GitRepository
	if err := s.Client.Get(ctx, key, &repo); err != nil {
		return place{}, fmt.Errorf("gitrepository %s: %w", key, err)
	}
	p, err := s.place(ctx, &repo)
	if err != nil {
		return p, fmt.Errorf("gitrepository %s: %w", key, err)
	}
	return p, nil
}

// longestLook bounds spec.timeout: a look holds a worker.
const longestLook = 10 * time.Minute

// fetch looks with the repository's timeout.
func (p place) fetch(ctx context.Context, also ...string) error {
	ctx, cancel := context.WithTimeout(ctx, p.patience())
	defer cancel()
	return p.mirror.Fetch(ctx, p.location, p.creds, also...)
}

// patience is the repository's timeout.
func (p place) patience() time.Duration {
	if p.repo != nil && p.repo.Spec.Timeout != nil && p.repo.Spec.Timeout.Duration > 0 {
		return min(p.repo.Spec.Timeout.Duration, longestLook)
	}
	return 60 * time.Second
}

// revision is t as the repository's settings show it. Submodules, and content in LFS, that
// are read and not here yet are fetched.
func (p place) revision(ctx context.Context, t target) (api.Revision, error) {
	ignore, recurse := "", true // a build's source is all that is there
	if p.repo != nil {
		recurse = p.repo.Spec.RecurseSubmodules
		if p.repo.Spec.Ignore != nil {
			ignore = *p.repo.Spec.Ignore
		}
	}
	v := newView(ignore)
	v.pointers = p.repo == nil
	if p.repo != nil && p.repo.Spec.LFS {
		v.lfs = p.mirror.lfs
	}
	rev, err := p.mirror.revision(p.location, t, v)
	if err != nil {
		return rev, err
	}
	tree := rev.Tree.(treeFS)
	if v.lfs != nil {
		if err := p.fetchLFS(ctx, tree); err != nil {
			return rev, err
		}
	}
	if !recurse {
		return rev, nil
	}
	v.modules = map[string]module{}
	return rev, gatherer{p, v}.gather(ctx, tree, p.location, 0)
}

// Revision is a repository's last good revision: the one that its status names. It
// comes out of the mirror, so that the repository's server need not be there.
func (s *Sources) Revision(ctx context.Context, key types.NamespacedName) (api.Revision, error) {
	p, err := s.find(ctx, key)
	if err != nil {
		return api.Revision{}, err
	}
	a := p.repo.Status.Artifact
	if a == nil {
		// Live state may be new while the mirror is not.
		t, err := resolve(p.mirror.current(), p.repo.Spec.Reference)
		if err != nil {
			return api.Revision{}, fmt.Errorf("gitrepository %s has no revision yet: %w", key, err)
		}
		return s.verifiedRevision(ctx, p, key, t)
	}
	t, err := anyRef(refs{}, a.Commit)
	if err != nil {
		return api.Revision{}, fmt.Errorf("gitrepository %s: status.artifact.commit: %w", key, err)
	}
	t.name = artifactName(a.Revision)
	if !p.mirror.Has(a.Commit) {
		if err := p.fetch(ctx, a.Commit); err != nil {
			return api.Revision{}, fmt.Errorf("gitrepository %s: commit %s is not in its mirror: %w", key, a.Commit, err)
		}
	}
	return s.verifiedRevision(ctx, p, key, t)
}

// artifactName is the branch or tag in `main@sha1:…`.
func artifactName(revision string) string {
	if i := strings.LastIndex(revision, "@sha1:"); i >= 0 {
		return revision[:i]
	}
	return ""
}

// RevisionAt is a branch, tag, full reference name or full commit of a repository;
// where signatures are asked for, it must be signed.
// Branches and tags are looked up at the server first; where it is away, what was last
// seen answers.
func (s *Sources) RevisionAt(ctx context.Context, key types.NamespacedName, ref string) (api.Revision, error) {
	p, err := s.find(ctx, key)
	if err != nil {
		return api.Revision{}, err
	}
	t, err := p.at(ctx, ref, "")
	if err != nil {
		return api.Revision{}, fmt.Errorf("gitrepository %s: %w", key, err)
	}
	return s.verifiedRevision(ctx, p, key, t)
}

// at resolves what a person or a build asks for, looking at the server unless a full
// commit is already here.
func (p place) at(ctx context.Context, ref, commit string) (target, error) {
	if commit == "" && isHash(ref) {
		ref, commit = "", ref
	}
	if commit != "" {
		t, err := anyRef(refs{}, commit)
		if err != nil {
			return t, err
		}
		t.name = short(ref)
		if p.mirror.Has(commit) {
			return t, nil
		}
		// The server may refuse a commit that no branch or tag names; what is here
		// after a plain look may hold it all the same.
		err = p.fetch(ctx)
		if err == nil && !p.mirror.Has(commit) {
			err = p.fetch(ctx, commit)
		}
		if err == nil && !p.mirror.Has(commit) {
			err = fmt.Errorf("%w: commit %s", ErrNoRevision, commit)
		}
		return t, err
	}
	var extra []string
	if strings.HasPrefix(ref, "refs/") && CheckRefName(ref) == nil {
		extra = []string{ref}
	}
	fetched := p.fetch(ctx, extra...)
	t, err := anyRef(p.mirror.current(), ref)
	if err != nil && fetched != nil {
		return t, fetched
	}
	return t, err
}

// Tags are a repository's tags and the commits they name, as last seen.
func (s *Sources) Tags(ctx context.Context, key types.NamespacedName) ([]v1alpha1.GitTag, error) {
	p, err := s.find(ctx, key)
	if err != nil {
		return nil, err
	}
	return tags(p.mirror.current()), nil
}

// Source is a revision of any repository, for builds: of commit if it is set, else of
// ref (a branch, a tag, a full reference name), else of the repository's HEAD. secret,
// which may be nil, opens the repository; what it opened is shown to its own project
// only. Submodules are read; LFS pointers stay pointers.
func (s *Sources) Source(ctx context.Context, url, ref, commit string, secret *corev1.Secret) (api.Revision, error) {
	l, err := ParseURL(url)
	if err != nil {
		return api.Revision{}, err
	}
	creds := CredentialsFrom(secret)
	if secret != nil {
		creds = creds.administrators(secret.Namespace)
	}
	m, err := s.Mirrors.Borrow(l, creds.Scope)
	if err != nil {
		return api.Revision{}, err
	}
	p := place{location: l, creds: creds, mirror: m}
	t, err := p.at(ctx, ref, commit)
	var rev api.Revision
	if err == nil {
		rev, err = p.revision(ctx, t)
	}
	if err != nil {
		return api.Revision{}, fmt.Errorf("%s: %w", l, err)
	}
	return rev, nil
}

// Commit commits to a repository, and then looks at it. It answers the commit that
// the branch is at, which is the one it was at before where nothing changes; for a
// request with an ID that was carried out before, the commit that was made then.
func (s *Sources) Commit(ctx context.Context, req api.CommitRequest) (string, error) {
	return s.commit(ctx, req, func(context.Context, place) (change, error) { return contents(req.Changes), nil })
}

// writeDepth is how much history a commit is made on at least: enough to find the one
// that was made for the same request before others went on.
const writeDepth = 100

func (s *Sources) commit(ctx context.Context, req api.CommitRequest, prepare func(context.Context, place) (change, error)) (string, error) {
	p, err := s.find(ctx, req.Repository)
	if err != nil {
		return "", err
	}
	follows := ""
	if ref := p.repo.Spec.Reference; ref != nil {
		follows = ref.Branch
	}
	if follows == "" {
		if follows = short(p.mirror.current().head); follows == "" {
			follows = "main"
		}
	}
	branch := req.Branch
	if branch == "" {
		branch = follows
	}
	if req.Base == "" {
		req.Base = follows
	}
	if depth := p.repo.Spec.Depth; depth > 0 && depth < writeDepth {
		if p.mirror, err = s.Mirrors.OpenShallow(p.location, p.creds.Scope, writeDepth); err != nil {
			return "", fmt.Errorf("gitrepository %s: %w", req.Repository, err)
		}
	}
	var commit string
	var made bool
	do, err := prepare(ctx, p)
	if err == nil {
		commit, made, err = p.mirror.commit(ctx, writing{l: p.location, c: p.creds, branch: branch, now: s.Now, req: req, do: do, vouch: s.voucher(p)})
	}
	if err != nil {
		return "", fmt.Errorf("gitrepository %s: %w", req.Repository, err)
	}
	if made {
		s.Log.Info("committed", "repository", req.Repository.String(), "branch", branch, "commit", commit)
		s.Refresh(req.Repository)
	}
	return commit, nil
}
