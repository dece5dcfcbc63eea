package gate

import (
	"fmt"
	"strings"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
)

// Effect is what one step of a plan takes away from what runs. An object counts once.
type Effect struct {
	// Object as people read it, `shop-dev/deploymentconfig/frontend`.
	Object string
	Kind   string
	// Deletes: the object goes. Restarts: its pods are replaced.
	Deletes, Restarts bool
}

// always are the kinds whose deletion loses data, and which therefore always waits.
var always = map[string]bool{"PersistentVolumeClaim": true, "Project": true}

// Loss is what a plan takes away.
type Loss struct {
	Effects []Effect
	// Live is how many objects the Application owns now, those that the plan deletes included.
	Live int
}

// Braked says why a plan must be approved first; empty: it need not. More than Percent of
// the objects and more than Objects of them: both, so that neither a small application nor
// a small part of a large one waits. A PersistentVolumeClaim or Project that goes always waits.
func Braked(b *v1alpha1.Brakes, l Loss) string {
	percent, objects := api.DefaultBrakePercent, api.DefaultBrakeObjects
	if b != nil {
		if b.Disabled {
			return ""
		}
		if b.Percent != nil {
			percent = int(*b.Percent)
		}
		if b.Objects != nil {
			objects = int(*b.Objects)
		}
	}
	var deleted, restarted int
	var precious []string
	for _, e := range l.Effects {
		switch {
		case e.Deletes:
			deleted++
			if always[e.Kind] {
				precious = append(precious, e.Object)
			}
		case e.Restarts:
			restarted++
		}
	}
	if len(precious) > 0 {
		return "deletes " + some(precious)
	}
	n := deleted + restarted
	if n <= objects || n*100 <= percent*l.Live {
		return ""
	}
	return fmt.Sprintf("%s of %d objects (%d %%), which is more than %d and more than %d %%",
		taken(deleted, restarted), l.Live, n*100/max(l.Live, 1), objects, percent)
}

func taken(deleted, restarted int) string {
	switch {
	case restarted == 0:
		return fmt.Sprintf("deletes %d", deleted)
	case deleted == 0:
		return fmt.Sprintf("restarts %d", restarted)
	}
	return fmt.Sprintf("deletes %d and restarts %d", deleted, restarted)
}

// some names a few of many.
func some(names []string) string {
	const shown = 5
	if n := len(names); n > shown {
		return strings.Join(names[:shown], ", ") + fmt.Sprintf(" and %d more", n-shown)
	}
	return strings.Join(names, ", ")
}

// shownDigest is how many digits of a digest people are asked to write; MinApproval is how
// few are taken.
const (
	shownDigest = 16
	MinApproval = 12
)

// HowToApprove says exactly what lets a plan through.
func HowToApprove(why, app, digest string) string {
	line := ApproveTrailer + ": " + digest[:min(len(digest), shownDigest)]
	return fmt.Sprintf("the plan %s, so it waits for an approval. Look at it with `slipway plan %s`. To let exactly this plan through, push a commit whose message ends with the line\n\n    %s\n\n"+
		"for example by: git commit --allow-empty -m 'Approve the plan of %s' --trailer '%s'", why, app, line, app, line)
}
