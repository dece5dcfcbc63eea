package sources

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
)

// ErrUnverified says that a revision lacks the signature that its GitRepository asks
// for; it is not shown to anybody who renders.
var ErrUnverified = errors.New("not verified")

// errKeyring says that the Secret of public keys cannot be used.
var errKeyring = errors.New("verification keys")

// The SourceVerified condition and its reasons, named as Flux names them.
const (
	ConditionVerified            = "SourceVerified"
	ReasonVerificationError      = "VerificationError"
	ReasonInvalidCommitSignature = "InvalidCommitSignature"
	ReasonInvalidTagSignature    = "InvalidTagSignature"
)

// unverified is why an object does not pass.
type unverified struct {
	kind plumbing.ObjectType
	name string
	err  error
}

func (e *unverified) Error() string {
	return fmt.Sprintf("%s %s is %s: %s", e.kind, e.name, ErrUnverified, e.err)
}

func (e *unverified) Unwrap() []error { return []error{ErrUnverified, e.err} }

// policy is what a GitRepository asks of a revision; nil asks nothing.
type policy struct {
	mode v1alpha1.GitVerificationMode
	keys keyring
}

// policy reads the Secret of public keys.
func (s *Sources) policy(ctx context.Context, repo *v1alpha1.GitRepository) (*policy, string, error) {
	v := repo.Spec.Verify
	if v == nil {
		return nil, "", nil
	}
	var secret corev1.Secret
	key := client.ObjectKey{Namespace: repo.Namespace, Name: v.SecretRef.Name}
	if err := s.Client.Get(ctx, key, &secret); err != nil {
		if client.IgnoreNotFound(err) == nil {
			return nil, "", fmt.Errorf("%w: secret %s does not exist", errKeyring, key)
		}
		return nil, "", fmt.Errorf("%w: secret %s: %w", errRead, key, err)
	}
	keys, err := keyringFrom(&secret)
	if err != nil {
		return nil, secret.ResourceVersion, fmt.Errorf("%w: secret %s: %w", errKeyring, key, err)
	}
	return &policy{v.Mode, keys}, secret.ResourceVersion, nil
}

// verified says who signed what t stands for; t.hash is the commit. Where no signature
// is asked for it says nothing. What status.artifact holds with a signer was verified
// when it was taken, and its history then.
func (s *Sources) verified(p place, t target) (signer string, err error) {
	if p.repo == nil || p.repo.Spec.Verify == nil {
		return "", nil
	}
	now := s.Now()
	if a := p.repo.Status.Artifact; a != nil && a.Signer != "" {
		if a.Commit == t.hash.String() {
			return a.Signer, nil
		}
		if yes, _ := p.mirror.descends(plumbing.NewHash(a.Commit), t.hash); yes {
			now = time.Time{}
		}
	}
	if p.policyErr != nil {
		return "", p.policyErr
	}
	return p.mirror.verify(p.policy, t, now)
}

// verifiedNow is verified for a look, where every key must be good now.
func (s *Sources) verifiedNow(p place, t target) (signer string, err error) {
	if p.repo.Spec.Verify == nil {
		return "", nil
	}
	if p.policyErr != nil {
		return "", p.policyErr
	}
	return p.mirror.verify(p.policy, t, s.Now())
}

// verifiedRevision is the revision of t, if it is signed as it must be.
func (s *Sources) verifiedRevision(ctx context.Context, p place, key types.NamespacedName, t target) (api.Revision, error) {
	h, err := p.mirror.objects.peel(t.hash)
	if err != nil {
		return api.Revision{}, fmt.Errorf("gitrepository %s: %w", key, err)
	}
	t.hash = h
	signer, err := s.verified(p, t)
	if err != nil {
		return api.Revision{}, fmt.Errorf("gitrepository %s: %w", key, err)
	}
	rev, err := p.revision(ctx, t)
	if err != nil {
		return api.Revision{}, fmt.Errorf("gitrepository %s: %w", key, err)
	}
	rev.Repository, rev.Signer = key.String(), signer
	return rev, nil
}

