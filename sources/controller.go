package sources

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/go-git/go-git/v5/plumbing"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/state/loop"
)

// Controllers is the loop that follows GitRepositories: at their interval or schedule,
// when they, their Secret or their annotation api.RequestedAt change, and when Refresh is called.
func (s *Sources) Controllers() []loop.Controller {
	return []loop.Controller{{
		Name: "gitrepository",
		Watches: []loop.Watch{
			{List: &v1alpha1.GitRepositoryList{}},
			{List: &corev1.SecretList{}, Keys: s.usersOf},
		},
		Wake:      s.wake,
		Workers:   s.Workers,
		Reconcile: s.reconcile,
	}}
}

// usersOf are the repositories that a Secret opens or verifies.
func (s *Sources) usersOf(secret client.Object) []loop.Key {
	s.mu.Lock()
	defer s.mu.Unlock()
	var keys []loop.Key
	for key, l := range s.looks {
		if key.Namespace == secret.GetNamespace() && (l.secretName == secret.GetName() || l.keysName == secret.GetName()) {
			keys = append(keys, key)
		}
	}
	return keys
}

func (s *Sources) reconcile(ctx context.Context, key loop.Key) (loop.Result, error) {
	var repo v1alpha1.GitRepository
	if err := s.Client.Get(ctx, key, &repo); err != nil {
		if client.IgnoreNotFound(err) == nil {
			s.retire(key)
			return loop.Result{}, nil
		}
		return loop.Result{}, err
	}
	l := s.remember(key, &repo)
	if repo.Spec.Suspend || repo.DeletionTimestamp != nil {
		return loop.Result{}, nil
	}
	p, err := s.place(ctx, &repo)
	if errors.Is(err, errRead) {
		return loop.Result{}, err
	}
	requested := repo.Annotations[api.RequestedAt]
	if now, _ := due(repo.Spec, repo.Generation, p.secrets(), l, s.isAsked(key) || requested != l.requested, s.Now()); now {
		if !s.begin(key.Namespace) {
			return loop.Result{After: busyRetry}, nil
		}
		defer s.end(key.Namespace)
		s.takeAsked(key)
		if err == nil {
			l.outcome = s.look(ctx, p)
		} else {
			l.outcome = outcome{err: err}
		}
		if ctx.Err() != nil {
			return loop.Result{}, ctx.Err()
		}
		l.at, l.generation, l.secret, l.requested = s.Now(), repo.Generation, p.secrets(), requested
		l.failures++
		if l.outcome.err == nil {
			l.failures = 0
		}
		if p.mirror != nil {
			l.mirror = p.mirror.name()
		}
		s.store(key, l)
		s.sweep()
	}
	if err := s.write(ctx, p, &repo, l.outcome); err != nil {
		return loop.Result{}, err
	}
	_, wait := due(repo.Spec, repo.Generation, p.secrets(), l, false, s.Now())
	return loop.Result{After: max(wait, 1)}, nil
}

// look fetches, resolves and verifies.
func (s *Sources) look(ctx context.Context, p place) outcome {
	ref := p.repo.Spec.Reference
	err := p.fetch(ctx, also(ref)...)
	if err == nil && ref != nil && isHash(ref.Commit) && !p.mirror.Has(ref.Commit) {
		err = p.fetch(ctx, ref.Commit)
	}
	if err != nil {
		return outcome{err: err}
	}
	seen := p.mirror.current()
	t, err := resolve(seen, ref)
	if err != nil {
		return outcome{err: err}
	}
	if t.hash, err = p.mirror.objects.peel(t.hash); err != nil {
		return outcome{err: err}
	}
	signer, err := s.verifiedNow(p, t)
	if err != nil {
		return outcome{err: err}
	}
	// What is not verified names no submodules.
	rev, err := p.revision(ctx, t)
	if err != nil {
		return outcome{err: err}
	}
	out := outcome{tags: tags(seen), artifact: &v1alpha1.GitArtifact{
		Revision: t.revision(),
		Commit:   rev.Commit,
		Author:   rev.Author,
		Message:  cut(rev.Message),
		When:     metav1.NewTime(rev.When).Rfc3339Copy(),
		Signer:   signer,
	}}
	out.compare(p)
	return out
}

