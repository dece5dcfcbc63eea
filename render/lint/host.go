package lint

import (
	"errors"

	"slipway.dev/slipway/api/access"
	"slipway.dev/slipway/api/constraints"
)

// hostAccess finds pods that will not be admitted, as far as the repository says: an administrator's may let their
// accounts have it.
func (l *linter) hostAccess() {
	pod, at := constraints.PodOf(l.object.Unstructured)
	if pod == nil || len(constraints.Reaches(pod)) == 0 {
		return
	}
	_, err := constraints.Question{
		Pod: pod, Declared: l.policy.Constraints,
		Project: func() (map[string]string, error) { return constraints.AnyRanges(), nil },
		Access:  func() (access.Policy, error) { return l.policy.Access, nil },
	}.Answer()
	var refusal *constraints.Refusal
	if errors.As(err, &refusal) {
		for _, e := range refusal.Errors {
			l.warn(RuleHost, at+e.Field, "%s; %s", e.ErrorBody(), refusal.Advice())
		}
	}
}