// voucher says which commits Slipway may build upon.
func (s *Sources) voucher(p place) func(plumbing.Hash) error {
	v := p.repo.Spec.Verify
	if v == nil || v.Mode == v1alpha1.VerifyTag {
		return nil
	}
	return func(h plumbing.Hash) error {
		if p.policyErr != nil {
			return p.policyErr
		}
		if a := p.repo.Status.Artifact; a != nil && a.Signer != "" && a.Commit == h.String() {
			return nil
		}
		_, err := p.mirror.verifyCommit(p.policy.keys, h, s.Now())
		return err
	}
}

func (p *policy) commits() bool { return p != nil && p.mode != v1alpha1.VerifyTag }
func (p *policy) tags() bool    { return p != nil && p.mode != v1alpha1.VerifyHEAD && p.mode != "" }

// verify says who signed t, which must be as its policy asks. now is zero for a
// revision that was in force before: keys that have expired since still speak for it.
func (r *Mirror) verify(p *policy, t target, now time.Time) (signer string, err error) {
	var signers []string
	if p.tags() {
		who, err := r.verifyTag(p.keys, t, now)
		if err != nil {
			return "", err
		}
		signers = append(signers, who)
	}
	if p.commits() {
		h, err := r.objects.peel(t.hash)
		if err != nil {
			return "", err
		}
		who, err := r.verifyCommit(p.keys, h, now)
		if err != nil {
			return "", err
		}
		if len(signers) == 0 || signers[0] != who {
			signers = append(signers, who)
		}
	}
	return strings.Join(signers, ", "), nil
}

func (r *Mirror) verifyCommit(keys keyring, h plumbing.Hash, now time.Time) (string, error) {
	o, err := r.objects.signed(h, plumbing.CommitObject)
	who := ""
	if err == nil {
		who, err = keys.check(o, now)
	}
	if err != nil {
		return "", &unverified{plumbing.CommitObject, h.String(), err}
	}
	return who, nil
}

// verifyTag looks at the tag that t follows; for a commit that was asked for by its
// hash, at every tag that names it, one of which must do.
func (r *Mirror) verifyTag(keys keyring, t target, now time.Time) (string, error) {
	seen := r.current()
	names := []string{t.ref}
	if !strings.HasPrefix(t.ref, "refs/tags/") {
		names = names[:0]
		for name := range seen.names {
			if h, ok := seen.commit(name); ok && h == t.hash && strings.HasPrefix(name, "refs/tags/") {
				names = append(names, name)
			}
		}
	}
	refusal := error(&unverified{plumbing.CommitObject, t.hash.String(), errors.New("no tag names it, and tags are what must be signed")})
	for _, name := range names {
		who, err := r.verifyTagObject(keys, name, seen.names[name], t.hash, now)
		if err == nil {
			return who, nil
		}
		refusal = &unverified{plumbing.TagObject, short(name), err}
	}
	return "", refusal
}

// verifyTagObject checks the tag's own name and target beside its signature: a good
// tag under another name would bring an old version back.
func (r *Mirror) verifyTagObject(keys keyring, ref string, h, commit plumbing.Hash, now time.Time) (string, error) {
	o, err := r.objects.signed(h, plumbing.TagObject)
	if errors.Is(err, plumbing.ErrObjectNotFound) && h == commit {
		return "", errors.New("it is a lightweight tag, which cannot be signed")
	}
	if err != nil {
		return "", err
	}
	if got := o.headers["tag"]; "refs/tags/"+got != ref {
		return "", fmt.Errorf("the tag that was signed is %.200q", got)
	}
	if o.headers["type"] != "commit" || o.headers["object"] != commit.String() {
		return "", fmt.Errorf("what was signed is %s %s, not commit %s", o.headers["type"], o.headers["object"], commit)
	}
	return keys.check(o, now)
}
