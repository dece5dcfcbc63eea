package sources

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/robfig/cron/v3"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slipway.dev/slipway/api/v1alpha1"
)

// ConditionReady is the condition that says whether the last look went well.
const ConditionReady = "Ready"

// ConditionRewritten is there, and True, from when a branch was found to be rewritten until
// the next commit that follows on what was there before.
const (
	ConditionRewritten     = "Rewritten"
	ReasonHistoryRewritten = "HistoryRewritten"
	ReasonHistoryUnknown   = "HistoryUnknown"
)

// Reasons of the Ready condition, named as Flux names them.
const (
	ReasonSucceeded            = "Succeeded"
	ReasonGitOperationFailed   = "GitOperationFailed"
	ReasonAuthenticationFailed = "AuthenticationFailed"
	ReasonURLInvalid           = "URLInvalid"
	ReasonAddressRefused       = "AddressRefused"
)

// Intervals between looks.
const (
	defaultInterval = time.Minute
	shortestRetry   = 2 * time.Second
)

// look is what a process knows of a repository beyond live state.
type look struct {
	// url is spec.url, for hooks that name one.
	url string
	// secretName and keysName are spec.secretRef's and spec.verify.secretRef's names, for
	// changes of the Secrets.
	secretName, keysName string
	// mirror is the name of its mirror; empty: it was not looked at.
	mirror string

	// at is when the last look ended; zero: there was none in this process.
	at time.Time
	// generation and secret are what it was made with.
	generation int64
	secret     string
	// requested is what the repository's annotation api.RequestedAt said before it.
	requested string
	// failures in a row.
	failures int
	outcome  outcome
}

// outcome is how a look went.
type outcome struct {
	err error
	// artifact is what was found, nil on an error.
	artifact *v1alpha1.GitArtifact
	tags     []v1alpha1.GitTag
	// rewritten says, in words, that the artifact does not follow on the one before; or, if
	// uncertain, that nobody can tell. Empty: it does, or there was none.
	rewritten string
	uncertain bool
}

// due says whether it is time to look, and if not, how long from now.
func due(spec v1alpha1.GitRepositorySpec, generation int64, secret string, l look, asked bool, now time.Time) (bool, time.Duration) {
	if asked || l.at.IsZero() || l.generation != generation || l.secret != secret {
		return true, 0
	}
	next := nextLook(spec, l.at)
	if l.failures > 0 {
		if retry := l.at.Add(shortestRetry << min(l.failures-1, 10)); retry.Before(next) {
			next = retry
		}
	}
	if wait := next.Sub(now); wait > 0 {
		return false, wait
	}
	return true, 0
}

// nextLook is when to look again without any sign: by the schedule if there is a good
// one, else by the interval.
func nextLook(spec v1alpha1.GitRepositorySpec, last time.Time) time.Time {
	if spec.Schedule != "" {
		if schedule, err := cron.ParseStandard(spec.Schedule); err == nil {
			if next := schedule.Next(last); !next.IsZero() {
				return next
			}
		}
	}
	interval := defaultInterval
	if spec.Interval != nil && spec.Interval.Duration > 0 {
		interval = spec.Interval.Duration
	}
	return last.Add(interval)
}

// decide is the status after a look. What was good before stays when the look failed.
func decide(repo *v1alpha1.GitRepository, o outcome, now time.Time) v1alpha1.GitRepositoryStatus {
	status := *repo.Status.DeepCopy()
	status.ObservedGeneration = repo.Generation
	ready := metav1.Condition{Type: ConditionReady, ObservedGeneration: repo.Generation, LastTransitionTime: metav1.NewTime(now).Rfc3339Copy()}
	verified := ready
	verified.Type = ConditionVerified
	if repo.Spec.Verify == nil {
		meta.RemoveStatusCondition(&status.Conditions, ConditionVerified)
	} else if o.err != nil && status.Artifact != nil && status.Artifact.Signer == "" {
		// It was taken when nobody asked for a signature.
		status.Artifact = nil
	}
	if o.err != nil {
		if r := reason(o.err); repo.Spec.Verify != nil && (errors.Is(o.err, ErrUnverified) || errors.Is(o.err, errKeyring)) {
			verified.Status, verified.Reason, verified.Message = metav1.ConditionFalse, r, failure(o.err)
			meta.SetStatusCondition(&status.Conditions, verified)
		}
		ready.Status, ready.Reason, ready.Message = metav1.ConditionFalse, reason(o.err), failure(o.err)
		if status.Artifact != nil {
			ready.Message += "; " + status.Artifact.Revision + " stays in force"
		}
	} else {
		if status.Artifact == nil || status.Artifact.Commit != o.artifact.Commit {
			meta.RemoveStatusCondition(&status.Conditions, ConditionRewritten)
			if o.rewritten != "" && !o.uncertain {
				meta.SetStatusCondition(&status.Conditions, metav1.Condition{Type: ConditionRewritten, Status: metav1.ConditionTrue, ObservedGeneration: repo.Generation,
					LastTransitionTime: ready.LastTransitionTime, Reason: ReasonHistoryRewritten, Message: o.rewritten})
			}
		}
		status.Artifact, status.Tags = o.artifact, o.tags
		ready.Status, ready.Reason = metav1.ConditionTrue, ReasonSucceeded
		ready.Message = fmt.Sprintf("stored artifact for revision '%s'", o.artifact.Revision)
		if repo.Spec.Verify != nil {
			verified.Status, verified.Reason = metav1.ConditionTrue, ReasonSucceeded
			verified.Message = fmt.Sprintf("verified signature of '%s' by %s", o.artifact.Revision, o.artifact.Signer)
			meta.SetStatusCondition(&status.Conditions, verified)
		}
	}
	meta.SetStatusCondition(&status.Conditions, ready)
	return status
}

func reason(err error) string {
	var bad *unverified
	switch {
	case errors.As(err, &bad) && bad.kind == plumbing.TagObject:
		return ReasonInvalidTagSignature
	case errors.As(err, &bad):
		return ReasonInvalidCommitSignature
	case errors.Is(err, errKeyring):
		return ReasonVerificationError
	case errors.Is(err, ErrAddress):
		return ReasonAddressRefused
	case errors.Is(err, ErrURL):
		return ReasonURLInvalid
	case errors.Is(err, ErrCredentials), errors.Is(err, transport.ErrAuthenticationRequired), errors.Is(err, transport.ErrAuthorizationFailed):
		return ReasonAuthenticationFailed
	}
	return ReasonGitOperationFailed
}

// failure is an error in one line that does not grow. Nothing in it changes from one
// look to the next, so that a repository that stays away is written once.
func failure(err error) string {
	text := strings.ToValidUTF8(strings.Join(strings.Fields(err.Error()), " "), "�")
	text = localPort.ReplaceAllString(text, "->")
	if errors.Is(err, context.DeadlineExceeded) {
		text = "timed out: " + text
	}
	if len(text) > 600 {
		text = strings.ToValidUTF8(text[:600], "") + "…"
	}
	return text
}

// localPort is our end of a connection in an error of package net; it is another one each time.
var localPort = regexp.MustCompile(`\S+:\d+->`)