// cut keeps a status small whatever a commit says.
func cut(message string) string {
	message = strings.TrimSpace(message)
	if len(message) > 4096 {
		message = strings.ToValidUTF8(message[:4096], "") + "…"
	}
	return message
}

// write puts the status where it differs, and tells people what is new.
func (s *Sources) write(ctx context.Context, p place, repo *v1alpha1.GitRepository, o outcome) error {
	was := repo.Status.DeepCopy()
	repo.Status = decide(repo, o, s.Now())
	if equality.Semantic.DeepEqual(*was, repo.Status) {
		return nil
	}
	if err := s.Client.Status().Update(ctx, repo); err != nil {
		return err
	}
	s.tell(repo, was.Artifact, o)
	return nil
}

func (s *Sources) tell(repo *v1alpha1.GitRepository, was *v1alpha1.GitArtifact, o outcome) {
	log := s.Log.With("gitrepository", client.ObjectKeyFromObject(repo).String())
	event := func(kind, reason, format string, args ...any) {
		if s.Events != nil {
			s.Events.Event(repo, kind, reason, format, args...)
		}
	}
	switch {
	case o.err != nil:
		log.Warn("repository cannot be followed", "reason", reason(o.err), "error", o.err)
		event(corev1.EventTypeWarning, reason(o.err), "%s", failure(o.err))
	case was == nil || was.Revision != o.artifact.Revision:
		subject, _, _ := strings.Cut(o.artifact.Message, "\n")
		log.Info("new revision", "revision", o.artifact.Revision)
		event(corev1.EventTypeNormal, "NewArtifact", "stored artifact for commit '%s' (%s)", subject, o.artifact.Revision)
		switch {
		case o.rewritten == "":
		case o.uncertain:
			event(corev1.EventTypeNormal, ReasonHistoryUnknown, "%s", o.rewritten)
		default:
			event(corev1.EventTypeWarning, ReasonHistoryRewritten, "%s", o.rewritten)
		}
	}
}

// compare notes whether the branch was rewritten since the last look.
func (o *outcome) compare(p place) {
	was, now := p.repo.Status.Artifact, o.artifact
	if was == nil || was.Commit == now.Commit || artifactName(was.Revision) != artifactName(now.Revision) || !isHash(was.Commit) {
		return
	}
	yes, sure := p.mirror.descends(plumbing.NewHash(now.Commit), plumbing.NewHash(was.Commit))
	switch {
	case yes:
	case sure:
		o.rewritten = fmt.Sprintf("%s does not follow on %s: the history was rewritten", now.Revision, was.Commit)
	default:
		o.rewritten, o.uncertain = fmt.Sprintf("whether %s follows on %s cannot be told from the history that is fetched", now.Revision, was.Commit), true
	}
}

// remember notes what hooks and Secrets find a repository by, and says what is known
// of it.
func (s *Sources) remember(key types.NamespacedName, repo *v1alpha1.GitRepository) look {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.looks[key]
	if l == nil {
		l = &look{}
		s.looks[key] = l
	}
	l.url, l.secretName, l.keysName = repo.Spec.URL, "", ""
	if v := repo.Spec.Verify; v != nil {
		l.keysName = v.SecretRef.Name
	}
	if repo.Spec.SecretRef != nil {
		l.secretName = repo.Spec.SecretRef.Name
	}
	return *l
}

func (s *Sources) store(key types.NamespacedName, l look) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looks[key] = &l
}

func (s *Sources) isAsked(key types.NamespacedName) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[key]
}

func (s *Sources) takeAsked(key types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.asked, key)
}

// busyRetry is how soon a repository is tried again whose project has its share of looks.
const busyRetry = 200 * time.Millisecond

// begin says whether a project may have one more look under way: many repositories that
// hang must not take every worker.
func (s *Sources) begin(project string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy[project] >= max(s.Workers/4, 1) {
		return false
	}
	s.busy[project]++
	return true
}

func (s *Sources) end(project string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy[project]--; s.busy[project] == 0 {
		delete(s.busy, project)
	}
}
