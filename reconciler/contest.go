package reconciler

import (
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api/v1alpha1"
)

// When somebody else changes an object as often as it is put back, putting it back at once
// each time would keep both busy for ever. After promptRepairs in a row the next ones come
// later and later.
const (
	promptRepairs = 5
	firstPause    = time.Second
	longestPause  = 5 * time.Minute
)

// contest is the history of an object that is changed again and again.
type contest struct {
	repairs int
	last    time.Time
	// said is the number of repairs after which people were told.
	said int
}

// pause is how long after the last repair the next one comes.
func (c contest) pause() time.Duration {
	n := c.repairs - promptRepairs
	if n < 0 {
		return 0
	}
	return min(firstPause<<min(n, 20), longestPause)
}

// over: the other one gave up long enough ago.
func (c contest) over(now time.Time) bool { return now.Sub(c.last) > max(10*c.pause(), time.Minute) }

// holdContested takes out of a repair what is to wait because somebody else rewrites it at
// once, and says when the first of it is due; zero: nothing waits.
func (r *Reconciler) holdContested(app *v1alpha1.Application, plan *Plan) time.Duration {
	now := r.Now()
	var wait time.Duration
	var tell []string
	r.planner.memory.of(client.ObjectKeyFromObject(app)).note(func(k *known) {
		plan.Steps = slices.DeleteFunc(plan.Steps, func(s Step) bool {
			c, ok := k.contests[s.ref]
			if !ok || s.Action == Prune || c.over(now) {
				return false
			}
			left := c.last.Add(c.pause()).Sub(now)
			if left <= 0 {
				return false
			}
			if wait == 0 || left < wait {
				wait = left
			}
			plan.contested = append(plan.contested, driftLine(s))
			if c.said != c.repairs {
				c.said = c.repairs
				tell = append(tell, fmt.Sprintf("%s was put back %d times, and %s changes it again: it is put back again in %s",
					s.Object, c.repairs, lastManager(s.live), c.pause()))
				k.contests[s.ref] = c
			}
			return true
		})
		k.due = wait
	})
	for _, message := range tell {
		r.Events.Event(app, "Warning", "DriftContested", "%s", message)
	}
	return wait
}

// repaired notes which objects were put back.
func (r *Reconciler) repaired(app *v1alpha1.Application, plan *Plan) {
	now := r.Now()
	r.planner.memory.of(client.ObjectKeyFromObject(app)).note(func(k *known) {
		if k.contests == nil {
			k.contests = map[inventoryRef]contest{}
		}
		for ref, c := range k.contests {
			if c.over(now) {
				delete(k.contests, ref)
			}
		}
		for _, s := range plan.Steps {
			if s.Action == Prune {
				continue
			}
			c := k.contests[s.ref]
			c.repairs, c.last = c.repairs+1, now
			k.contests[s.ref] = c
		}
	})
}

// lastManager is who wrote an object last, beside Slipway.
func lastManager(o *unstructured.Unstructured) string {
	name, at := "somebody", time.Time{}
	if o == nil {
		return name
	}
	for _, m := range o.GetManagedFields() {
		if m.Manager != FieldManager && m.Subresource == "" && m.Time != nil && !m.Time.Time.Before(at) {
			name, at = m.Manager, m.Time.Time
		}
	}
	return name
}

// maxDrift is how many objects a status lists as drifted.
const maxDrift = 50

// driftLines say what live state differs in from git.
func driftLines(plan *Plan) []string {
	var out []string
	for _, s := range plan.Steps {
		if len(out) == maxDrift {
			return append(out, fmt.Sprintf("and %d more", len(plan.Steps)-maxDrift))
		}
		out = append(out, driftLine(s))
	}
	return out
}

func driftLine(s Step) string { return summary(&Plan{Steps: []Step{s}}) }
