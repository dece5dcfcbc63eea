package gate

import (
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
)

// Active are the holds that bind at a time, and when the first of them ends by itself
// (zero: none does).
func Active(holds []v1alpha1.Hold, at time.Time) (active []v1alpha1.Hold, until time.Time) {
	for _, h := range holds {
		if !api.InForce(h, at) {
			continue
		}
		active = append(active, h)
		if h.Until != nil && (until.IsZero() || h.Until.Time.Before(until)) {
			until = h.Until.Time
		}
	}
	return active, until
}

// At is the hold that keeps the Application at a commit; the first one wins.
func At(active []v1alpha1.Hold) (v1alpha1.Hold, bool) {
	for _, h := range active {
		if h.At != "" {
			return h, true
		}
	}
	return v1alpha1.Hold{}, false
}

// Bad are the commits that are held.
func Bad(active []v1alpha1.Hold) []v1alpha1.Hold {
	var out []v1alpha1.Hold
	for _, h := range active {
		if h.Commit != "" {
			out = append(out, h)
		}
	}
	return out
}

// BadImage is the hold on an image that a plan would bring in. An object that has it
// already may be changed otherwise.
func BadImage(active []v1alpha1.Hold, brings func(digest string) (object string, yes bool)) (h v1alpha1.Hold, object string, held bool) {
	for _, h := range active {
		if h.Digest == "" {
			continue
		}
		if object, yes := brings(h.Digest); yes {
			return h, object, true
		}
	}
	return v1alpha1.Hold{}, "", false
}

// Names says whether a value holds a text in any of its strings.
func Names(value any, text string) bool {
	switch v := value.(type) {
	case string:
		return strings.Contains(v, text)
	case []any:
		for _, item := range v {
			if Names(item, text) {
				return true
			}
		}
	case map[string]any:
		for _, item := range v {
			if Names(item, text) {
				return true
			}
		}
	}
	return false
}

// Because is why a hold is there, for people.
func Because(h v1alpha1.Hold) string {
	why := ""
	if h.Reason != "" {
		why = ": " + h.Reason
	}
	if h.Until != nil {
		why += " (until " + h.Until.UTC().Format(time.RFC3339) + ")"
	}
	return why
}

// Suspended says whether planning and applying are suspended at a time, and for how long
// still (0: until somebody changes that).
func Suspended(suspend bool, until *metav1.Time, at time.Time) (yes bool, left time.Duration) {
	switch {
	case suspend:
		return true, 0
	case until != nil && at.Before(until.Time):
		return true, until.Sub(at)
	}
	return false, 0
}

// Soonest is the earliest of some times that are after now, as a delay; limit where none
// is sooner.
func Soonest(now time.Time, limit time.Duration, times ...time.Time) time.Duration {
	for _, t := range times {
		if d := t.Sub(now); !t.IsZero() && d > 0 && d < limit {
			limit = d
		}
	}
	return limit
}
