package sources

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/sources/gitserver"
	"slipway.dev/slipway/state/statetest"
)

func keysSecret(data map[string]string) *corev1.Secret {
	s := secretOf(data)
	s.ObjectMeta = metav1.ObjectMeta{Namespace: shop.Namespace, Name: "keys"}
	return s
}

func verifying(s *v1alpha1.GitRepositorySpec) {
	s.Verify = &v1alpha1.GitRepositoryVerification{Mode: v1alpha1.VerifyHEAD, SecretRef: corev1.LocalObjectReference{Name: "keys"}}
}

func (r *running) untilVerified(what string, status metav1.ConditionStatus, reason, message string) *v1alpha1.GitRepository {
	r.t.Helper()
	return r.until(what, func(repo *v1alpha1.GitRepository, ready metav1.Condition) bool {
		c := meta.FindStatusCondition(repo.Status.Conditions, ConditionVerified)
		return c != nil && c.Status == status && c.Reason == reason && strings.Contains(c.Message, message) && ready.Status == status
	})
}

func TestControllerVerifies(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{})
	mine, key := newKey(t)
	signWithSSH(t, h.work, key)
	unsigned := h.push("unsigned", map[string]string{"f": "0"})
	r := run(t, statetest.New(t), t.TempDir())
	r.create(shopRepository(h.url, verifying))

	r.untilVerified("no secret", metav1.ConditionFalse, ReasonVerificationError, "slipway/keys does not exist")
	secret := keysSecret(map[string]string{"allowed_signers": "ada@example.org " + authorized(mine.PublicKey())})
	r.create(secret)
	repo := r.untilVerified("unsigned", metav1.ConditionFalse, ReasonInvalidCommitSignature, "it is not signed")
	if repo.Status.Artifact != nil {
		t.Errorf("an unverified artifact %+v", repo.Status.Artifact)
	}
	for _, ask := range []func() (api.Revision, error){
		func() (api.Revision, error) { return r.Revision(testContext(t), shop) },
		func() (api.Revision, error) { return r.RevisionAt(testContext(t), shop, "main") },
		func() (api.Revision, error) { return r.RevisionAt(testContext(t), shop, unsigned) },
	} {
		if rev, err := ask(); !errors.Is(err, ErrUnverified) || rev.Tree != nil {
			t.Errorf("unverified: %+v, %v", rev, err)
		}
	}
	// Slipway's own commit would vouch for what is below it.
	if commit, err := r.Commit(testContext(t), api.CommitRequest{Repository: shop, Changes: changing("g", "1").Changes}); !errors.Is(err, ErrUnverified) {
		t.Errorf("commit %s on top of an unsigned head: %v", commit, err)
	}

	git(t, h.work, "commit", "--quiet", "--amend", "-S", "-m", "signed")
	git(t, h.work, "push", "--quiet", "--force", "origin", "HEAD")
	signed := git(t, h.work, "rev-parse", "HEAD")
	r.Refresh(shop)
	repo = r.untilVerified("signed", metav1.ConditionTrue, ReasonSucceeded, "ada@example.org")
	if a := repo.Status.Artifact; a == nil || a.Commit != signed || !strings.HasPrefix(a.Signer, "ada@example.org (SHA256:") {
		t.Errorf("artifact %+v", a)
	}
	for _, ref := range []string{"", "main", signed} {
		rev, err := r.RevisionAt(testContext(t), shop, ref)
		if err != nil || rev.Signer != repo.Status.Artifact.Signer {
			t.Errorf("%q: signer %q, %v", ref, rev.Signer, err)
		}
	}

	// An unsigned commit on top: the last good one stays.
	h.push("unsigned again", map[string]string{"f": "evil"})
	r.Refresh(shop)
	repo = r.untilVerified("unsigned again", metav1.ConditionFalse, ReasonInvalidCommitSignature, "it is not signed")
	if a := repo.Status.Artifact; a == nil || a.Commit != signed {
		t.Errorf("artifact %+v", a)
	}
	rev, err := r.Revision(testContext(t), shop)
	if err != nil || rev.Commit != signed || rev.Signer == "" || readTest(t, rev.Tree, "f") != "0" {
		t.Errorf("%+v, %v", rev, err)
	}
	if _, err := r.RevisionAt(testContext(t), shop, "main"); !errors.Is(err, ErrUnverified) {
		t.Errorf("main: %v", err)
	}
	// Keys that are gone take nothing back, and let nothing in.
	if err := r.client.Delete(context.Background(), secret); err != nil {
		t.Fatal(err)
	}
	r.untilVerified("keys gone", metav1.ConditionFalse, ReasonVerificationError, "does not exist")
	if rev, err := r.Revision(testContext(t), shop); err != nil || rev.Commit != signed {
		t.Errorf("without keys: %s, %v", rev.Commit, err)
	}
	if _, err := r.RevisionAt(testContext(t), shop, "main"); err == nil {
		t.Error("a branch without keys")
	}
}

func TestVerificationThatIsTurnedOnLater(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{})
	mine, key := newKey(t)
	old := h.push("unsigned", map[string]string{"f": "0"})
	r := run(t, statetest.New(t), t.TempDir())
	r.create(keysSecret(map[string]string{"me.pub": authorized(mine.PublicKey())}))
	r.create(shopRepository(h.url, nil))
	repo := r.settle(r.untilCommit(old))
	verifying(&repo.Spec)
	if err := r.client.Update(context.Background(), repo); err != nil {
		t.Fatal(err)
	}
	repo = r.untilVerified("unsigned", metav1.ConditionFalse, ReasonInvalidCommitSignature, old)
	if repo.Status.Artifact != nil {
		t.Errorf("what nobody signed stays: %+v", repo.Status.Artifact)
	}
	if _, err := r.Revision(testContext(t), shop); !errors.Is(err, ErrUnverified) {
		t.Errorf("it is rendered: %v", err)
	}
	// The server's key is allowed, too, so that Slipway's commits are followed.
	r.Mirrors.opts.SigningKey = mine
	signWithSSH(t, h.work, key)
	gitAt(t, h.work, time.Now(), nil, "commit", "--quiet", "--allow-empty", "-S", "-m", "signed")
	git(t, h.work, "push", "--quiet", "origin", "HEAD")
	r.Refresh(shop)
	r.untilCommit(git(t, h.work, "rev-parse", "HEAD"))
	commit, err := r.Commit(testContext(t), api.CommitRequest{Repository: shop, Message: "promote", Changes: changing("g", "1").Changes})
	if err != nil {
		t.Fatal(err)
	}
	r.untilCommit(commit)
	// Verification that is turned off is not talked about.
	repo = r.settle(r.untilVerified("own commit", metav1.ConditionTrue, ReasonSucceeded, commit))
	repo.Spec.Verify = nil
	if err := r.client.Update(context.Background(), repo); err != nil {
		t.Fatal(err)
	}
	r.until("off", func(repo *v1alpha1.GitRepository, _ metav1.Condition) bool {
		return meta.FindStatusCondition(repo.Status.Conditions, ConditionVerified) == nil && repo.Status.Artifact.Signer == ""
	})
}
